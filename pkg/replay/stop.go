package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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
}

// stopScript prints the LOCK records, the ends of the transactions that they are of,
// and the first end of a transaction at or after a time (behind it, with $7 = after).
// Only what is needed leaves the host: hours of WAL have millions of commits.
const stopScript = `
TZ=UTC LC_ALL=C
export TZ LC_ALL
dump() { "$program" -p "$dir" -t "$tli" -s "$from" ${to:+-e "$to"} -r "$1" 2>/dev/null; }
program=$1 dir=$2 tli=$3 from=$4 to=$5
[ -x "$program" ] || exit 127
locks=$(dump Standby | grep ' desc: LOCK ')
printf '%s\n' "$locks"
xids=$(printf '%s\n' "$locks" | grep -o 'xid [0-9]*' | cut -d ' ' -f 2 | sort -u | tr '\n' ' ')
dump Transaction | awk -v xids="$xids" -v at="$6" -v side="$7" '
BEGIN { n = split(xids, list, " "); for (i = 1; i <= n; i++) held[list[i]] = 1 }
/ desc: (COMMIT|ABORT)/ {
	stamp = ""
	if (match($0, /[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9:.]+/)) stamp = substr($0, RSTART, RLENGTH)
	if (at != "" && (stamp > at || side == "before" && stamp == at)) { print "stop " $0; exit }
	m = split($0, word, /[^0-9]+/)
	for (i = 1; i <= m; i++) if (word[i] in held) { print "end " $0; break }
}'
exit 0
`

// FindStop looks in the WAL that a standby has received and not replayed for the place
// where it will stop, and for what is locked there. standsAt is where a restore point
// stands. It reads the WAL twice.
func FindStop(ctx context.Context, r host.Runner, w WALSource, t Target, standsAt postgres.LSN) (Stop, error) {
	at := ""
	if t.Kind == Time {
		at = t.Time.UTC().Format("2006-01-02 15:04:05.000000")
	}
	side := "before"
	if t.Inclusive {
		side = "after"
	}
	argv := []string{"sh", "-c", stopScript, "pgrepctl-stop", w.Program, w.Dir, strconv.Itoa(w.Timeline), w.From.String(), w.end(), at, side}
	out, err := host.Output(ctx, r, host.Cmd{Argv: argv, As: w.As, Leash: true})
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Code == 127 {
		return Stop{}, fmt.Errorf("%s: %w", w.Program, ErrNoProgram)
	}
	if err != nil {
		return Stop{}, fmt.Errorf("read the WAL from %s on: %w", w.From, err)
	}
	s := stopIn(string(out), t, standsAt)
	if len(s.Locks) == 0 {
		return s, nil
	}
	s.Commits, err = commits(ctx, r, w, s.Locks[0].At, s.At)
	return s, err
}

var (
	lockLine = regexp.MustCompile(`\blsn: ([0-9A-Fa-f]+/[0-9A-Fa-f]+),.*\bdesc: LOCK (.*)$`)
	lockOf   = regexp.MustCompile(`xid (\d+) db (\d+) rel (\d+)`)
	endLine  = regexp.MustCompile(`^(stop|end) .*\btx: +(\d+), lsn: ([0-9A-Fa-f]+/[0-9A-Fa-f]+),.*\bdesc: (?:COMMIT|ABORT)(.*)$`)
	subxacts = regexp.MustCompile(`subxacts:((?: \d+)+)`)
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
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 16<<20) // a commit names all the files that it removes
	for sc.Scan() {
		if m := lockLine.FindStringSubmatch(sc.Text()); m != nil {
			locks = append(locks, locksOf(m[1], m[2])...)
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
			ended[xid] = lsn
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

// commits counts those between two positions.
func commits(ctx context.Context, r host.Runner, w WALSource, from, to postgres.LSN) (int, error) {
	const script = `LC_ALL=C; export LC_ALL
"$1" -p "$2" -t "$3" -s "$4" -e "$5" -r Transaction 2>/dev/null | grep -c ' desc: COMMIT'
exit 0`
	argv := []string{"sh", "-c", script, "pgrepctl-commits", w.Program, w.Dir, strconv.Itoa(w.Timeline), from.String(), to.String()}
	out, err := host.Output(ctx, r, host.Cmd{Argv: argv, As: w.As, Leash: true})
	if err != nil {
		return 0, fmt.Errorf("count the commits from %s to %s: %w", from, to, err)
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(out)))
	if err != nil {
		return 0, fmt.Errorf("count the commits from %s to %s: %q", from, to, out)
	}
	return n, nil
}
