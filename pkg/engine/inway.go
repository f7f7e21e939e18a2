package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// interrupted finds the open run that an apply of p goes on with; another open
// run, of whatever machine, is refused.
func (e *Engine) interrupted(ctx context.Context, w *world, p *plan.Plan) (*Found, error) {
	runs, err := journal.List(e.Dir)
	if err != nil {
		return nil, err
	}
	// What is done at once keeps nobody from anything, also where it died.
	runs = slices.DeleteFunc(runs, func(r journal.Summary) bool { return r.NoCopy })
	for _, r := range runs {
		if r.Status != journal.Running {
			continue
		}
		if busy, err := journal.Busy(r.Path); err != nil {
			return nil, err
		} else if busy {
			return nil, goesOn(r.Run)
		}
	}
	for _, r := range runs {
		if r.Open() && !sameWork(r, p) {
			return nil, e.otherWork(ctx, w, r, p)
		}
	}
	if err := w.prefetch(ctx, p.Nodes); err != nil {
		return nil, err
	}
	primary := e.meeting(p.Meets)
	h, err := w.Of(ctx, primary)
	if err != nil {
		return nil, err
	}
	for _, c := range e.elsewhere(h, runs) {
		if h.Server.Holds(c.ID) {
			return nil, effect.Locked(primary, h.Server.Lock)
		}
		return nil, e.openRun(summary(c, primary))
	}
	if taken, _, err := e.endedHere(ctx, w, primary, h, runs); err != nil {
		return nil, err
	} else if len(taken) > 0 && h.Server.Holds(taken[0].ID) {
		return nil, effect.Locked(primary, h.Server.Lock)
	} else if len(taken) > 0 {
		return nil, e.openOf(taken[0])
	}
	if err := e.besideOthers(w, runs, primary); err != nil {
		return nil, err
	}
	for _, r := range runs {
		if !r.Open() {
			continue
		}
		here, err := e.here(r.ID)
		if err != nil {
			return nil, err
		}
		f, err := e.withCopy(ctx, w, r.ID, here)
		if err != nil {
			return nil, err
		}
		if err := e.refuseElsewhere(f); err != nil {
			return nil, err
		}
		if err := errors.Join(f.refuseNewer(), f.refuseUndone()); err != nil {
			return nil, err
		}
		return f, nil
	}
	return nil, nil
}

// otherWork refuses to begin beside an open run, unless it was ended elsewhere:
// then that is said. Without an answer of the primary, it counts as open.
func (e *Engine) otherWork(ctx context.Context, w *world, r journal.Summary, p *plan.Plan) error {
	here, err := e.here(r.ID)
	if err == nil && here != nil {
		if f, err := e.withCopy(ctx, w, r.ID, here); err == nil {
			if err := e.refuseElsewhere(f); err != nil {
				return err
			}
		}
	}
	return otherOptions(e.openRun(r), r, p)
}

// alone is asked once the lock is held, and nobody else can begin: no run of
// another machine is open, and the one that goes on is as it was looked at. A copy
// that could not be removed when its run ended here is removed now.
func (r *run) alone(ctx context.Context) error {
	if r.found != nil {
		if err := r.e.unchanged(ctx, r.world, r.found); err != nil {
			return err
		}
	}
	return r.noOther(ctx)
}

// noOther is the part of alone that looks at runs other than this one.
func (r *run) noOther(ctx context.Context) error {
	left, err := r.e.noOtherOpen(ctx, r.world, r.meets, r.id)
	if err != nil {
		return err
	}
	for _, c := range left {
		at, err := r.e.place(ctx, r.world, r.meets, c.ID)
		if err != nil {
			return err
		}
		m := &mirror{at: at, dial: r.dial(at)}
		r.unkept(errors.Join(m.remove(ctx), m.stop(ctx)))
	}
	return nil
}

func (r *run) dial(at place) func(context.Context) (host.Host, error) {
	return func(ctx context.Context) (host.Host, error) { return r.e.Cluster.Host(ctx, at.on) }
}
