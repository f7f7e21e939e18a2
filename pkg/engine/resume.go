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

func sameWork(r journal.Summary, p *plan.Plan) bool {
	return r.Run.Plan == p.Name && maps.Equal(r.Vars, p.Vars)
}

// goesOn is the answer to whom a live run of this machine is in the way.
func goesOn(r journal.Run) error {
	return &fault.Error{Class: fault.Locked, Err: fmt.Errorf("run %s (%s, by %s) is still going on, in another process of this machine", r.ID, r.Plan, r.Operator),
		State: "nothing was changed by this command",
		Hint:  "wait for it to end and type the same command again"}
}

func openRun(r journal.Summary) error {
	where := ""
	if r.On != "" {
		where = ", and was begun on another machine"
	}
	return &fault.Error{Class: fault.Refused, Host: r.On, Op: "start a run",
		Err:   fmt.Errorf("run %s (%s, by %s, since %s) is not finished%s", r.ID, r.Run.Plan, r.Operator, r.Started.Format("2006-01-02 15:04:05Z"), where),
		State: "nothing was changed by this command",
		Hint:  "pgrepctl runs resume " + r.ID + ", or pgrepctl runs undo " + r.ID}
}

// planOf is the plan of an open run, as it was when the run began.
func (e *Engine) planOf(f *Found) (*plan.Plan, error) {
	if !f.Open() {
		return nil, fault.Refuse("", "pgrepctl runs list", fmt.Errorf("run %s is not open: %s", f.ID, f.Status))
	}
	return plan.Load(f.Run.Plan+" of run "+f.ID, []byte(f.PlanText), e.Inventory, f.Vars)
}

// Resume goes on with an interrupted run. Every node is planned again from
// fresh facts: what was done comes out empty.
func (e *Engine) Resume(ctx context.Context, f *Found) (*Report, error) {
	if err := errors.Join(e.refuseElsewhere(f), f.refuseUndone()); err != nil {
		return nil, err
	}
	p, err := e.planOf(f)
	if err != nil {
		return nil, err
	}
	return e.resume(ctx, p, f)
}

func (e *Engine) resume(ctx context.Context, p *plan.Plan, f *Found) (*Report, error) {
	r, err := e.reopen(ctx, p, f)
	if err != nil {
		return nil, err
	}
	r.replay(f.Records)
	err = r.locked(ctx, func(ctx context.Context) error {
		if err := r.adopt(ctx); err != nil {
			return err
		}
		return r.sweep(ctx, f.Records)
	})
	if err != nil {
		return r.report, errors.Join(r.explain(err), r.drop(ctx))
	}
	return r.do(ctx)
}

// reopen makes a run of a found one.
func (e *Engine) reopen(ctx context.Context, p *plan.Plan, f *Found) (*run, error) {
	r := e.newRun(ctx, f.ID, p)
	r.found, r.report.Plan = f, f.Run.Plan
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
		return nil
	}
	j, _, err := journal.Adopt(r.e.Dir, r.id, r.found.copy, r.e.Now)
	if errors.Is(err, journal.ErrBusy) {
		return goesOn(r.found.Run)
	}
	r.journal = j
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

// locked runs f under the cluster lock: the run to be resumed or undone may
// still be alive, and then holds it.
func (r *run) locked(ctx context.Context, f func(context.Context) error) (err error) {
	name := r.e.Inventory.Primary().Name
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
	for _, d := range slices.Backward(left) {
		if err := r.undo(ctx, d.node, d.step, d.done); err != nil {
			return err
		}
	}
	for _, node := range openBrackets(recs) {
		if _, err := r.record(ctx, journal.Record{Type: journal.Close, Node: node}); err != nil {
			return err
		}
	}
	return nil
}

// openBrackets are the nodes that were opened and never closed, in order.
func openBrackets(recs []journal.Record) []string {
	var open []string
	for _, rec := range recs {
		switch rec.Type {
		case journal.Open:
			open = append(open, rec.Node)
		case journal.Close:
			open = slices.DeleteFunc(open, func(n string) bool { return n == rec.Node })
		}
	}
	return open
}

// leftOpen is what the opening of brackets did that nobody took back.
func leftOpen(recs []journal.Record) ([]owed, error) {
	all, err := owedInverses(recs)
	if err != nil {
		return nil, err
	}
	open := openBrackets(recs)
	return slices.DeleteFunc(all, func(o owed) bool { return o.inverse == nil || !slices.Contains(open, o.node) }), nil
}

// owed is an act that was begun and not taken back.
type owed struct {
	done
	node, step, text string
	noReturn         string
	finished         bool
}

func owedInverses(recs []journal.Record) ([]owed, error) {
	byIntent := map[int]*owed{}
	var order []int
	for _, rec := range recs {
		switch rec.Type {
		case journal.Intent:
			o := &owed{done: done{seq: rec.Seq}, node: rec.Node, step: rec.Step, text: rec.Text, noReturn: rec.NoReturn}
			if rec.Inverse != nil {
				inv, err := effect.Decode(rec.Inverse)
				if err != nil {
					return nil, err
				}
				o.inverse = inv
			}
			byIntent[rec.Seq] = o
			order = append(order, rec.Seq)
		case journal.Done:
			byIntent[rec.Of].finished = true
		case journal.Undone:
			delete(byIntent, rec.Of)
		case journal.Failed:
			if rec.Untouched {
				delete(byIntent, rec.Of)
			}
		}
	}
	var out []owed
	for _, seq := range order {
		if o, ok := byIntent[seq]; ok && (o.inverse != nil || o.noReturn != "" && o.finished) {
			out = append(out, *o)
		}
	}
	return out, nil
}

// Undo takes a run back: the recorded inverses, last first. It stops at a point
// of no return. It needs no plan, and no inventory but for how to reach the
// hosts.
func (e *Engine) Undo(ctx context.Context, f *Found) (*Report, error) {
	if f.Status == journal.UndoneRun {
		return &Report{Run: f.ID, Plan: f.Run.Plan, Status: f.Status}, nil
	}
	if err := errors.Join(e.refuseElsewhere(f), e.laterRun(f.ID)); err != nil {
		return nil, err
	}
	r, err := e.reopen(ctx, &plan.Plan{Cluster: e.Inventory}, f)
	if err != nil {
		return nil, err
	}
	start := e.Now()
	r.replay(f.Records)
	r.report.Outputs = nil
	began := false
	err = r.locked(ctx, func(ctx context.Context) error {
		if err := r.adopt(ctx); err != nil {
			return err
		}
		began = true
		r.emit(event.Event{Type: event.RunStart, Text: "undo " + r.report.Plan})
		return r.back(ctx, f.Records)
	})
	if !began {
		return nil, errors.Join(err, r.drop(ctx))
	}
	r.report.Status = journal.UndoneRun
	if err != nil {
		r.report.Status = journal.FailedRun
	}
	r.report.Seconds = e.Now().Sub(start).Seconds()
	err = errors.Join(err, r.end(ctx, r.report.Status, err))
	r.emit(event.Event{Type: event.RunEnd, Text: string(r.report.Status)})
	return r.report, err
}

// back takes everything back that can be reached: a host that is gone must not
// keep its slot on another from being dropped.
func (r *run) back(ctx context.Context, recs []journal.Record) error {
	list, err := owedInverses(recs)
	if err != nil {
		return err
	}
	if _, err := r.record(ctx, journal.Record{Type: journal.Undoing}); err != nil {
		return err
	}
	// Other machines must see that there is only one way on. A full disk does not
	// keep anything from being taken back: that may be what frees it.
	r.unkept(r.extend(ctx))
	gone := map[string]error{}
	for _, o := range slices.Backward(list) {
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
		if s.ID > id && s.Status == journal.Succeeded {
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
		return fault.Refuse("", "pgrepctl runs list", fmt.Errorf("run %s is not open: %s", f.ID, f.Status))
	}
	primary := e.Inventory.Primary().Name
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
	out := make([]owed, 0, len(byHost))
	for _, name := range slices.Sorted(maps.Keys(byHost)) {
		out = append(out, byHost[name])
	}
	return out
}

var _ steps.Run = (*run)(nil)
