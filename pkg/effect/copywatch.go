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
)

// WALSpace says where the server that a copy comes from keeps its WAL. The slot
// keeps all of it for as long as the copy takes, and a server whose WAL has no
// room left stops with a PANIC: a copy is never worth that.
type WALSpace struct {
	As      string `json:"as"`
	Dir     string `json:"dir"`
	Segment int64  `json:"segment"` // bytes of one WAL file
}

// walReserve is reserve, in words.
const walReserve = "10 %, or 5 GiB,"

// reserve is how much of a file system of total bytes a copy leaves to the
// server: a tenth, and of a large one 5 GiB. The server writes whole segments,
// and makes the next one before it needs it.
func (w WALSpace) reserve(total int64) int64 {
	return max(min(total/10, 5<<30), 2*w.Segment)
}

// slotInterval is how often the slot is looked at during a copy. A lost slot
// makes hours of further copying worthless; seconds do not matter.
const slotInterval = 10 * time.Second

// spaceScript prints block size, blocks and free blocks of a file system once a
// second: a busy server writes gigabytes in ten. One process for the whole copy,
// so that sudo logs one line.
const spaceScript = `while stat -f -c '%S %b %a' "$1"; do sleep 1; done`

// watch cancels the copy when its slot is lost, or its WAL is about to fill the
// disk. That the server or its host cannot be asked is no reason to stop: the
// backup session has its own watch.
func (e *Copy) watch(ctx context.Context, env Env) (context.Context, func()) {
	if e.Slot == "" {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watches sync.WaitGroup
	watches.Go(func() { e.watchSlot(ctx, env, cancel) })
	if e.watchesSpace() {
		watches.Go(func() { e.watchSpace(ctx, env, cancel) })
	}
	ended := make(chan struct{})
	go func() { watches.Wait(); close(ended) }()
	return ctx, func() {
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

func (e *Copy) watchSlot(ctx context.Context, env Env, cancel context.CancelCauseFunc) {
	t := time.NewTicker(slotInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := e.slotLost(ctx, env); err != nil {
			cancel(err)
			return
		}
	}
}

// slotLost: 13+ drops WAL that exceeds max_slot_wal_keep_size, and says so in
// wal_status.
func (e *Copy) slotLost(ctx context.Context, env Env) error {
	s, err := env.SQL(ctx, e.From)
	if err != nil {
		return nil //nolint:nilerr // see watch
	}
	var rows []struct {
		Lost bool `json:"lost"`
	}
	q := "select coalesce(row_to_json(s)->>'wal_status', '') = 'lost' as lost from pg_replication_slots s where slot_name = $1"
	if err := s.Query(ctx, &rows, q, e.Slot); err != nil {
		return nil //nolint:nilerr // see watch
	}
	if len(rows) == 1 && !rows[0].Lost {
		return nil
	}
	return fmt.Errorf("slot %s on %s lost the WAL that this copy needs", e.Slot, e.From)
}

func (e *Copy) watchSpace(ctx context.Context, env Env, cancel context.CancelCauseFunc) {
	h, err := env.Host(ctx, e.From)
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
	return free < e.WAL.reserve(total) || last >= 0 && free-3*(last-free) < 0
}

func (e *Copy) noSpace(total, free int64, run Run) error {
	return &fault.Error{Class: fault.Failed, Host: e.From,
		Err: fmt.Errorf("its disk for WAL is nearly full: %d MiB of %d MiB are free where %s is, and slot %s keeps all WAL that is written while this copy goes on",
			free>>20, total>>20, e.WAL.Dir, e.Slot),
		State: "the server on " + e.From + " runs; slot " + e.Slot + " still keeps its WAL, so the disk fills up further",
		Hint:  "make room on " + e.From + " and type: pgrepctl runs resume " + run.ID + "; or type: pgrepctl runs undo " + run.ID + ", which drops slot " + e.Slot + " and so frees the WAL"}
}
