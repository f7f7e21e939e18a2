package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// act is an effect of a test.
type act struct {
	name          string
	do            func(ctx context.Context, env effect.Env) error
	inverse       effect.Effect
	noReturn      string
	claim         string
	interruptible bool
}

func (a *act) Kind() string           { return "act" }
func (a *act) On() string             { return "pg1" }
func (a *act) Inverse() effect.Effect { return a.inverse }
func (a *act) Predict(effect.World)   {}
func (a *act) Claim() string          { return a.claim }
func (a *act) Interruptible() bool    { return a.interruptible }
func (a *act) Describe() effect.Description {
	return effect.Description{Verb: "do", Subject: a.name, NoReturn: a.noReturn}
}
func (a *act) Do(ctx context.Context, env effect.Env) (effect.Output, error) {
	if a.do == nil {
		return nil, nil
	}
	return nil, a.do(ctx, env)
}

// step is planned by a function.
type step func(ctx context.Context, in steps.In) (steps.Planned, error)

func (s step) Plan(ctx context.Context, in steps.In) (steps.Planned, error) { return s(ctx, in) }

type bracket struct{ open, close []effect.Effect }

func (b bracket) Open(context.Context, steps.In) (steps.Planned, error) {
	return steps.Planned{Effects: b.open}, nil
}
func (b bracket) Close(context.Context, steps.In) (steps.Planned, error) {
	return steps.Planned{Effects: b.close}, nil
}

func does(e ...effect.Effect) step {
	return func(context.Context, steps.In) (steps.Planned, error) { return steps.Planned{Effects: e}, nil }
}

func nothing(why string) step {
	return func(context.Context, steps.In) (steps.Planned, error) { return steps.Planned{Noop: why}, nil }
}

// list makes a plan of nodes: a steps.Step, or a node with a bracket.
func (w *world) list(nodes ...any) *plan.Plan {
	return &plan.Plan{Name: "test", Text: "name: test\nsteps: []\n", Vars: map[string]string{}, Cluster: w.inv, Nodes: w.nodes("", nodes)}
}

type inside struct {
	bracket
	body []any
}

// underTheLock is a step inside of the bracket that real plans have.
type underTheLock struct{ step }

func (w *world) nodes(prefix string, list []any) []plan.Node {
	var out []plan.Node
	for i, x := range list {
		n := plan.Node{ID: fmt.Sprintf("%s%d@pg1", prefix, i+1), Kind: "step", Host: w.inv.Primary()}
		switch x := x.(type) {
		case step:
			n.Step = x
		case underTheLock:
			n.Kind, n.Bracket, n.Body = "lock", &steps.Lock{}, w.nodes(fmt.Sprintf("%s%d.", prefix, i+1), []any{x.step})
		case inside:
			n.Kind, n.Bracket, n.Body = "bracket", x.bracket, w.nodes(fmt.Sprintf("%s%d.", prefix, i+1), x.body)
		}
		out = append(out, n)
	}
	return out
}

func dir(name string) *effect.MakeDir {
	return &effect.MakeDir{Host: "pg1", Path: "/etc/" + name, Mode: 0o700}
}

// recorder keeps events as "type text".
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := string(e.Type)
	if e.Type == event.Failed {
		line += " " + e.Error
	} else if e.Text != "" {
		line += " " + e.Text
	}
	r.lines = append(r.lines, line)
}

// held is a session of a test.
type held struct {
	lost   chan struct{}
	closed func()
}

func (h *held) Lost() <-chan struct{}       { return h.lost }
func (h *held) Close(context.Context) error { h.closed(); return nil }

func (w *world) types(t *testing.T) []string {
	t.Helper()
	recs, err := journal.Read(w.runFile())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		out = append(out, strings.TrimSpace(fmt.Sprint(r.Type, " ", r.Text, r.Node, r.Status)))
	}
	return out
}
