package engine_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// effects flattens a preview to the form of Report.Done.
func effects(p *engine.Preview) []string {
	var out []string
	for _, l := range p.Lines {
		for _, e := range l.Effects {
			out = append(out, e.Host+": "+e.String())
		}
	}
	return out
}

func TestPreviewIsWhatApplyDoes(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, l)
			start := w.state()
			pre, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(start, w.state()); diff != "" {
				t.Errorf("the preview changed something:\n%s", diff)
			}
			r, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(effects(pre), r.Done); diff != "" {
				t.Errorf("-preview +apply:\n%s", diff)
			}
			again, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
			if err != nil {
				t.Fatal(err)
			}
			if again.Effects() != 0 {
				t.Errorf("a second run would do:\n%s", strings.Join(effects(again), "\n"))
			}
		})
	}
}

// differ compares two states line by line.
func differ(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

// apply does what is left of the plan, and returns what it did.
func (w *world) apply(t *testing.T) []string {
	t.Helper()
	r, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != journal.Succeeded {
		t.Errorf("status %s", r.Status)
	}
	return r.Done
}

// found is the last run.
func (w *world) found(t *testing.T) *engine.Found {
	t.Helper()
	runs, err := w.engine(nil, nil).List(t.Context())
	if err != nil || len(runs) == 0 {
		t.Fatalf("%d runs: %v", len(runs), err)
	}
	f, err := w.engine(nil, nil).Find(t.Context(), runs[len(runs)-1].ID)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// undo takes the run back as its preview says.
func (w *world) undo(t *testing.T) {
	t.Helper()
	runs, err := w.engine(nil, nil).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) == 0 {
		return // it did not get as far as to have a journal
	}
	f := w.found(t)
	pre, err := w.engine(nil, nil).PreviewUndo(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.engine(nil, nil).Undo(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(effects(pre), r.Done); diff != "" {
		t.Errorf("-preview +undone:\n%s", diff)
	}
}

// crash runs act until the tool dies at instant k, and reports whether it did.
func (w *world) crash(k int, act func()) bool {
	w.crashAt = k
	act()
	w.awaitMirrors()
	died := w.dead
	if died {
		w.revive()
	}
	w.crashAt = 0
	return died
}

// matrix kills the tool at every instant of a run, or every so many, and hands
// over what is left.
func matrix(t *testing.T, every int, check func(t *testing.T, w *world, i int, start, end string)) {
	t.Helper()
	matrixOf(t, every, func(t *testing.T, l layout) *world { return newWorld(t, l) }, check)
}

// matrixOf is matrix from another beginning.
func matrixOf(t *testing.T, every int, newWorld func(t *testing.T, l layout) *world, check func(t *testing.T, w *world, i int, start, end string)) {
	t.Helper()
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			c := newWorld(t, l)
			start := c.state()
			c.apply(t)
			end := c.state()
			every := every * raced
			if l != layouts()[0] {
				every *= 3 // what differs between layouts is but a part
			}
			for i, k := range c.instants {
				if i%every != 0 {
					continue
				}
				t.Run(fmt.Sprint(k), func(t *testing.T) {
					w := newWorld(t, l)
					if !w.crash(k, func() { _, _ = w.engine(nil, nil).Apply(t.Context(), w.plan()) }) {
						t.Fatal("the run ended before that")
					}
					check(t, w, i, start, end)
					if t.Failed() {
						t.Logf("the tool died at %s", c.trace[i])
					}
				})
			}
		})
	}
}

func TestResumeAfterEveryCrashEndsAsACleanRunAndCanBeUndone(t *testing.T) {
	t.Parallel()
	matrix(t, 1, func(t *testing.T, w *world, i int, start, end string) {
		left := w.state()
		pre, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
		if err != nil {
			t.Fatal(err)
		}
		if i%8 == 0 {
			differ(t, "the preview changed something: -before +after", left, w.state())
		}
		done := w.apply(t)
		differ(t, "-clean +resumed", end, w.state())
		if diff := cmp.Diff(effects(pre), done); diff != "" {
			t.Errorf("-preview +resumed:\n%s", diff)
		}
		w.undo(t)
		differ(t, "-start +undone", start, w.state())
	})
}

func TestUndoAfterEveryCrashEndsWhereTheRunBegan(t *testing.T) {
	t.Parallel()
	matrix(t, 1, func(t *testing.T, w *world, _ int, start, _ string) {
		w.undo(t)
		differ(t, "-start +undone", start, w.state())
	})
}

// A second crash comes while the first is mended. There are too many pairs for
// all of them; these reach every part of a run.
func TestASecondCrashDuringResumeOrUndoIsMendedToo(t *testing.T) {
	t.Parallel()
	matrix(t, 3, func(t *testing.T, w *world, i int, start, end string) {
		second := 1 + i*37%300
		apply := func() { _, _ = w.engine(nil, nil).Apply(t.Context(), w.plan()) }
		switch i % 4 {
		case 0:
			w.crash(second, apply)
			w.apply(t)
			differ(t, "-clean +resumed twice", end, w.state())
		case 1:
			w.crash(second, apply)
			w.undo(t)
			differ(t, "-start +resumed, undone", start, w.state())
		default:
			w.crash(second, func() {
				e := w.engine(nil, nil)
				runs, err := e.List(t.Context())
				if err != nil || len(runs) == 0 {
					return
				}
				if f, err := e.Find(t.Context(), runs[len(runs)-1].ID); err == nil {
					_, _ = e.Undo(t.Context(), f)
				}
			})
			w.undo(t)
			differ(t, "-start +undone twice", start, w.state())
		}
	})
}

func TestUndoOfAFinishedRunEndsWhereItBegan(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, l)
			start := w.state()
			w.apply(t)
			w.undo(t)
			differ(t, "-start +undone", start, w.state())
		})
	}
}

func TestJournalHoldsNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	b, err := os.ReadFile(w.runFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{canary, canaryKey, "SCRAM-SHA-256"} {
		if strings.Contains(string(b), s) {
			t.Errorf("%q is in the journal", s)
		}
	}
}
