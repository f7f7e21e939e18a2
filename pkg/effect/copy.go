package effect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Copy pulls one directory tree with rsync, from the host that Argv names, in up to
// Streams parts at a time. Each runs as the owner of the target, leashed: it does not
// outlive its client.
type Copy struct {
	Host string   `json:"host"`
	As   string   `json:"as"`
	Argv []string `json:"argv"` // source and target come last
	// Streams is the most processes that copy at a time, of which each costs a
	// login; a small tree takes fewer.
	Streams int `json:"streams,omitempty"`
	// Compress is auto, zstd or none (or empty); Plain says why it is none where
	// auto was asked for. Limit is bytes a second, of all streams, 0 for none.
	Compress string `json:"compress,omitempty"`
	Plain    string `json:"plain,omitempty"`
	Limit    int64  `json:"limit,omitempty"`
	// Relay is set for a copy through this machine.
	Relay *Relay `json:"relay,omitempty"`
	// Commits is what makes it slow down, and Key a path that its processes have
	// in their arguments, and no others.
	Commits CommitLimit `json:"commits"`
	Key     string      `json:"key,omitempty"`
	// Lowly processes have what the others of the hosts leave of the processors.
	Lowly bool `json:"lowly,omitempty"`
	// What is the subject shown: "data directory".
	What string `json:"what"`
	From string `json:"from"`
	Into string `json:"into"`
	// Fresh: the target directory was empty, so undo may empty it again, and
	// EmptiesWAL, where pg_wal leads to if that is elsewhere.
	Fresh      bool   `json:"fresh"`
	EmptiesWAL string `json:"empties_wal,omitempty"`
	// Cleared: a ClearStale comes before it, and is the point of no return. It is said once.
	Cleared bool `json:"cleared,omitempty"`
	// Empty: nothing is in it that this copy has not brought, under this backup.
	Empty bool `json:"empty,omitempty"`
	// Alone: the run found the target empty when it began, and no other has copied into
	// it since. See copysince.go.
	Alone bool `json:"alone,omitempty"`
	// Appends: the key of the copy has a sender that appends to files.
	Appends bool `json:"appends,omitempty"`
	// FromAs is the owner of the data on From.
	FromAs string `json:"from_as,omitempty"`
	// SlotOn is the host that the standby will stream from, if that is not From. Slot
	// on it keeps the WAL that the copy will need; the copy is
	// given up at once when the server invalidates it, or when the WAL that
	// it keeps is about to fill the disk.
	SlotOn string `json:"slot_on,omitempty"`
	Slot   string `json:"slot,omitempty"`
	// Holds: a temporary slot of the backup's session keeps it until Slot is made.
	Holds bool     `json:"holds,omitempty"`
	WAL   WALSpace `json:"wal"`
	// Unkept: no slot keeps the WAL, and no archive has it either. The copy is given up
	// when the server has removed the file that the backup began in.
	Unkept bool `json:"unkept,omitempty"`
	// Total is the expected number of bytes, 0 when not known.
	Total int64 `json:"-"`
	// Data is the data directory, and Boot that of Host: see copysynced.go.
	Data string `json:"-"`
	Boot string `json:"-"`

	// Source is the tablespace's location, or the data directory, on From, and Tree
	// what is copied of it.
	Source string `json:"-"`
	Tree   string `json:"-"`
	// Backup is where the WAL of the backup begins that it is made under.
	Backup string `json:"-"`
	// Version is that of From.
	Version postgres.Version `json:"-"`

	Then func(*facts.Host) `json:"-"`

	// unreserved: the slot was about to lose its WAL when it was looked at last.
	unreserved atomic.Bool
}

// CopiedUnder is the key of an output: the start of the backup under which a run
// has copied a tablespace, or the data directory, of a host.
func CopiedUnder(from, source string) string { return "copied." + from + ":" + source }

func (e *Copy) Kind() string { return "copy" }
func (e *Copy) On() string   { return e.Host }
func (e *Copy) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		then(h, e.Then)
	}
}

func (e *Copy) Describe() Description {
	how := []string{"rsync"}
	if e.Streams > 1 {
		how[0] = fmt.Sprintf("rsync, up to %d streams", e.Streams)
	}
	switch {
	case e.Compress == "auto" && e.Empty:
		how = append(how, "zstd:1, unless a stream without it is faster")
	case e.Compress == "auto", e.Compress == "zstd": // what is there already says nothing of the link
		how = append(how, "zstd:1")
	case e.Plain != "":
		how = append(how, "no compression: "+e.Plain)
	}
	if e.Relay != nil {
		how = append(how, "through this machine")
	}
	if e.Limit > 0 {
		how = append(how, fmt.Sprintf("at most %s/s", size(e.Limit)))
	}
	if e.Lowly && e.Relay == nil {
		how = append(how, "takes what others leave of the processors")
	}
	if !e.Commits.Off {
		how = append(how, "slows down while commits on "+e.From+" take over "+e.Commits.String())
	}
	if e.Unkept {
		how = append(how, "gives up when "+e.slotOn()+" has removed the WAL that the copy began with")
	}
	if e.watchesSpace() {
		how = append(how, "gives up when "+e.slotOn()+" has less than "+walReserve+" free for WAL")
	}
	d := Description{Verb: "copy", Subject: e.What, Detail: "from " + e.From + " into " + e.Into + " (" + strings.Join(how, "; ") + ")"}
	if !e.Fresh && !e.Cleared {
		d.NoReturn = "what " + e.Into + " held before is overwritten by what differs on " + e.From
	}
	return d
}

// slotOn is the host whose WAL the copy needs.
func (e *Copy) slotOn() string { return cmp.Or(e.SlotOn, e.From) }

// Interruptible: it may last for hours, and what it has copied stays.
func (e *Copy) Interruptible() bool { return true }

// Claim: what was there is overwritten from the first byte on, done or half done.
func (e *Copy) Claim() string {
	if e.Fresh {
		return ""
	}
	return "overwrite " + e.Into + " on " + e.Host
}

func (e *Copy) Inverse() Effect {
	if !e.Fresh {
		return nil
	}
	return &EmptyDirectory{Host: e.Host, As: e.As, Path: e.Into, WAL: e.EmptiesWAL}
}

func (e *Copy) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	written := e.flush(ctx, h, giveUp)
	ctx, g, unwatch := e.watch(ctx, env)
	defer unwatch()
	how, streams, err := e.bring(ctx, h, env, g)
	if err != nil {
		giveUp(err)
	}
	if lost := written(); lost != nil {
		return nil, e.unwritten(ctx, env, lost)
	}
	if err != nil {
		return nil, e.explain(ctx, env, err)
	}
	base := path.Base(e.Into)
	out := Output{"copy.seconds." + base: fmt.Sprintf("%.2f", time.Since(start).Seconds()), "copy.streams." + base: strconv.Itoa(streams), CopiedUnder(e.From, e.Source): e.Backup}
	if how != "" {
		out["copy.compression."+base] = how
	}
	return out, nil
}

// bring copies the tree, and says how, and in how many streams.
func (e *Copy) bring(ctx context.Context, h host.Runner, env Env, g *governor) (how string, streams int, err error) {
	over, err := e.passOver(ctx, env, h)
	if err != nil {
		return "", 0, err
	}
	list, err := e.split(ctx, env)
	if err != nil {
		return "", 0, err
	}
	for i := range list {
		list[i].over = over
	}
	how, err = e.pull(ctx, h, env, list, g)
	return how, len(list), err
}

func (e *Copy) explain(ctx context.Context, env Env, err error) error {
	f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "copy " + e.What + " from " + e.From, Err: err,
		Stderr: host.Tail(host.StderrOf(err), 5),
		State:  "the copy on " + e.Host + " has no pg_control, so it cannot start; what was copied stays"}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		f.Err = cause
	}
	// A temporary slot is its session's: the server ends that to take the WAL away.
	const more = "pgrepctl slot limit --help says how to give slots more, or copy faster; then resume"
	if e.Holds && e.unreserved.Load() {
		f.Err = fmt.Errorf("%w: the slot that keeps the WAL had reached max_slot_wal_keep_size of %s", f.Err, e.slotOn())
		f.Hint = more
	} else if limit := e.slotLimit(ctx, env, f.Err); limit != "" {
		f.Err = fmt.Errorf("%w: it ends when the slot that keeps the WAL has reached max_slot_wal_keep_size, which is %s on %s", f.Err, limit, e.slotOn())
		f.Hint = "the server log of " + e.slotOn() + " says whether it did so (\"to release replication slot\"); " + more
	}
	return f
}

// slotLimit is max_slot_wal_keep_size (13) where a session was lost that has the slot which
// keeps the WAL; empty if there is no limit, or nobody says.
func (e *Copy) slotLimit(ctx context.Context, env Env, why error) string {
	var lost HoldLost
	if !e.Holds || !errors.As(why, &lost) || lost.Key != backupHold {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	s, err := env.SQL(ctx, e.slotOn())
	if err != nil {
		return ""
	}
	var rows []struct {
		Limit string `json:"limit"`
	}
	q := "select current_setting(name) as limit from pg_settings where name = 'max_slot_wal_keep_size' and setting::int8 >= 0"
	if err := s.Query(ctx, &rows, q); err != nil || len(rows) != 1 {
		return ""
	}
	return rows[0].Limit
}

// size is whole in the largest of PostgreSQL's units that it is whole in.
func size(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GB", 1 << 30}, {"MB", 1 << 20}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + " " + u.name
		}
	}
	return strconv.FormatInt(n>>10, 10) + " kB"
}
