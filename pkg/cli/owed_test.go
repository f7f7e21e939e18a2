package cli

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// hung is a cluster of which facts are known. Its hosts refuse who looks for the copy of a
// journal, and do not answer when the run is to be taken back.
type hung struct {
	looked bool
	asked  func()
}

func (h *hung) Host(ctx context.Context, _ string) (host.Host, error) {
	if !h.looked {
		h.looked = true
		return nil, errors.New("no copy can be read")
	}
	h.asked()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(10 * time.Second):
		return nil, errors.New("the connection is lost")
	}
}

func (h *hung) Gatherer(context.Context, string) (engine.Gatherer, error) { return known{}, nil }

type known struct{ engine.Gatherer }

func (known) Gather(context.Context) (*facts.Host, error) { return &facts.Host{}, nil }

// failing is a step that fails when something is done already.
type failing func() error

func (f failing) Plan(context.Context, steps.In) (steps.Planned, error) { return steps.Planned{}, f() }

// TestASecondInterruptEndsWhatTakesARunBack: all connections are dropped then, as it says, though
// the first one has not kept the run from being taken back.
func TestASecondInterruptEndsWhatTakesARunBack(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func(context.Context, *app, *session, *plan.Plan) error{
		"--on-failure=undo": func(ctx context.Context, a *app, s *session, p *plan.Plan) error {
			r, err := s.Apply(ctx, p)
			return a.undoFailed(ctx, s, r, err)
		},
		"ddl deploy": func(ctx context.Context, a *app, s *session, p *plan.Plan) error {
			_, _, err := a.deployPart(ctx, s, p, &engine.Preview{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			twice := &fault.Error{Class: fault.Interrupted, Err: errors.New("interrupted twice")}
			asked := 0
			h := &hung{asked: func() { asked++; cancel(twice) }}
			inv := cluster(t, cascade)
			e := &engine.Engine{Inventory: inv, Cluster: h, Dir: t.TempDir(), Sink: event.Discard{}, Now: time.Now, Operator: "anna@desk", NewID: func() string { return "r1" }}
			fails := failing(func() error { // what it did before is in the journal
				j, err := journal.Create(e.Dir, journal.Run{ID: "r1", Plan: "test", Operator: e.Operator}, time.Now)
				if err == nil {
					_, _, err = j.Append(journal.Record{Type: journal.Intent, Effect: "make-dir"})
				}
				if err != nil {
					t.Error(err)
					return err
				}
				return errors.Join(errors.New("boom"), j.Close())
			})
			p := &plan.Plan{Name: "test", Cluster: inv, Nodes: []plan.Node{{ID: "1@pg1", Kind: "step", Host: inv.Primary(), Step: fails}}}
			err := back(ctx, &app{}, &session{Engine: e, inv: inv}, p)
			if !errors.Is(err, twice) || asked != 1 {
				t.Errorf("asked %d times: %v", asked, err)
			}
		})
	}
}

// TestARunIsTakenBackThoughItsTimeIsOver: --timeout has ended it, say, and is no interrupt.
func TestARunIsTakenBackThoughItsTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		back, done := owed(ctx)
		cancel(errors.New("not done within 1s (--timeout)"))
		if synctest.Wait(); back.Err() != nil {
			t.Errorf("it has ended, too: %v", context.Cause(back))
		}
		if done(); back.Err() == nil {
			t.Error("it does not end")
		}
	})
}
