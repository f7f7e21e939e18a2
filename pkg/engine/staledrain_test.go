package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// waits is an act that lasts, and of which nothing that was read is expected to change.
type waits struct{ act }

func (*waits) Inert() bool { return true }

// balancers asks for what is known of them.
func balancers(see func(*facts.Host), e ...effect.Effect) step {
	return func(ctx context.Context, in steps.In) (steps.Planned, error) {
		lb, err := in.Facts.Of(ctx, "lb")
		if err != nil {
			return steps.Planned{}, err
		}
		see(lb)
		return steps.Planned{Effects: e, Noop: "seen"}, nil
	}
}

func (w *world) onPg2(body ...plan.Node) *plan.Plan {
	for i := range body {
		body[i].ID, body[i].Kind, body[i].Host = "1."+string(rune('1'+i))+"@pg2", "step", w.inv.Standbys()[0]
	}
	return &plan.Plan{Name: "test", Text: "name: test\nsteps: []\n", Vars: map[string]string{}, Cluster: w.inv,
		Nodes: []plan.Node{{ID: "1@pg1", Kind: "lock", Host: w.inv.Primary(), Bracket: &steps.Lock{}, Body: body}}}
}

// The other server goes away after the balancer was read for an earlier drain.
func TestADrainIsRefusedWhenTooFewServersServeByNow(t *testing.T) {
	t.Parallel()
	w := newTraffic(t, "ready")
	wait := &waits{act{name: "a drain that waits", do: func(context.Context, effect.Env) error {
		w.hosts["lb"].fs.Put("/haproxy/pg3", "", 0o600, "maint")
		return nil
	}}}
	_, err := w.engine(nil, nil).Apply(t.Context(), w.onPg2(
		plan.Node{Step: balancers(func(*facts.Host) {}, wait)},
		plan.Node{Step: &steps.Traffic{State: "drained"}}))
	if err == nil || !strings.Contains(err.Error(), "at least 1 must") || fault.ClassOf(err) != fault.Refused {
		t.Errorf("got %v", err)
	}
	if got := w.readBy(); got != "ready" {
		t.Errorf("pg2 is left as %q", got)
	}
}

func TestBalancersAreReadAgainAfterADrainThatWaited(t *testing.T) {
	t.Parallel()
	w := newTraffic(t, "ready")
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg2" && strings.HasPrefix(do, "sql select count(*)") {
			w.hosts["lb"].fs.Put("/haproxy/pg3", "", 0o600, "maint")
		}
		return nil
	}
	now := facts.Balanced{}
	_, err := w.engine(nil, nil).Apply(t.Context(), w.onPg2(
		plan.Node{Step: &steps.Traffic{State: "drained"}},
		plan.Node{Step: balancers(func(lb *facts.Host) { now = lb.Balances("reads", "pg3") })}))
	if err != nil || now.Admin != "maint" {
		t.Errorf("pg3 counts as %+v, %v", now, err)
	}
}
