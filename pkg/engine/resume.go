package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

func sameWork(r journal.Summary, p *plan.Plan) bool {
	return r.Run.Plan == p.Name && maps.Equal(r.Vars, p.Vars)
}

// otherOptions says why a command does not go on with a run of its own plan: to do so
// takes the same options.
func otherOptions(err error, r journal.Summary, p *plan.Plan) error {
	if r.Run.Plan != p.Name || r.Vars["standby"] != p.Vars["standby"] {
		return err
	}
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
		if was, is := r.Vars[name], p.Vars[name]; was != is {
			differ = append(differ, fmt.Sprintf("%s was %s, and is %s now", name, cmp.Or(was, "empty"), cmp.Or(is, "empty")))
		}
	}
	if len(differ) == 0 {
		return err
	}
	return fmt.Errorf("%w: it was begun with other options, with which a resume goes on: %s", err, strings.Join(differ, "; "))
}

// goesOn is the answer to whom a live run of this machine is in the way.
func goesOn(r journal.Run) error {
	return &fault.Error{Class: fault.Locked, Err: fmt.Errorf("run %s (%s, by %s) is still going on, in another process of this machine", r.ID, r.Plan, r.Operator),
		State: "nothing was changed by this command",
		Hint:  "wait for it to end and type the same command again"}
}

// openRun refuses what must not be done beside it.
func (e *Engine) openRun(r journal.Summary) *fault.Error {
	where := ""
	if r.On != "" {
		where = ", and was begun on another machine"
	}
	return &fault.Error{Class: fault.Refused, Host: r.On, Op: "start a run",
		Err:   fmt.Errorf("run %s (%s, by %s, since %s) is not finished%s", r.ID, r.Run.Plan, r.Operator, r.Started.Format("2006-01-02 15:04:05Z"), where),
		State: "nothing was changed by this command",
		Hint:  e.WaysOut(r.ID)}
}

// notOpen says why there is nothing to go on with. A run that died before its first
// change is still listed as interrupted, and owes nothing.
func notOpen(f *Found) error {
	if !f.Over() {
		return fault.Refuse("", "type the command of that run again: it begins anew", fmt.Errorf("run %s (%s) changed nothing: there is nothing to go on with", f.ID, f.Status))
	}
	return fault.Refuse("", "pgrepctl runs list", fmt.Errorf("run %s is not open: %s", f.ID, f.Status))
}

// planOf is the plan of an open run, as it was when the run began.
func (e *Engine) planOf(f *Found) (*plan.Plan, error) {
	if !f.Open() {
		return nil, notOpen(f)
	}
	p, err := plan.Load(f.Run.Plan+" of run "+f.ID, []byte(f.PlanText), e.Inventory, f.Vars)
	if err != nil {
		return nil, e.unfit(f, err)
	}
	return p, nil
}

// Resume goes on with an interrupted run. Every node is planned again from
// fresh facts: what was done comes out empty.
func (e *Engine) Resume(ctx context.Context, f *Found) (*Report, error) {
	if err := errors.Join(e.refuseElsewhere(f), f.refuseNewer(), f.refuseUndone()); err != nil {
		return nil, err
	}
	p, err := e.planOf(f)
	if err != nil {
		return nil, err
	}
	return e.resume(ctx, p, f, nil)
}

func (e *Engine) resume(ctx context.Context, p *plan.Plan, f *Found, shown []Line) (*Report, error) {
	r, err := e.reopen(ctx, p, f)
	if err != nil {
		return nil, err
	}
	r.shown = shown
	r.replay(f.Records)
	r.world.forward = pastReturn(f.Records)
	ours := false
	err = r.locked(ctx, func(ctx context.Context) error {
		if err := r.adopt(ctx); err != nil {
			return err
		}
		ours = true
		return r.sweep(ctx, f.Records)
	})
	if err != nil && !ours {
		// Whoever has a report may undo its run, and this one may be another operator's by now.
		return nil, errors.Join(r.explain(err), r.drop(ctx))
	}
	if err != nil {
		return r.report, errors.Join(r.explain(err), r.drop(ctx))
	}
	return r.do(ctx)
}

// reopen makes a run of a found one.
func (e *Engine) reopen(ctx context.Context, p *plan.Plan, f *Found) (*run, error) {
	r := e.newRun(ctx, f.ID, p)
	r.found, r.report.Plan, r.meets, r.bare = f, f.Run.Plan, e.meets(f.Run), f.Run.NoCopy
	for _, rec := range f.Records {
		r.begun.Take(rec)
	}
	if f.adopts() {
		return r, nil // under the lock
	}
	j, _, err := journal.Reopen(f.Path, e.Now)
	if errors.Is(err, journal.ErrBusy) {
		return nil, goesOn(f.Run)
	}
	r.journal = j
	return r, err
}

// adopt is asked under the lock: the run is as it was looked at, and its journal
// comes to this machine, if it is not here.
func (r *run) adopt(ctx context.Context) error {
	if err := r.e.unchanged(ctx, r.world, r.found); err != nil {
		return err
	}
	if r.journal != nil {
		// A run that died before it could make the copy has none until now. It comes
		// before the next record: see endedElsewhere.
		if r.found.copy == nil && r.found.Open() && r.acted() && !r.bare {
			return r.copyLate(ctx)
		}
		return nil
	}
	j, _, err := journal.Adopt(r.e.Dir, r.id, r.found.copy, r.e.Now)
	if errors.Is(err, journal.ErrBusy) {
		return goesOn(r.found.Run)
	}
	r.journal = j
	return err
}

// copyLate makes the copy of a run that is found without one. A full disk keeps
// nobody from going on: the next intent, if there is one, will say so.
func (r *run) copyLate(ctx context.Context) error {
	if err := r.extend(ctx); err != nil {
		return r.uncopied(err)
	}
	var err error
	r.found.copy, err = r.e.readCopy(ctx, r.mirror.at)
	return err
}

// uncopied warns that no copy could be made. Where there was none, that is noted: the
// run would else look like one that another operator has ended.
func (r *run) uncopied(err error) error {
	r.unkept(err)
	if r.found.copy != nil {
		return nil
	}
	_, err = r.keep(journal.Record{Type: journal.Discard})
	return err
}

// drop lets go of a run that did not come to its end record.
func (r *run) drop(ctx context.Context) error {
	if r.mirror != nil {
		r.unkept(r.mirror.stop(ctx))
	}
	if r.journal == nil {
		return nil
	}
	return r.journal.Close()
}

// lockedIfAny is locked for who takes a run back. A server that does not run has no lock that
// anybody could hold; that it does not may be what the run did, and is to be taken back. Who comes
// when it runs again finds the copy of the journal.
func (r *run) lockedIfAny(ctx context.Context, f func(context.Context) error) error {
	begun := false
	err := r.locked(ctx, func(ctx context.Context) error { begun = true; return f(ctx) })
	if begun || !errors.Is(err, host.ErrNoServer) {
		return err
	}
	r.emit(event.Event{Type: event.Warning, At: r.e.Now(), Host: r.meets, Text: "its server does not run: nobody has the cluster lock there, and the run is taken back without it"})
	return f(ctx)
}

// locked runs f under the cluster lock: the run to be resumed or undone may
// still be alive, and then holds it.
func (r *run) locked(ctx context.Context, f func(context.Context) error) (err error) {
	name := r.meets
	inside, cancel := context.WithCancelCause(ctx)
	r.frame = &frame{cancel: cancel}
	defer func() { r.frame = nil; cancel(nil) }()
	if _, err := (&effect.TakeLock{Host: name}).Do(inside, r); err != nil {
		return err
	}
	defer func() {
		closing, stop := r.closing(ctx)
		defer stop()
		_, rerr := (&effect.ReleaseLock{Host: name}).Do(closing, r)
		err = errors.Join(err, rerr)
	}()
	return f(inside)
}

// sweep takes away what brackets left open when the run died: their sessions
// died with it, their files and lines did not.
func (r *run) sweep(ctx context.Context, recs []journal.Record) error {
	left, err := leftOpen(recs)
	if err != nil {
		return err
	}
	r.left = map[string][]done{}
	for _, d := range slices.Backward(left) {
		before := len(r.report.Done)
		if err := r.undo(ctx, d.node, d.step, d.done); err != nil {
			return err
		}
		if len(r.report.Done) == before && d.bracket != "" { // not yet: at the end of its bracket, then
			r.left[d.bracket] = slices.Insert(r.left[d.bracket], 0, d.done)
		}
	}
	r.unclosed = false
	for _, node := range openBrackets(recs) {
		if _, err := r.record(ctx, journal.Record{Type: journal.Close, Node: node}); err != nil {
			return err
		}
	}
	return nil
}
