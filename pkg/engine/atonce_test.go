package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// onPG2 is an act on the standby.
type onPG2 struct{ act }

func (*onPG2) On() string { return "pg2" }

// about is a plan of steps on the standby, and of none elsewhere.
func (w *world) about(list ...any) *plan.Plan {
	p := w.list(list...)
	p.Standby, _ = w.inv.Host("pg2")
	for i := range p.Nodes {
		p.Nodes[i].Host = p.Standby
	}
	return p
}

func TestAtOnceNeedsNoPrimaryAndIsKeptByNoOpenRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	fail := &act{name: "x", do: func(context.Context, effect.Env) error { return errors.New("boom") }}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(fail))); err == nil {
		t.Fatal("no error")
	}
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" {
			return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("gone")}
		}
		return nil
	}
	e := w.engine(nil, nil)
	n := 1
	e.NewID = func() string { n++; return fmt.Sprint("run", n/2+1) } // each comes twice
	did := 0
	acts := does(&onPG2{act{name: "pause", do: func(context.Context, effect.Env) error { did++; return nil }}})
	out := e.AtOnce(t.Context(), []*plan.Plan{w.about(acts), w.about(nothing("it has no apply delay"))})
	if out[0].Err != nil || did != 1 || len(out[0].Report.Done) != 1 || out[0].Report.Status != journal.Succeeded {
		t.Errorf("%+v, %+v", out[0], out[0].Report)
	}
	if out[1].Err != nil || len(out[1].Noops) != 1 || out[1].Noops[0] != "it has no apply delay" {
		t.Errorf("%+v", out[1])
	}
	runs, err := journal.List(w.dir)
	if err != nil || len(runs) != 2 || runs[1].Meets != "pg2" || runs[1].Open() {
		t.Errorf("runs %+v, %v", runs, err)
	}
}

func TestWhatFailedAtOnceKeepsNobodyAndCanBeTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	inverse := &effect.RemoveDir{Host: "pg2", Path: "/etc/none"}
	fail := &onPG2{act{name: "pause", inverse: inverse, do: func(context.Context, effect.Env) error { return errors.New("boom") }}}
	out := w.engine(nil, nil).AtOnce(t.Context(), []*plan.Plan{w.about(does(fail))})
	if out[0].Err == nil || out[0].Report.Status != journal.FailedRun {
		t.Errorf("%+v", out[0])
	}
	f := w.found(t)
	if f.Open() {
		t.Errorf("the run is open: %s", f.Status)
	}
	// On the standby, where it says that runs of it meet.
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" {
			return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("gone")}
		}
		return nil
	}
	w.hosts["pg2"].running = true
	if _, err := w.engine(nil, nil).Undo(t.Context(), f); err != nil {
		t.Error(err)
	}
}

func TestAPlanThatTakesItsLockOnAStandbyMeetsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.hosts["pg2"].running = true
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" {
			return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("gone")}
		}
		return nil
	}
	p := w.about(does(&onPG2{act{name: "pause"}}))
	p.Meets = "pg2"
	p.Nodes = []plan.Node{{ID: "1@pg2", Kind: "lock", Host: p.Standby, Bracket: &steps.Lock{}, Body: p.Nodes}}
	if _, err := w.engine(nil, nil).Preview(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine(nil, nil).Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	runs, err := journal.List(w.dir)
	if err != nil || len(runs) != 1 || runs[0].Meets != "pg2" || runs[0].Status != journal.Succeeded {
		t.Errorf("runs %+v, %v", runs, err)
	}
	f, err := w.engine(nil, nil).Find(t.Context(), "run1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), f); err != nil {
		t.Error(err)
	}
}

func TestARunThatMetOnAStandbyIsFoundFromAnotherMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.hosts["pg2"].running = true
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" {
			return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("gone")}
		}
		return nil
	}
	p := w.about(does(&onPG2{act{name: "pause", do: func(context.Context, effect.Env) error { return errors.New("boom") }}}))
	p.Meets = "pg2"
	p.Nodes = []plan.Node{{ID: "1@pg2", Kind: "lock", Host: p.Standby, Bracket: &steps.Lock{}, Body: p.Nodes}}
	if _, err := w.engine(nil, nil).Apply(t.Context(), p); err == nil {
		t.Fatal("no error")
	}
	other := w.engine(nil, nil)
	other.Dir = t.TempDir()
	f, err := other.Find(t.Context(), "run1")
	if err != nil || f.On != "pg2" || !f.Open() {
		t.Fatalf("%+v, %v", f, err)
	}
	r, err := other.Undo(t.Context(), f)
	if err != nil || r.Status != journal.UndoneRun {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := other.Find(t.Context(), "run2"); err == nil {
		t.Error("a run was found that there is not")
	}
}
