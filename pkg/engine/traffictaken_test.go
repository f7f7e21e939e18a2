package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// takesOver has Bob put pg2, which is drained, into maintenance, and write why.
func (w *world) takesOver() {
	w.hosts["lb"].fs.Put("/haproxy/pg2", "", 0o600, "maint")
	w.hosts["pg2"].fs.Put("/var/lib/postgresql/drained", "postgres", 0o644, "its disk fails, Bob\n")
}

// leftToBob: pg2 gets no reads, and the operator hears once of each balancer.
func (w *world) leftToBob(t *testing.T, sink *recorder) {
	t.Helper()
	text, _ := w.hosts["pg2"].fs.Get("/var/lib/postgresql/drained")
	if got := w.readBy(); got != "maint, and the file" || text != "its disk fails, Bob\n" {
		t.Errorf("pg2 is left as %q, and the file says %q", got, text)
	}
	said := strings.Join(sink.lines, "\n")
	for _, want := range []string{" reads/pg2 is in maint, and this run expects drain: ", " /var/lib/postgresql/drained does not say what this run expects: "} {
		if strings.Count(said, string(event.Warning)+want) != 1 {
			t.Errorf("it does not say%sonce:\n%s", want, said)
		}
	}
}

func TestAnUndoOfADrainLeavesAServerThatSomebodyElseHasTakenOver(t *testing.T) {
	t.Parallel()
	w, sink := newTraffic(t, "ready"), &recorder{}
	w.run(t, w.steer("drain-traffic"))
	w.takesOver()
	if _, err := w.engine(sink, nil).Undo(t.Context(), w.found(t)); err != nil {
		t.Fatal(err)
	}
	w.leftToBob(t, sink)
}

// The same where the bracket ends that answers for the drain, whether or not a step of the
// run was to let reads in again.
func TestTheEndOfADrainLeavesAServerThatSomebodyElseHasTakenOver(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]*steps.Traffic{"it fails": nil, "as found": {State: "found"}, "in a rollout": {State: "serving", DDL: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, sink := newTraffic(t, "ready"), &recorder{}
			bob := &waits{act{name: "Bob", do: func(context.Context, effect.Env) error {
				w.takesOver()
				if serve == nil {
					return errors.New("boom")
				}
				return nil
			}}}
			body := []plan.Node{{Step: &steps.Traffic{State: "drained"}}, {Step: step(func(context.Context, steps.In) (steps.Planned, error) {
				return steps.Planned{Effects: []effect.Effect{bob}}, nil
			})}}
			if serve != nil {
				body = append(body, plan.Node{Step: serve})
			}
			var now facts.Balanced
			p := w.onPg2(body...)
			p.Nodes[0].Body = []plan.Node{{ID: "1.9@pg1", Kind: "traffic-restored", Host: w.inv.Primary(), Bracket: &steps.TrafficRestored{}, Body: p.Nodes[0].Body},
				{ID: "1.10@pg2", Kind: "step", Host: w.inv.Standbys()[0], Step: balancers(func(lb *facts.Host) { now = lb.Balances("reads", "pg2") })}}
			if _, err := w.engine(sink, nil).Apply(t.Context(), p); (err == nil) != (serve != nil) {
				t.Error(err)
			}
			w.leftToBob(t, sink)
			if serve != nil && now.Admin != "maint" {
				t.Errorf("it counts as %+v afterwards", now)
			}
		})
	}
}
