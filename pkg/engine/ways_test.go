package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

func hintOf(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return ""
	}
	return f.Hint
}

func TestARunThatFailsIsOfferedAnUndoOnlyBeforeAPointOfNoReturn(t *testing.T) {
	t.Parallel()
	fails := &act{name: "follow", do: func(context.Context, effect.Env) error { return errors.New("no answer") }}
	promote := &act{name: "promote", noReturn: "it takes writes", claim: "promote"}
	for _, c := range []struct {
		name    string
		acts    []effect.Effect
		offered map[string]bool
	}{
		{"before", []effect.Effect{dir("a"), fails}, map[string]bool{"resume": true, "undo": true, "abandon": false}},
		{"behind", []effect.Effect{dir("a"), promote, fails}, map[string]bool{"resume": true, "undo": false, "abandon": true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layout{})
			_, failed := w.engine(nil, nil).Apply(t.Context(), w.list(does(c.acts...)))
			other := w.list(does(dir("b")))
			other.Name = "other"
			_, refused := w.engine(nil, nil).Apply(t.Context(), other)
			for what, err := range map[string]error{"the failure": failed, "another run": refused} {
				for word, want := range c.offered {
					if got := strings.Contains(hintOf(err), "pgrepctl runs "+word+" run1"); err == nil || got != want {
						t.Errorf("%s: %s offered: %t, want %t: %q", what, word, got, want, hintOf(err))
					}
				}
			}
			if err := w.engine(nil, nil).RefuseUndo(w.found(t)); (err == nil) != c.offered["undo"] {
				t.Errorf("undo: %v", err)
			}
			if got := w.found(t).Rest(); !strings.Contains(got, "no answer") {
				t.Errorf("what is left: %q", got)
			}
		})
	}
}

// After a promotion the inventory is corrected, as it should be; a run of before that has
// failed after it fits it no more.
func TestARunThatTheInventoryHasOutgrownIsAbandoned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	j, err := journal.Create(w.dir, journal.Run{ID: "run1", Cluster: w.inv.Name, Plan: "promote", Operator: operatorName, Vars: map[string]string{"standby": "pg1"},
		PlanText: "name: promote\nvars:\n  standby: {required: true}\nsteps: []\n"}, w.engine(nil, nil).Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []journal.Record{
		{Type: journal.Intent, Node: "1.6@pg1", Host: "pg1", Effect: "promote", Text: "promote the server", NoReturn: "it takes writes", Claim: "promote pg1"},
		{Type: journal.Done, Of: 2, Node: "1.6@pg1", Host: "pg1"},
		{Type: journal.Failed, Node: "1.7@pg2", Host: "pg2", Step: "repoint", Error: "no answer"},
		{Type: journal.End, Status: journal.FailedRun},
	} {
		if _, _, err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	e := w.engine(nil, nil)
	e.Alone = true // there never was a copy
	_, preview := e.PreviewResume(t.Context(), w.found(t))
	_, resume := e.Resume(t.Context(), w.found(t))
	_, other := e.Apply(t.Context(), w.plan())
	for what, err := range map[string]error{"preview": preview, "resume": resume, "another run": other} {
		if hint := hintOf(err); fault.ClassOf(err) != fault.Refused || !strings.Contains(hint, "pgrepctl runs abandon run1") || strings.Contains(hint, "runs resume") || strings.Contains(hint, "runs undo") {
			t.Errorf("%s: class %d, hint %q: %v", what, fault.ClassOf(err), hint, err)
		}
	}
	var f *fault.Error
	if !errors.As(resume, &f) || !strings.Contains(f.State, "repoint (step 1.7@pg2)") || !strings.Contains(resume.Error(), "pg1 is the primary in the inventory") {
		t.Errorf("got %v, state %q", resume, f.State)
	}
	pre, err := e.PreviewUndo(w.found(t))
	if err != nil || strings.Join(effects(pre), "|") != "pg1: stop at promote the server" {
		t.Errorf("%q, %v", effects(pre), err)
	}
}

// The primary has the lock, and may be out of reach: this machine knows of its own processes.
func TestARunOfThisMachineIsListedAsGoingOnWithoutThePrimary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	j, err := journal.Create(w.dir, journal.Run{ID: "run1", Plan: "test", Operator: operatorName}, w.engine(nil, nil).Now)
	if err != nil {
		t.Fatal(err)
	}
	w.hook = func(_ context.Context, host, _ string) error {
		return &fault.Error{Class: fault.Unreachable, Host: host, Err: errors.New("no answer")}
	}
	status := func() journal.Status {
		runs, err := w.engine(nil, nil).List(t.Context())
		if fault.ClassOf(err) != fault.Unreachable || len(runs) != 1 {
			t.Fatal(runs, err)
		}
		return runs[0].Status
	}
	if got := status(); got != journal.Going {
		t.Errorf("while it runs: %s", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != journal.Running {
		t.Errorf("when it has died: %s", got)
	}
}
