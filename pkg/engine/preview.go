package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// Phase of a node's effects.
type Phase string

const (
	Plain Phase = ""
	Open  Phase = "open"
	Close Phase = "close"
	Undo  Phase = "undo"
)

// Line is what one node, or one end of a bracket, will do.
type Line struct {
	Node    string               `json:"node"`
	Host    string               `json:"host"`
	Step    string               `json:"step"`
	Phase   Phase                `json:"phase,omitempty"`
	Depth   int                  `json:"depth"`
	Effects []effect.Description `json:"effects,omitempty"`
	Noop    string               `json:"noop,omitempty"`
	Held    []steps.Held         `json:"held,omitempty"`
}

// Preview is what an apply would do now.
type Preview struct {
	Plan  string `json:"plan"`
	Lines []Line `json:"lines"`
	// Run is the interrupted run that an apply would resume.
	Run string `json:"run,omitempty"`
	// Seen is what it was made from.
	Seen []facts.Seen `json:"-"`
	// read is the hosts as they were before any prediction.
	read Reading
}

// Pending counts the differences that it would leave, though the inventory says how
// it should be.
func (p *Preview) Pending() int {
	n := 0
	for _, l := range p.Lines {
		for _, h := range l.Held {
			if !h.Note {
				n++
			}
		}
	}
	return n
}

// Effects counts them.
func (p *Preview) Effects() int {
	n := 0
	for _, l := range p.Lines {
		n += len(l.Effects)
	}
	return n
}

// Preview plans every node over the real facts and the predictions of the nodes
// before it. It has no Env, so it cannot change anything.
func (e *Engine) Preview(ctx context.Context, p *plan.Plan) (*Preview, error) {
	return e.PreviewFrom(ctx, p, nil)
}

// PreviewFrom is Preview for a caller that has just read hosts.
func (e *Engine) PreviewFrom(ctx context.Context, p *plan.Plan, before Reading) (*Preview, error) {
	w := worldOf(e.Cluster, before)
	open, err := e.interrupted(ctx, w, p)
	if err != nil {
		return nil, err
	}
	return e.preview(ctx, w, p, open)
}

// PreviewResume is what Resume would do.
func (e *Engine) PreviewResume(ctx context.Context, f *Found) (*Preview, error) {
	if err := errors.Join(e.refuseElsewhere(f), f.refuseNewer(), f.refuseUndone()); err != nil {
		return nil, err
	}
	p, err := e.planOf(f)
	if err != nil {
		return nil, err
	}
	w := newWorld(e.Cluster)
	w.forward = pastReturn(f.Records)
	if err := w.prefetch(ctx, p.Nodes); err != nil {
		return nil, err
	}
	return e.preview(ctx, w, p, f)
}

// preview plans over w, on from an open run if there is one.
func (e *Engine) preview(ctx context.Context, w *world, p *plan.Plan, open *Found) (*Preview, error) {
	s := e.newState(e.NewID())
	out := &Preview{Plan: p.Name, read: w.read}
	if open != nil {
		s.id, out.Run = open.ID, open.ID
		s.replay(open.Records)
		left, err := leftOpen(open.Records)
		if err != nil {
			return nil, err
		}
		out.inverses(left)
		for _, o := range slices.Backward(left) { // all is planned from what they leave
			_, _ = w.Of(ctx, o.inverse.On()) // one that cannot be read says so where it is needed
			o.inverse.Predict(w)
		}
	}
	v := &previewer{world: w, state: s, plan: p, out: out}
	err := v.nodes(ctx, p.Nodes, 0)
	for _, name := range slices.Sorted(maps.Keys(w.hosts)) {
		out.Seen = append(out.Seen, w.hosts[name].Seen()...)
	}
	return out, err
}

// PreviewUndo is what Undo would do: the journal alone says it.
func (e *Engine) PreviewUndo(f *Found) (*Preview, error) {
	if f.Status == journal.UndoneRun {
		return &Preview{Plan: "undo " + f.Run.Plan}, nil
	}
	if err := e.refuseElsewhere(f); err != nil {
		return nil, err
	}
	list, err := owedInverses(f.Records)
	if err != nil {
		return nil, err
	}
	out := &Preview{Plan: "undo " + f.Run.Plan}
	if o, ok := noWayBack(list); ok {
		out.inverse(o)
		return out, nil
	}
	if out.inverses(list) {
		for _, o := range reloadsBack(f.Records) {
			out.inverse(o)
		}
	}
	return out, nil
}

// inverses lists what is taken back, last first, and reports whether that is all:
// an undo goes no further back than to a point of no return.
func (p *Preview) inverses(list []owed) bool {
	for _, o := range backward(list) {
		p.inverse(o)
		if o.inverse == nil {
			return false
		}
	}
	return true
}

// StopAt is the verb of an act that an undo does not take back.
const StopAt = "stop at"

func (p *Preview) inverse(o owed) {
	d := effect.Description{Verb: StopAt, Subject: o.text, NoReturn: o.noReturn}
	line := Line{Node: o.node, Host: o.host, Step: o.step, Phase: Undo}
	if o.inverse != nil {
		d = o.inverse.Describe()
		line.Host = o.inverse.On()
	}
	d.Host = line.Host
	line.Effects = []effect.Description{d}
	p.Lines = append(p.Lines, line)
}

type previewer struct {
	world *world
	state *state
	plan  *plan.Plan
	out   *Preview
}

func (v *previewer) nodes(ctx context.Context, nodes []plan.Node, depth int) error {
	for i := range nodes {
		if err := v.node(ctx, &nodes[i], depth); err != nil {
			return err
		}
	}
	return nil
}

func (v *previewer) node(ctx context.Context, n *plan.Node, depth int) error {
	in := input(v.plan, n, v.world, v.state)
	line := Line{Node: n.ID, Host: n.Host.Name, Step: n.Kind, Depth: depth}
	if n.Bracket == nil {
		p, err := n.Step.Plan(ctx, in)
		if err != nil {
			return at(n, err)
		}
		v.take(line, p)
		return nil
	}
	if err := guard(ctx, n, in); err != nil {
		return err
	}
	work, err := hasWork(ctx, v.plan, n.Body, v.world, v.state)
	if err != nil {
		return err
	}
	if !work {
		line.Noop = nothingInside
		v.out.Lines = append(v.out.Lines, line)
		return v.nodes(ctx, n.Body, depth+1)
	}
	p, err := n.Bracket.Open(ctx, in)
	if err != nil {
		return at(n, err)
	}
	line.Phase = Open
	v.take(line, p)
	if err := v.nodes(ctx, n.Body, depth+1); err != nil {
		return err
	}
	last, err := n.Bracket.Close(ctx, in)
	if err != nil {
		return at(n, err)
	}
	line.Phase = Close
	for i := len(p.Effects) - 1; i >= 0; i-- {
		if inv := p.Effects[i].Inverse(); inv != nil {
			last.Effects = append(last.Effects, inv)
		}
	}
	v.take(line, last)
	return nil
}

func (v *previewer) take(line Line, p steps.Planned) {
	line.Noop, line.Held = p.Noop, p.Held
	v.state.owe(p.Settles) // before the effects, as a run does: one of them may settle it
	for _, e := range p.Effects {
		d := e.Describe()
		d.Host = e.On()
		line.Effects = append(line.Effects, d)
		e.Predict(v.world)
		v.state.note(e)
	}
	if len(line.Effects) > 0 || line.Noop != "" {
		v.out.Lines = append(v.out.Lines, line)
	}
}

func guard(ctx context.Context, n *plan.Node, in steps.In) error {
	if g, ok := n.Bracket.(steps.Guard); ok {
		if err := g.Guard(ctx, in); err != nil {
			return at(n, err)
		}
	}
	return nil
}

const nothingInside = "nothing to do inside"

// hasWork plans nodes until one has something to do. Nothing was predicted up
// to there, so the facts need no copy.
func hasWork(ctx context.Context, p *plan.Plan, nodes []plan.Node, w *world, s *state) (bool, error) {
	for i := range nodes {
		n := &nodes[i]
		if n.Bracket != nil {
			work, err := hasWork(ctx, p, n.Body, w, s)
			if err != nil || work {
				return work, err
			}
			continue
		}
		planned, err := n.Step.Plan(ctx, input(p, n, w, s))
		if err != nil {
			return false, at(n, err)
		}
		if len(planned.Effects) > 0 {
			return true, nil
		}
	}
	return false, nil
}

func input(p *plan.Plan, n *plan.Node, w *world, s *state) steps.In {
	in := steps.In{Cluster: p.Cluster, Self: n.Host, Standby: p.Standby, Without: p.Without, Facts: w, Run: s}
	if n.Standby != nil {
		in.Standby, in.Run = n.Standby, &about{s, n.Standby.Name}
	}
	return in
}

// at says where in the plan an error came up.
func at(n *plan.Node, err error) error {
	return fmt.Errorf("%s (step %s): %w", n.Kind, n.ID, err)
}
