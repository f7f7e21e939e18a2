package effect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// WALSpace says where the server that a copy comes from keeps its WAL. The slot
// keeps all of it for as long as the copy takes, and a server whose WAL has no
// room left stops with a PANIC: a copy is never worth that.
type WALSpace struct {
	As      string `json:"as"`
	Dir     string `json:"dir"`
	Segment int64  `json:"segment"` // bytes of one WAL file
}

// walReserve is Reserve, in words.
const walReserve = "10 %, or 5 GiB,"

// Reserve is how much of a file system of total bytes a copy leaves to the
// server: a tenth, and of a large one 5 GiB. The server writes whole segments,
// and makes the next one before it needs it.
func (w WALSpace) Reserve(total int64) int64 {
	return max(min(total/10, 5<<30), 2*w.Segment)
}

// slotInterval is how often the slot, or the WAL itself, is looked at during a copy. What is
// lost makes hours of further copying worthless; seconds do not matter.
const slotInterval = 10 * time.Second

// spaceScript prints block size, blocks and free blocks of a file system once a
// second: a busy server writes gigabytes in ten. One process for the whole copy,
// so that sudo logs one line.
const spaceScript = `while stat -f -c '%S %b %a' "$1"; do sleep 1; done`

// watch cancels the copy when its slot is lost, or its WAL is about to fill the
// disk, and slows it down while commits take too long. That the server or its host
// cannot be asked is no reason to stop: the backup session has its own watch.
func (e *Copy) watch(ctx context.Context, env Env) (context.Context, *governor, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watches sync.WaitGroup
	var g *governor
	if !e.Commits.Off {
		g = &governor{limit: e.Commits, probe: e.Version.ProbeCommit(), host: e.From, warn: func(text string) { env.Warn(e.From, text) }}
		watches.Go(func() { g.hold(ctx, env, e) })
	}
	if e.Slot != "" || e.Unkept || g != nil {
		watches.Go(func() { e.watchServer(ctx, env, g, cancel) })
	}
	if e.watchesSpace() {
		watches.Go(func() { e.watchSpace(ctx, env, cancel) })
	}
	ended := make(chan struct{})
	go func() { watches.Wait(); close(ended) }()
	return ctx, g, func() {
		cancel(nil)
		select {
		case <-ended:
		case <-time.After(unwatchTime): // its host does not answer
		}
	}
}

// unwatchTime is enough for a host that answers to end its watch.
const unwatchTime = 2 * time.Second

func (e *Copy) watchesSpace() bool { return e.Slot != "" && e.WAL.Dir != "" }

// watchServer asks the server what it says of the slot or of its WAL, and how long a commit
// takes: one after the other, for a session is for one at a time.
func (e *Copy) watchServer(ctx context.Context, env Env, g *governor, cancel context.CancelCauseFunc) {
	every := slotInterval
	if g != nil {
		every = commitInterval
	}
	t := time.NewTicker(every)
	defer t.Stop()
	looked := time.Now()
	for ctx.Err() == nil {
		if g != nil {
			if s, err := env.SQL(ctx, e.From); err == nil {
				if d, err := g.commit(ctx, s); err == nil && g.took(d) {
					continue // at once: the streams are still logging in
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if e.Slot == "" && !e.Unkept || time.Since(looked) < slotInterval {
			continue
		}
		looked = time.Now()
		lost := e.slotLost
		if e.Slot == "" {
			lost = e.walGone
		}
		if err := lost(ctx, env, g); err != nil {
			cancel(err)
			return
		}
	}
}

// slotLost: 13+ drops WAL that exceeds max_slot_wal_keep_size, and says so in
// wal_status.
func (e *Copy) slotLost(ctx context.Context, env Env, g *governor) error {
	s, err := env.SQL(ctx, e.slotOn())
	if err != nil {
		return nil //nolint:nilerr // see watch
	}
	var rows []struct {
		Status string `json:"status"`
	}
	q := "select coalesce(row_to_json(s)->>'wal_status', '') as status from pg_replication_slots s where slot_name = $1"
	if err := s.Query(ctx, &rows, q, e.slotName(env.Run())); err != nil {
		return nil //nolint:nilerr // see watch
	}
	e.unreserved.Store(len(rows) == 1 && rows[0].Status == "unreserved")
	if len(rows) != 1 || rows[0].Status == "lost" {
		return fmt.Errorf("slot %s on %s lost the WAL that this copy needs", e.slotName(env.Run()), e.slotOn())
	}
	if g != nil {
		g.press(rows[0].Status == "unreserved")
	}
	return nil
}

// walGone: a checkpoint has removed the file that the backup began in. The server removes
// files by their place, whatever their timeline (RemoveOldXlogFiles), and what it has made
// ahead has a later place.
func (e *Copy) walGone(ctx context.Context, env Env, _ *governor) error {
	start, err := postgres.ParseLSN(e.Backup)
	if err != nil {
		return nil //nolint:nilerr // see watch
	}
	s, err := env.SQL(ctx, e.slotOn())
	if err != nil {
		return nil //nolint:nilerr // see watch
	}
	need, oldest, err := removed(ctx, s, e.Version, start)
	if err != nil || need == "" {
		return nil //nolint:nilerr // see watch
	}
	return &fault.Error{Class: fault.Failed, Host: e.slotOn(),
		Err: fmt.Errorf("it has removed the WAL that this copy began with (file …%s; the oldest is …%s), and neither a slot nor an archive keeps it", need, oldest),
		Hint: "let a slot keep it (slots: true in the inventory), or more wal_keep_size (13) or wal_keep_segments on " + e.slotOn() +
			"; then, to go on from what is there: pgrepctl runs resume " + env.Run().ID}
}

func (e *Copy) watchSpace(ctx context.Context, env Env, cancel context.CancelCauseFunc) {
	h, err := env.Host(ctx, e.slotOn())
	if err != nil {
		return
	}
	pr, pw := io.Pipe()
	var reading sync.WaitGroup
	reading.Go(func() {
		last := int64(-1)
		for sc := bufio.NewScanner(pr); sc.Scan(); {
			var size, blocks, left int64
			if n, err := fmt.Sscan(sc.Text(), &size, &blocks, &left); n != 3 || err != nil {
				continue
			}
			total, free := size*blocks, size*left
			if e.scarce(total, free, last) {
				cancel(e.noSpace(total, free, env.Run()))
			}
			last = free
		}
		_, _ = io.Copy(io.Discard, pr)
	})
	_ = h.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", spaceScript, "sh", e.WAL.Dir}, As: e.WAL.As, Leash: true}, host.Stdio{Out: pw})
	_ = pw.Close()
	reading.Wait()
}

// scarce: the reserve is touched, or would be used up within three looks at the
// pace since the last one, which saw last bytes free (-1 is the first look).
func (e *Copy) scarce(total, free, last int64) bool {
	return free < e.WAL.Reserve(total) || last >= 0 && free-3*(last-free) < 0
}

// slotName is that of the slot which keeps the WAL while this copy is made.
func (e *Copy) slotName(run Run) string {
	if e.Holds {
		return slot.Held(run.ID)
	}
	return e.Slot
}

func (e *Copy) noSpace(total, free int64, run Run) error {
	f := &fault.Error{Class: fault.Failed, Host: e.slotOn(),
		Err: fmt.Errorf("its disk for WAL is nearly full: %d MiB of %d MiB are free where %s is, and slot %s keeps all WAL that is written while this copy goes on",
			free>>20, total>>20, e.WAL.Dir, e.slotName(run)),
		State: "the server on " + e.slotOn() + " runs; slot " + e.Slot + " still keeps its WAL, so the disk fills up further",
		Hint:  "make room on " + e.slotOn() + " and type: pgrepctl runs resume " + run.ID + "; or drop slot " + e.Slot + ", which frees the WAL: pgrepctl runs undo " + run.ID}
	if e.Holds {
		f.State = "the server on " + e.slotOn() + " runs; the slot has ended with the backup's session, and the next checkpoints free its WAL"
		f.Hint = "once there is room on " + e.slotOn() + " type: pgrepctl runs resume " + run.ID + "; or type: pgrepctl runs undo " + run.ID
	}
	return f
}
