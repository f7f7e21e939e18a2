package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// perform does an effect. One that restarts the primary under the cluster lock ends
// the session that is the lock, so the lock is taken again as soon as the server is
// back. In between nobody has it. What keeps two runs apart then:
//
//   - The lock is given up by the server alone, when it stops: until then the session
//     is open, and nobody else can have come. The engine only ends its care for it, for
//     its loss would cancel the run.
//   - The copy of this run's journal is on the primary's disk, and not in its server: it
//     was written there with the intent of this restart, before the restart. Whoever takes
//     the lock meanwhile looks for such copies before the first act (alone), finds this
//     run open, and lets go. So taking it again waits for a while, whoever has it.
//   - Only a resume or an undo of this very run, from another machine, would not be kept
//     away by that copy. It writes to the copy, or removes it, before it acts. So the copy
//     must be what this run has written, byte for byte; else this run has another
//     operator now, and ends here.
//
// A run that could not do this stops as after any failure: what it did is done and
// recorded. Facts that were read before are dropped, as after every restart: if
// another run came and went all the same, this one plans on from what it left.
func (r *run) perform(ctx context.Context, e effect.Effect) (effect.Output, error) {
	s, ok := e.(*effect.Service)
	x := r.holds[effect.LockHold]
	if !ok || s.Action != "restart" || x == nil || s.Host != r.meets {
		return e.Do(ctx, r)
	}
	held, _ := r.TakeHeld(effect.LockHold)
	out, err := s.Do(ctx, r)
	select {
	case <-held.Lost():
	default:
		if err == nil { // it may tell a moment later
			break
		}
		// It was not stopped: this run has the lock still.
		r.inFrame(x.frame, func() { r.Hold(effect.LockHold, held) })
		return out, err
	}
	_ = held.Close(context.WithoutCancel(ctx)) // the server has, and that is known
	if err != nil {
		return out, err
	}
	return out, r.relock(ctx, x.frame, s)
}

// relock takes the cluster lock again, for the bracket that had it.
func (r *run) relock(ctx context.Context, f *frame, after *effect.Service) (err error) {
	r.started(context.WithoutCancel(ctx), after.Host)
	r.world.drop(after)
	r.inFrame(f, func() { _, err = (&effect.TakeLock{Host: after.Host, Again: true}).Do(ctx, r) })
	if err == nil {
		err = errors.Join(r.copyIsOurs(ctx), r.noOther(ctx))
	}
	if err == nil {
		return nil
	}
	return &fault.Error{Class: fault.ClassOf(err), Host: after.Host, Op: "take the cluster lock again, after the restart", Err: err,
		State: "the server was restarted, and runs"}
}

// copyIsOurs refuses to go on when somebody else wrote to, or removed, the copy of
// this run's journal.
func (r *run) copyIsOurs(ctx context.Context) error {
	if r.mirror == nil {
		return nil
	}
	wrote, err := os.ReadFile(r.journal.Path())
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	now, err := r.e.readCopy(ctx, r.mirror.at)
	if err != nil {
		return err
	}
	// What was written last may have arrived in part, or have not been answered; and a host
	// that lost its power has lost what was on its way to the disk. Whoever takes a run over
	// adds to the copy before anything else, or removes it.
	if bytes.HasPrefix(wrote, now) && (len(now) > 0 || r.mirror.size == 0) {
		return nil
	}
	// It is somebody else's now: nothing is written to it any more.
	r.taken = true
	r.unkept(r.mirror.stop(ctx))
	return goneOnWith(r.mirror.at.on, r.id)
}

// askTimeout bounds that question after a failure: what is owed waits for the answer, reads
// that were kept away from a standby for one.
const askTimeout = 10 * time.Second

// stillOurs is copyIsOurs, before anything is taken back after a failure. The lock may be
// lost for long by then, that of a machine that was asleep, and what the inverses would
// take back may be what somebody else has made since. A copy that cannot be read keeps
// nothing from being taken back: its host may be why the run failed.
func (r *run) stillOurs(ctx context.Context) error {
	if r.taken || r.unread {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := r.copyIsOurs(ctx)
	if err != nil && !r.taken {
		// Perhaps it was only the connection, which is made anew.
		err = r.copyIsOurs(ctx)
	}
	if r.taken {
		return err
	}
	r.unread = err != nil
	return nil
}

// inFrame does what holds something, for another bracket than the innermost one.
func (r *run) inFrame(f *frame, do func()) {
	was := r.frame
	r.frame = f
	defer func() { r.frame = was }()
	do()
}
