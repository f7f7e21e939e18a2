package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// drainsAndFails keeps reads away from pg2, at two entries of the balancer, until it has a
// change that is committed, and fails then.
func drainsAndFails(w *world) *plan.Plan {
	drain := func(server string) *effect.Balance {
		return &effect.Balance{Host: "lb", Socket: "/run/haproxy.sock", Backend: "reads", Server: server, To: "drain", Was: "ready",
			After: &effect.Replaying{Host: "pg2", Version: postgres.MakeVersion(15)}}
	}
	commit := &act{name: "commit", do: func(ctx context.Context, env effect.Env) error {
		return env.Note(ctx, effect.Output{effect.DDLXid: "700", effect.DDLPosition: walEnd.String()})
	}}
	fail := &act{name: "fail", do: func(context.Context, effect.Env) error { return errors.New("boom") }}
	p := w.list(inside{bracket{}, []any{does(commit, drain("pg2"), drain("pg3")), does(fail)}})
	p.Nodes[0].Bracket = &steps.TrafficRestored{}
	return p
}

// away lets pg2 answer nobody's first n questions, and counts them.
func (w *world) away(n int) *int {
	asked := 0
	w.hook = func(_ context.Context, name, do string) error {
		if name != "pg2" || !strings.HasPrefix(do, "sql ") {
			return nil
		}
		if asked++; asked <= n {
			return &host.SQLError{Code: "57P03", Message: "the database system is shutting down"}
		}
		return nil
	}
	return &asked
}

// A second failure does not make a run forget whom the first one has left without reads.
func TestReadsThatCouldNotComeBackYetDoAtTheEndOfTheNextRun(t *testing.T) {
	t.Parallel()
	w := newReading(t)
	once := w.away(1000)
	_, err := w.engine(nil, nil).Apply(t.Context(), drainsAndFails(w))
	if err == nil || w.readBy() != "drain" {
		t.Fatalf("pg2 is %q: %v", w.readBy(), err)
	}
	if !strings.Contains(err.Error(), "boom") {
		t.Error(err)
	}
	if *once != 1 { // for both entries
		t.Errorf("it was waited for %d times", *once)
	}
	p := drainsAndFails(w)
	p.Nodes[0].Body = p.Nodes[0].Body[1:]
	// The sweep of the next run finds it away, too.
	asked := w.away(1)
	_, err = w.engine(nil, nil).Apply(t.Context(), p)
	if got := w.readBy(); err == nil || got != "ready" {
		t.Errorf("asked %d times, pg2 is left as %q: %v", *asked, got, err)
	}
}
