package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// goesOnElsewhere is another machine that goes on with run1, and stops half-way.
func (w *world) goesOnElsewhere(t *testing.T) {
	t.Helper()
	defer w.elsewhere(t)()
	f := w.found(t)
	f.PlanText = planText
	if _, err := w.engine(nil, nil).Resume(t.Context(), f); err == nil {
		t.Fatal("the other machine was not interrupted")
	}
}

// Who has a report may take the run back, with what the other operator did.
func TestThereIsNoReportOfARunThatAnotherOperatorWentOnWithBeforeItsResume(t *testing.T) {
	t.Parallel()
	for when, at := range map[string]int{"before the first lock": 1, "between the sweep and the plan": 2} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layout{})
			lock := bracket{open: []effect.Effect{&effect.TakeLock{Host: "pg1"}}, close: []effect.Effect{&effect.ReleaseLock{Host: "pg1"}}}
			p := func(a *act) []any { return []any{inside{lock, []any{does(dir("a"), a)}}} }
			if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(p(failing())...)); err == nil {
				t.Fatal("no error")
			}
			theirs := ""
			locks := 0 // that were asked for
			w.hook = func(_ context.Context, on, what string) error {
				if on != "pg1" || !strings.Contains(what, "pg_try_advisory_lock") {
					return nil
				}
				if locks++; locks == at {
					w.hook = nil
					w.goesOnElsewhere(t)
					theirs = w.copies()
				}
				return nil
			}
			r, err := w.engine(nil, nil).Apply(t.Context(), w.list(p(&act{name: "x"})...))
			if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "another operator went on with run run1 meanwhile") {
				t.Errorf("got %v", err)
			}
			if r != nil {
				t.Errorf("there is a report: %+v", r)
			}
			if got := w.copies(); theirs == "" || got != theirs {
				t.Errorf("the copy was\n%s\nand is\n%s", theirs, got)
			}
		})
	}
}

func TestAReportTellsWhetherThisProcessHasBegunAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	if r, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("a"), failing()))); err == nil || !r.Begun {
		t.Fatalf("%+v, %v", r, err)
	}
	// A resume that is refused before it begins anything.
	refused := &act{name: "x", do: func(context.Context, effect.Env) error { return effect.ErrUntouched }}
	if r, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(refused))); err == nil || r.Begun {
		t.Errorf("%+v, %v", r, err)
	}
}
