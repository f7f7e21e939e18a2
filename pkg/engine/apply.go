package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// Report says how a run ended.
type Report struct {
	Run     string            `json:"run"`
	Plan    string            `json:"plan"`
	Status  journal.Status    `json:"status"`
	Done    []string          `json:"done"` // "host: description" of each effect, in order
	Noops   int               `json:"noops"`
	Outputs map[string]string `json:"outputs,omitempty"`
	Seconds float64           `json:"seconds"`
	// Connections counts the TCP connections to each host.
	Connections map[string]int `json:"connections,omitempty"`
	// Begun: this process has begun an act, or taken one back. What a resumed run did
	// before does not count.
	Begun bool `json:"-"`
}

// Apply runs a plan. An interrupted run of the same plan with the same
// variables is resumed; any other open run is refused. There is no report of a run that
// another operator went on with meanwhile: it is theirs.
func (e *Engine) Apply(ctx context.Context, p *plan.Plan) (*Report, error) {
	return e.ApplyAfter(ctx, p, &Preview{})
}

// ApplyAfter is Apply after a preview of the plan. If that has found work, and all of the
// plan is done under the cluster lock, it begins with what the preview was made from: until
// the lock is held nothing comes of it but that the lock is taken, and then every host is
// read, and every node planned, again.
func (e *Engine) ApplyAfter(ctx context.Context, p *plan.Plan, pre *Preview) (*Report, error) {
	w := newWorld(e.Cluster)
	if underLock(p) && pre.Effects() > 0 {
		w = worldOf(e.Cluster, pre.read)
		w.before = true
	}
	open, err := e.interrupted(ctx, w, p)
	if err != nil {
		return nil, err
	}
	if open != nil && e.Expect != nil {
		return nil, e.openRun(open.Summary)
	}
	if open != nil {
		return e.resume(ctx, p, open, pre.Lines)
	}
	r := e.newRun(ctx, e.NewID(), p)
	r.world, r.shown = w, pre.Lines
	return r.do(ctx)
}

// underLock reports whether all of a plan is done while the cluster lock is held.
func underLock(p *plan.Plan) bool {
	if len(p.Nodes) != 1 {
		return false
	}
	_, ok := p.Nodes[0].Bracket.(*steps.Lock)
	return ok
}

func (e *Engine) newRun(ctx context.Context, id string, p *plan.Plan) *run {
	return &run{root: ctx, state: e.newState(id), e: e, plan: p, meets: e.meeting(p.Meets), begun: journal.Begun{}, mine: journal.Begun{}, late: map[string]bool{}, world: newWorld(e.Cluster), holds: map[string]*hold{}, starts: map[string]*effect.Service{},
		report: &Report{Run: id, Plan: p.Name}}
}

// run is one apply.
type run struct {
	*state
	e       *Engine
	plan    *plan.Plan
	meets   string // the host that has the lock, and the copy of the journal
	journal *journal.Journal
	// bare: no copy of the journal is kept.
	bare    bool
	mirror  *mirror // nil until there is something to keep
	pending []byte  // lines of the journal that the mirror has not
	begun   journal.Begun
	mine    journal.Begun // what this process has begun, and what it took back
	found   *Found        // the run that goes on, nil for a new one
	shown   []Line        // what the operator has agreed to, nil if that is not known
	stuck   string        // why an undo can go no further
	world   *world
	holds   map[string]*hold
	starts  map[string]*effect.Service // by host: see Started
	report  *Report
	frame   *frame
	node    *plan.Node
	acting  int             // the intent of the act that goes on
	root    context.Context // of the whole run: see closing
	// unclosed: what a bracket made could not all be taken away.
	unclosed bool
	// taken: another operator went on with the run. unread: whether that is so could not be
	// asked, and is not asked again.
	taken, unread bool
	// left is what a resume could not take back yet, by the bracket that answers for it.
	left map[string][]done
	// late are the standbys that this end of a bracket, or this sweep, has waited for in
	// vain: all ends within a time, and a standby may be at several balancers.
	late map[string]bool
}

// begin opens the journal, before the first effect and not earlier: a run that
// had nothing to do leaves nothing behind.
func (r *run) begin() error {
	if r.journal != nil {
		return nil
	}
	meets := r.meets
	if meets == r.plan.Cluster.Primary().Name {
		meets = "" // whoever that is
	}
	j, err := journal.Create(r.e.Dir, journal.Run{Meets: meets, ID: r.id, Cluster: r.plan.Cluster.Name, Inventory: r.plan.Cluster.File, Plan: r.plan.Name,
		PlanText: r.plan.Text, Vars: r.plan.Vars, Operator: r.e.Operator, Accept: r.e.Accept, Version: r.e.Version, NoCopy: r.bare}, r.e.Now)
	r.journal = j
	return err
}

func (r *run) do(ctx context.Context) (*Report, error) {
	start := r.e.Now()
	r.emit(event.Event{Type: event.RunStart, Text: r.plan.Name})
	err := r.world.prefetch(ctx, r.plan.Nodes)
	if err == nil {
		err = r.nodes(ctx, r.plan.Nodes)
	}
	r.report.Outputs = maps.Clone(r.outputs)
	r.report.Seconds = r.e.Now().Sub(start).Seconds()
	r.report.Status = journal.Succeeded
	if errors.Is(err, ErrStopped) {
		r.report.Status = journal.Interrupted
	} else if err != nil {
		r.report.Status = journal.FailedRun
	}
	if status := r.report.Status; r.journal != nil && r.bare && err != nil {
		// It keeps nobody from anything: what it did stays, and can be undone.
		err = errors.Join(err, r.end(ctx, journal.Abandoned, err))
		r.report.Status = status
	} else if r.journal != nil {
		err = errors.Join(err, r.end(ctx, status, err))
	}
	r.emit(event.Event{Type: event.RunEnd, Text: string(r.report.Status)})
	if r.taken {
		return nil, r.explain(err) // whoever has a report may undo, or go on with, its run
	}
	return r.report, r.explain(err)
}

// explain adds what to type next to an error that left something behind.
func (r *run) explain(err error) error {
	left := errors.Is(err, ErrCopyLeft)
	if err == nil || left && r.acted() { // which has its own words
		return err
	}
	f := &fault.Error{Class: fault.ClassOf(err), Err: err}
	if errors.Is(err, ErrStopped) {
		f.Class = fault.Interrupted
	}
	if r.taken {
		if f.Class != fault.Interrupted {
			f.Class = fault.Refused
		}
		f.State = fmt.Sprintf("%d effects of run %s are done; what it held open is left to who went on with it", len(r.report.Done), r.id)
		f.Hint = "look with: pgrepctl runs list"
		return f
	}
	if !r.acted() {
		f.State = "nothing was changed"
		if left {
			f.Hint = "when the primary can be reached: pgrepctl runs resume " + r.id
		}
		return f
	}
	f.State = fmt.Sprintf("%d effects of run %s are done, and all that it held open is closed", len(r.report.Done), r.id)
	if r.unclosed || len(r.left) > 0 {
		f.State = fmt.Sprintf("%d effects of run %s are done; not all that it held open could be closed, which a resume or an undo does first", len(r.report.Done), r.id)
	}
	f.Hint = r.e.WaysOut(r.id)
	return f
}

func (r *run) nodes(ctx context.Context, nodes []plan.Node) error {
	for i := range nodes {
		if err := r.stopped(ctx); err != nil {
			return err
		}
		if err := r.one(ctx, &nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

// stopped says why a run may not go on. Both reasons may be there, and neither hides
// the other: what was lost, and that the operator has stopped it.
func (r *run) stopped(ctx context.Context) error {
	var lost error
	if ctx.Err() != nil {
		lost = context.Cause(ctx)
	}
	select {
	case <-r.e.Stop:
	default:
		return lost
	}
	if lost != nil {
		return fmt.Errorf("%w: %w", ErrStopped, lost)
	}
	return ErrStopped
}

func (r *run) one(ctx context.Context, n *plan.Node) error {
	if n.Bracket != nil {
		return r.bracket(ctx, n)
	}
	r.emit(event.Event{Type: event.NodeStart, Node: n.ID, Host: n.Host.Name, Step: n.Kind})
	if f, ok := n.Step.(steps.Fresh); ok {
		for _, name := range f.Fresh(r.plan.Cluster) {
			r.world.forget(name)
		}
	}
	if err := r.world.prefetch(ctx, r.plan.Nodes); err != nil {
		return r.failed(ctx, n, at(n, err))
	}
	p, err := n.Step.Plan(ctx, input(r.plan, n, r.world, r.state))
	if err != nil {
		return r.failed(ctx, n, at(n, err))
	}
	if err := errors.Join(r.asSaved(n, Plain, p.Effects), r.asShown(n, p.Effects)); err != nil {
		return r.failed(ctx, n, err)
	}
	if len(p.Effects) == 0 {
		return r.noop(ctx, n, p.Noop)
	}
	if _, err := r.effects(ctx, n, p); err != nil {
		return err
	}
	r.emit(event.Event{Type: event.NodeDone, Node: n.ID, Host: n.Host.Name, Step: n.Kind})
	return nil
}

func (r *run) noop(ctx context.Context, n *plan.Node, why string) error {
	r.report.Noops++
	r.emit(event.Event{Type: event.NodeNoop, Node: n.ID, Host: n.Host.Name, Step: n.Kind, Text: why})
	if r.journal == nil {
		return nil
	}
	_, err := r.record(ctx, journal.Record{Type: journal.Noop, Node: n.ID, Host: n.Host.Name, Step: n.Kind, Text: why})
	return err
}

func (r *run) failed(ctx context.Context, n *plan.Node, err error) error {
	r.emit(event.Event{Type: event.Failed, Node: n.ID, Host: n.Host.Name, Step: n.Kind, Error: err.Error()})
	if r.journal == nil {
		return err
	}
	_, jerr := r.record(ctx, journal.Record{Type: journal.Failed, Node: n.ID, Host: n.Host.Name, Step: n.Kind, Error: err.Error()})
	return errors.Join(err, jerr)
}

// done is an effect that happened, and how to take it back.
type done struct {
	seq     int
	inverse effect.Effect
	claim   string
}

func (r *run) effects(ctx context.Context, n *plan.Node, p steps.Planned) ([]done, error) {
	var out []done
	// Settles are owed from before the first effect on: once a file is as it
	// should be, a resumed run finds no reason in it any more.
	if err := r.oweSettles(ctx, p.Settles); err != nil {
		return nil, err
	}
	for i, e := range p.Effects {
		if i > 0 {
			if err := r.stopped(ctx); err != nil {
				return out, err
			}
		}
		d, err := r.effect(ctx, n, e)
		if d.seq > 0 {
			out = append(out, d)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (r *run) oweSettles(ctx context.Context, list []steps.Settle) error {
	if len(list) == 0 {
		return nil
	}
	if err := r.begin(); err != nil {
		return err
	}
	for _, s := range list {
		rec := journal.Record{Type: journal.Settle, Host: s.Host, Text: s.Why, Effect: "reload"}
		if s.Restart {
			rec.Effect = "restart"
		}
		if _, err := r.record(ctx, rec); err != nil {
			return err
		}
	}
	r.owe(list)
	return nil
}
