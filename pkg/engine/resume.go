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

func openRun(r journal.Summary) error {
	return &fault.Error{Class: fault.Refused, Op: "start a run",
		Err:   fmt.Errorf("run %s (%s, by %s, since %s) is not finished", r.ID, r.Run.Plan, r.Operator, r.Started.Format("2006-01-02 15:04:05Z")),
		State: "nothing was changed by this command",
		Hint:  "pgrepctl runs resume " + r.ID + ", or pgrepctl runs undo " + r.ID}
}

// Resume goes on with an interrupted run. Every node is planned again from
// fresh facts: what was done comes out empty.
func (e *Engine) Resume(ctx context.Context, path string) (*Report, error) {
	recs, err := journal.Read(path)
	if err != nil {
		return nil, err
	}
	s := journal.Summarize(path, recs)
	if !s.Open() {
		return nil, fault.Refuse("", "", fmt.Errorf("run %s is not open: %s", s.ID, s.Status))
	}
	p, err := plan.Load(s.Run.Plan+" of run "+s.ID, []byte(s.PlanText), e.Inventory, s.Vars)
	if err != nil {
		return nil, err
	}
	return e.resume(ctx, p, path)
}

func (e *Engine) resume(ctx context.Context, p *plan.Plan, path string) (*Report, error) {
	r, recs, err := e.reopen(p, path)
	if err != nil {
		return nil, err
	}
	r.replay(recs)
	if err := r.locked(ctx, func(ctx context.Context) error { return r.sweep(ctx, recs) }); err != nil {
		return r.report, errors.Join(r.explain(err), r.sessions.close(context.WithoutCancel(ctx)), r.journal.Close())
	}
	return r.do(ctx)
}

func (e *Engine) reopen(p *plan.Plan, path string) (*run, []journal.Record, error) {
	j, recs, err := journal.Reopen(path, e.Now)
	if err != nil {
		return nil, nil, err
	}
	id := recs[0].Run.ID
	r := &run{state: e.newState(id), e: e, plan: p, journal: j, world: newWorld(e.Cluster), holds: map[string]*hold{}, sessions: newSessions(e.Cluster),
		report: &Report{Run: id, Plan: recs[0].Run.Plan}}
	return r, recs, nil
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
		_, rerr := (&effect.ReleaseLock{Host: name}).Do(context.WithoutCancel(ctx), r)
		err = errors.Join(err, rerr)
	}()
	return f(inside)
}

// sweep takes away what brackets left open when the run died: their sessions
// died with it, their files and lines did not.
func (r *run) sweep(ctx context.Context, recs []journal.Record) error {
	open := map[string]bool{}
	for _, rec := range recs {
		switch rec.Type {
		case journal.Open:
			open[rec.Node] = true
		case journal.Close:
			delete(open, rec.Node)
		}
	}
	owed, err := owedInverses(recs)
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(owed) {
		if open[d.node] {
			if err := r.undo(ctx, d.node, d.step, d.done); err != nil {
				return err
			}
		}
	}
	for _, node := range slices.Sorted(maps.Keys(open)) {
		if _, err := r.journal.Append(journal.Record{Type: journal.Close, Node: node}); err != nil {
			return err
		}
	}
	return nil
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
func (e *Engine) Undo(ctx context.Context, path string) (*Report, error) {
	r, recs, err := e.reopen(&plan.Plan{Cluster: e.Inventory}, path)
	if err != nil {
		return nil, err
	}
	start := e.Now()
	r.replay(recs)
	r.report.Outputs = nil
	r.emit(event.Event{Type: event.RunStart, Text: "undo " + r.report.Plan})
	err = r.locked(ctx, func(ctx context.Context) error { return r.back(ctx, recs) })
	_ = r.sessions.close(context.WithoutCancel(ctx))
	end := journal.Record{Type: journal.End, Status: journal.UndoneRun}
	if err != nil {
		end.Status, end.Error = journal.FailedRun, err.Error()
	}
	r.report.Status = end.Status
	r.report.Seconds = e.Now().Sub(start).Seconds()
	_, jerr := r.journal.Append(end)
	r.emit(event.Event{Type: event.RunEnd, Text: string(end.Status)})
	return r.report, errors.Join(err, jerr, r.journal.Close())
}

func (r *run) back(ctx context.Context, recs []journal.Record) error {
	list, err := owedInverses(recs)
	if err != nil {
		return err
	}
	if _, err := r.journal.Append(journal.Record{Type: journal.Undoing}); err != nil {
		return err
	}
	for _, o := range slices.Backward(list) {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if o.inverse == nil {
			return fault.Refuse("", "go forward instead: pgrepctl runs resume "+r.id,
				fmt.Errorf("%q cannot be undone: %s", o.text, o.noReturn))
		}
		if err := r.undo(ctx, o.node, o.step, o.done); err != nil {
			return err
		}
	}
	return r.settleBack(ctx, recs)
}

// settleBack makes servers read the files that were put back. As effects,
// reloads would come before the files in reverse order.
func (r *run) settleBack(ctx context.Context, recs []journal.Record) error {
	reloaded := map[string]bool{}
	var images []string
	for _, rec := range recs {
		if rec.Type != journal.Intent {
			continue
		}
		if rec.Effect == "reload" {
			reloaded[rec.Host] = true
		}
		if rec.Inverse != nil {
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
	}
	for _, name := range slices.Sorted(maps.Keys(reloaded)) {
		if _, err := (&effect.Reload{Host: name, Why: "(undo)"}).Do(ctx, r); err != nil {
			return fmt.Errorf("reload %s after the undo: %w", name, err)
		}
	}
	return nil
}

var _ steps.Run = (*run)(nil)
