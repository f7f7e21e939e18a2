package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// Undo takes a run back: the recorded inverses, last first. It stops at a point
// of no return. It needs no plan, and no inventory but for how to reach the
// hosts.
func (e *Engine) Undo(ctx context.Context, f *Found) (*Report, error) {
	if f.Status == journal.UndoneRun {
		return &Report{Run: f.ID, Plan: f.Run.Plan, Status: f.Status}, nil
	}
	if err := e.RefuseUndo(f); err != nil {
		return nil, err
	}
	r, err := e.reopen(ctx, &plan.Plan{Cluster: e.Inventory}, f)
	if err != nil {
		return nil, err
	}
	list, err := owedInverses(f.Records)
	if err != nil {
		return nil, errors.Join(err, r.drop(ctx))
	}
	gone := map[string]error{} // hosts that cannot be reached
	start := e.Now()
	r.replay(f.Records)
	r.report.Outputs = nil
	began := false
	err = r.lockedIfAny(ctx, func(ctx context.Context) error {
		if err := r.adopt(ctx); err != nil {
			return err
		}
		if !r.bare {
			if err := r.noOther(ctx); err != nil {
				return err
			}
		}
		if err := r.e.refuseOthersData(ctx, list, f.Records, gone); err != nil {
			return err
		}
		if err := r.e.refuseSecondPrimary(ctx, f, list); err != nil {
			return err
		}
		began = true
		r.emit(event.Event{Type: event.RunStart, Text: "undo " + r.report.Plan})
		return r.back(ctx, f.Records, list, gone)
	})
	if !began {
		return nil, errors.Join(err, r.drop(ctx))
	}
	r.report.Status = journal.UndoneRun
	if err != nil {
		r.report.Status = journal.FailedRun
	}
	r.report.Seconds = e.Now().Sub(start).Seconds()
	if errors.Is(err, ErrStopped) {
		err = &fault.Error{Class: fault.Interrupted, Err: err, State: "the run is taken back in part", Hint: "to go on: pgrepctl runs undo " + r.id}
	}
	err = errors.Join(err, r.end(ctx, r.report.Status, err))
	r.emit(event.Event{Type: event.RunEnd, Text: string(r.report.Status)})
	return r.report, err
}

// back takes everything back that can be reached: a host that is gone must not
// keep its slot on another from being dropped.
func (r *run) back(ctx context.Context, recs []journal.Record, list []owed, gone map[string]error) error {
	if _, err := r.record(ctx, journal.Record{Type: journal.Undoing}); err != nil {
		return err
	}
	// Other machines must see that there is only one way on. A full disk does not
	// keep anything from being taken back: that may be what frees it.
	if err := r.extend(ctx); err != nil {
		if err := r.uncopied(err); err != nil {
			return err
		}
	}
	for _, o := range backward(list) {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if o.inverse == nil {
			r.stuck = o.noReturn
			return fault.Refuse("", "go forward instead: pgrepctl runs resume "+r.id,
				fmt.Errorf("%q cannot be undone: %s", o.text, o.noReturn))
		}
		name := o.inverse.On()
		if gone[name] != nil {
			continue
		}
		err := r.undo(ctx, o.node, o.step, o.done)
		if errors.Is(err, effect.ErrHappened) {
			r.stuck = o.noReturn
			return fault.Refuse("", "go forward instead: pgrepctl runs resume "+r.id, fmt.Errorf("%q cannot be undone: %s: %w", o.text, o.noReturn, err))
		}
		if fault.ClassOf(err) == fault.Unreachable && ctx.Err() == nil {
			gone[name] = err
			continue
		}
		if err != nil {
			return err
		}
	}
	if err := r.settleBack(ctx, recs, gone); err != nil || len(gone) == 0 {
		return err
	}
	errs := make([]error, 0, len(gone))
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		errs = append(errs, gone[name])
	}
	return &fault.Error{Class: fault.Unreachable, Op: "undo run " + r.id, Err: errors.Join(errs...),
		State: "what the run did on the other hosts is taken back",
		Hint:  "when it is back: pgrepctl runs undo " + r.id + "; if it is gone for good: pgrepctl runs abandon " + r.id}
}

// laterRun refuses to take a run back from under one that came after it: the
// later one edited the same files, and may need the same role.
func (e *Engine) laterRun(id string) error {
	runs, err := journal.List(e.Dir)
	if err != nil {
		return err
	}
	for _, s := range slices.Backward(runs) {
		// What is done at once edits no file, and leaves nothing to build on.
		if s.ID > id && s.Open() && !s.NoCopy {
			return fault.Refuse("", e.WaysOut(s.ID), fmt.Errorf("run %s (%s) came later, and is not finished", s.ID, s.Run.Plan))
		}
		if s.ID > id && s.Status == journal.Succeeded && !s.NoCopy {
			return fault.Refuse("", "pgrepctl runs undo "+s.ID+", and then this one",
				fmt.Errorf("run %s (%s) came later and builds on it", s.ID, s.Run.Plan))
		}
	}
	return nil
}

// Abandon ends an open run and leaves what it did as it is. A primary that cannot
// be asked is no hindrance: it may be why the run is abandoned.
func (e *Engine) Abandon(ctx context.Context, f *Found) error {
	if !f.Open() {
		return notOpen(f)
	}
	primary := e.meets(f.Run)
	w := newWorld(e.Cluster)
	if h, err := w.Of(ctx, primary); err == nil {
		if h.Server.Holds(f.ID) {
			return effect.Locked(primary, h.Server.Lock)
		}
		if f.asked && !f.endedElsewhere() {
			if err := e.unchanged(ctx, w, f); err != nil {
				return err
			}
		}
	}
	r, err := e.reopen(ctx, &plan.Plan{Cluster: e.Inventory}, f)
	if err != nil {
		return err
	}
	if r.journal == nil {
		if r.journal, _, err = journal.Adopt(e.Dir, f.ID, f.copy, e.Now); err != nil {
			return err
		}
	}
	return r.end(ctx, journal.Abandoned, nil)
}

// settleBack drops the images of the files that were put back, and makes servers
// read those files.
func (r *run) settleBack(ctx context.Context, recs []journal.Record, gone map[string]error) error {
	var images []string
	for _, rec := range recs {
		if rec.Type != journal.Intent || gone[rec.Host] != nil || rec.Inverse == nil {
			continue
		}
		inv, err := effect.Decode(rec.Inverse)
		if err != nil {
			return err
		}
		if f, ok := inv.(*effect.RestoreFile); ok && !slices.Contains(images, f.Host+f.Image) {
			images = append(images, f.Host+f.Image)
			if err := f.DropImage(ctx, r); err != nil {
				return err
			}
		}
	}
	for _, o := range reloadsBack(recs) {
		if gone[o.inverse.On()] != nil {
			continue
		}
		if err := r.undo(ctx, o.node, o.step, o.done); err != nil {
			return err
		}
	}
	return nil
}

// reloadsBack are the reloads at the end of an undo, one for each host that the
// run has reloaded since the last of them, in the order of their names. As
// effects, they would come before the files in reverse order.
func reloadsBack(recs []journal.Record) []owed {
	byHost := map[string]owed{}
	for _, rec := range recs {
		if rec.Effect != "reload" {
			continue
		}
		switch rec.Type {
		case journal.Intent:
			byHost[rec.Host] = owed{node: rec.Node, step: rec.Step, done: done{seq: rec.Seq, inverse: &effect.Reload{Host: rec.Host, Why: "(undo)"}}}
		case journal.Undone:
			delete(byHost, rec.Host)
		}
	}
	maps.DeleteFunc(byHost, func(name string, _ owed) bool { return startedHere(recs, name) })
	out := make([]owed, 0, len(byHost))
	for _, name := range slices.Sorted(maps.Keys(byHost)) {
		out = append(out, byHost[name])
	}
	return out
}

var _ steps.Run = (*run)(nil)

// startedHere reports whether the run found the server stopped, and started it: an
// undo has stopped it, so that nothing is there to be reloaded.
func startedHere(recs []journal.Record, name string) bool {
	for _, rec := range recs {
		if rec.Type != journal.Intent || rec.Host != name || rec.Inverse == nil {
			continue
		}
		inv, err := effect.Decode(rec.Inverse)
		if err != nil {
			continue // the caller has decoded all of them
		}
		if s, ok := inv.(*effect.Service); ok {
			return s.Action == "stop"
		}
	}
	return false
}
