package engine

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// Outcome is what became of one of several plans.
type Outcome struct {
	Plan    *plan.Plan
	Preview *Preview // of PreviewAtOnce
	Report  *Report  // of AtOnce, nil when the run did not come that far
	Noops   []string // why nodes had nothing to do
	Err     error
}

// AtOnce runs plans side by side, one a host, for what cannot wait: no run, of
// whomever, keeps them from it, the primary is not asked for anything, and a host that
// does not answer holds up no other. Each is a run with a journal of its own on this
// machine, which names that host as the place where an undo takes the lock; a copy of it is not kept. The plans must do
// what is harmless beside anything else, such as to pause replay.
func (e *Engine) AtOnce(ctx context.Context, plans []*plan.Plan) []Outcome {
	ids := e.ids(len(plans))
	return e.each(plans, func(n int, e *Engine, out *Outcome) {
		seen := &noops{Sink: e.Sink}
		e.Sink = seen
		r := e.newRun(ctx, ids[n], out.Plan)
		r.bare, r.meets = true, out.Plan.Standby.Name
		out.Report, out.Err = r.do(ctx)
		out.Noops = seen.why
		if out.Err != nil && errors.Is(out.Err, ErrStopped) {
			out.Report.Status = journal.Interrupted
		}
	})
}

// PreviewAtOnce is what AtOnce would do.
func (e *Engine) PreviewAtOnce(ctx context.Context, plans []*plan.Plan) []Outcome {
	return e.each(plans, func(_ int, e *Engine, out *Outcome) {
		w := newWorld(e.Cluster)
		if out.Err = w.prefetch(ctx, out.Plan.Nodes); out.Err == nil {
			out.Preview, out.Err = e.preview(ctx, w, out.Plan, nil)
		}
	})
}

func (e *Engine) each(plans []*plan.Plan, do func(int, *Engine, *Outcome)) []Outcome {
	out := make([]Outcome, len(plans))
	var wg sync.WaitGroup
	for i, p := range plans {
		out[i].Plan = p
		wg.Go(func() {
			c := *e
			do(i, &c, &out[i])
		})
	}
	wg.Wait()
	return out
}

// ids are n different ones: most of an id is the time, which is the same for all.
func (e *Engine) ids(n int) []string {
	var out []string
	for len(out) < n {
		if id := e.NewID(); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// noops keeps the reasons of nodes that had nothing to do.
type noops struct {
	event.Sink
	why []string
}

func (n *noops) Emit(e event.Event) {
	if e.Type == event.NodeNoop {
		n.why = append(n.why, e.Text)
	}
	n.Sink.Emit(e)
}
