package replay

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Lock is an AccessExclusiveLock that a transaction of the primary took. Replay takes
// it at once, also on a delayed standby, and lets go of it with the transaction's end:
// a standby that stops in between has the relation, and lets nobody read it.
type Lock struct {
	At       postgres.LSN
	XID      uint32
	Database uint32 // oid
	Relation uint32 // oid
}

func (l Lock) String() string {
	return fmt.Sprintf("relation %d of database %d, locked by transaction %d at %s", l.Relation, l.Database, l.XID, l.At)
}

// Stop is where replay will stop, as far as the WAL that was received tells.
type Stop struct {
	// At is the record before which it stops; 0 when no such record has come yet.
	At postgres.LSN
	// Locks are those that are held there, in the order of their records.
	Locks []Lock
	// Commits between the first of them and At: what is lost by stopping before it.
	Commits int
	// Held are held there too, and were taken before WALSource.Reached: there is no stopping
	// before them.
	Held []Lock
	// End is where WAL that was read as far as it goes ends; 0 when that is not known.
	End postgres.LSN
}

// Seen: the WAL that was looked through goes up to where replay will stop, as far as it
// is known where it ends.
func (s Stop) Seen(w WALSource) bool {
	end := cmp.Or(w.To, s.End)
	return s.At != 0 && (end == 0 || s.At <= end)
}

// stopScript prints the LOCK records, the ends of the transactions that they are of,
// and the first end of a transaction at or after a time (behind it, with $2 = after).
// A transaction that a crash or a promotion has ended has no such record: replay lets
// go of its locks at the next RUNNING_XACTS whose oldestRunningXid is newer
// (StandbyReleaseOldLocks, 9.4 to 18). Only what is needed leaves the host: hours of WAL
// have millions of commits. The locks go to awk through the pipe, and in no argument,
// which Linux limits to 128 KiB.
const stopScript = `
{ dump Standby; dump Transaction; } | awk -v at="$1" -v side="$2" '
/^unread / { print; next }
/ desc: LOCK / {
	print
	n = split($0, word, " ")
	for (i = 1; i < n; i++) if (word[i] == "xid") held[word[i + 1]] = left[word[i + 1]] = 1
	next
}
/ desc: RUNNING_XACTS / {
	match($0, /lsn: [0-9A-Fa-f\/]+/)
	lsn = substr($0, RSTART + 5, RLENGTH - 5)
	if (!match($0, /oldestRunningXid [0-9]+/)) next
	oldest = substr($0, RSTART + 17, RLENGTH - 17)
	for (x in left) {
		age = (oldest - x + 4294967296) % 4294967296
		if (age > 0 && age < 2147483648) { print "over " x " " lsn; delete left[x] }
	}
	next
}
/ desc: (COMMIT|ABORT)/ {
	stamp = ""
	if (match($0, /[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9:.]+/)) stamp = substr($0, RSTART, RLENGTH)
	if (at != "" && (stamp > at || side == "before" && stamp == at)) { print "stop " $0; exit }
	m = split($0, word, /[^0-9]+/)
	for (i = 1; i <= m; i++) if (word[i] in held) { print "end " $0; break }
}'
`

// FindStop looks in the WAL that a standby has received and not replayed for the place
// where it will stop, and for what is locked there. standsAt is where a restore point
// stands. It reads the WAL twice. WAL that it could not read up to that place is
// ErrUnread: nothing found in it would mean nothing.
func FindStop(ctx context.Context, r host.Runner, w WALSource, t Target, standsAt postgres.LSN) (Stop, error) {
	if t.Kind == Name && standsAt != 0 {
		w.To = standsAt
	}
	if w.nothing() {
		return stopIn("", t, standsAt), nil
	}
	list, err := w.stretches(ctx, r)
	if err != nil {
		return Stop{}, err
	}
	d, err := w.dump(ctx, r, list, stopScript, stopArgs(t)...)
	if err != nil {
		return Stop{}, err
	}
	s := stopIn(d.text, t, standsAt)
	// A commit that was found is before the place where pg_waldump gives up (1).
	if found := t.Kind == Time && s.At != 0; d.code > 1 || d.code == 1 && !found {
		return Stop{}, w.unread(d)
	}
	if w.To == 0 {
		s.End = endIn(d.words)
	}
	s.part(w.Reached)
	if len(s.Locks) == 0 {
		return s, nil
	}
	if s.Commits, err = commits(ctx, r, w, clip(list, s.Locks[0].At, s.At)); err != nil {
		return Stop{}, err
	}
	return s, nil
}

// part takes apart what replay has reached. A lock that is held for long is logged again with
// each checkpoint: that is no place to stop before it.
func (s *Stop) part(reached postgres.LSN) {
	var held, ahead []Lock
	has := map[Lock]bool{}
	for _, l := range s.Locks {
		is := l
		is.At = 0
		switch {
		case has[is]:
		case l.At < reached:
			has[is] = true
			held = append(held, l)
		default:
			ahead = append(ahead, l)
		}
	}
	s.Held, s.Locks = held, ahead
}

// stopArgs are the time to stop at, none of another target, and on which side of it.
func stopArgs(t Target) []string {
	at, side := "", "before"
	if t.Kind == Time {
		at = t.Time.UTC().Format("2006-01-02 15:04:05.000000")
	}
	if t.Inclusive {
		side = "after"
	}
	return []string{at, side}
}

var (
	lockLine = regexp.MustCompile(`\blsn: ([0-9A-Fa-f]+/[0-9A-Fa-f]+),.*\bdesc: LOCK (.*)$`)
	lockOf   = regexp.MustCompile(`xid (\d+) db (\d+) rel (\d+)`)
	endLine  = regexp.MustCompile(`^(stop|end) .*\btx: +(\d+), lsn: ([0-9A-Fa-f]+/[0-9A-Fa-f]+),.*\bdesc: (?:COMMIT|ABORT)(.*)$`)
	subxacts = regexp.MustCompile(`subxacts:((?: \d+)+)`)
	overLine = regexp.MustCompile(`^over (\d+) ([0-9A-Fa-f]+/[0-9A-Fa-f]+)$`)
	prepared = regexp.MustCompile(`^_PREPARED (\d+):`)
)

// stopIn reads what stopScript printed.
func stopIn(text string, t Target, standsAt postgres.LSN) Stop {
	var s Stop
	switch t.Kind {
	case LSN:
		s.At = t.LSN
	case Name:
		s.At = standsAt
	}
	var locks []Lock
	ended := map[uint32]postgres.LSN{}
	end := func(xid uint32, at postgres.LSN) {
		if first, ok := ended[xid]; !ok || at < first {
			ended[xid] = at
		}
	}
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 16<<20) // a commit names all the files that it removes
	for sc.Scan() {
		if m := lockLine.FindStringSubmatch(sc.Text()); m != nil {
			locks = append(locks, locksOf(m[1], m[2])...)
			continue
		}
		if m := overLine.FindStringSubmatch(sc.Text()); m != nil {
			if lsn, err := postgres.ParseLSN(m[2]); err == nil {
				end(number(m[1]), lsn)
			}
			continue
		}
		m := endLine.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		lsn, err := postgres.ParseLSN(m[3])
		if err != nil {
			continue
		}
		if m[1] == "stop" {
			s.At = lsn
			continue
		}
		for _, xid := range endedBy(m[2], m[4]) {
			end(xid, lsn)
		}
	}
	if s.At == 0 {
		return s
	}
	s.Locks = slices.DeleteFunc(locks, func(l Lock) bool {
		end, ok := ended[l.XID]
		return l.At >= s.At || ok && end < s.At
	})
	return s
}

// gaveUp is the place that pg_waldump names where it cannot go on: "error in WAL record at
// 0/3000178: invalid record length at 0/30001B0", of which the last version has leading zeros.
var gaveUp = regexp.MustCompile(`\bat ([0-9A-Fa-f]+/[0-9A-Fa-f]+)`)

// endIn is the last place of those.
func endIn(words string) postgres.LSN {
	var end postgres.LSN
	for _, m := range gaveUp.FindAllStringSubmatch(words, -1) {
		if at, err := postgres.ParseLSN(m[1]); err == nil {
			end = max(end, at)
		}
	}
	return end
}

func locksOf(at, desc string) []Lock {
	lsn, err := postgres.ParseLSN(at)
	if err != nil {
		return nil
	}
	var out []Lock
	for _, m := range lockOf.FindAllStringSubmatch(desc, -1) {
		out = append(out, Lock{At: lsn, XID: number(m[1]), Database: number(m[2]), Relation: number(m[3])})
	}
	return out
}

// endedBy are the transactions that end with a record: its own, its children, and the
// one that was prepared.
func endedBy(tx, desc string) []uint32 {
	out := []uint32{number(tx)}
	if m := prepared.FindStringSubmatch(desc); m != nil {
		out = append(out, number(m[1]))
	}
	if m := subxacts.FindStringSubmatch(desc); m != nil {
		for _, x := range strings.Fields(m[1]) {
			out = append(out, number(x))
		}
	}
	return out
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0 // no transaction, no oid
	}
	return uint32(n)
}

const commitsScript = `
dump Transaction | awk '/^unread / { print } / desc: COMMIT/ { n++ } END { print n + 0 }'
`

// commits counts those in stretches.
func commits(ctx context.Context, r host.Runner, w WALSource, list []stretch) (int, error) {
	d, err := w.dump(ctx, r, list, commitsScript)
	if err != nil {
		return 0, err
	}
	if d.code != 0 {
		return 0, w.unread(d)
	}
	n, err := strconv.Atoi(strings.TrimSpace(d.text))
	if err != nil {
		return 0, fmt.Errorf("count the commits %s: %q", w, d.text)
	}
	return n, nil
}
