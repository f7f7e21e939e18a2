package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// elsewhere makes the tool's next start one on another machine: it has no
// journal. back brings the first machine back.
func (w *world) elsewhere(t *testing.T) (back func()) {
	t.Helper()
	first := w.dir
	w.dir = filepath.Join(memory(t), "runs")
	return func() { w.dir = first }
}

// The operator's machine is gone for good, at any instant, and its journal with
// it.
func TestAnotherMachineResumesAfterEveryCrash(t *testing.T) {
	t.Parallel()
	matrix(t, 4, func(t *testing.T, w *world, _ int, _, end string) {
		w.elsewhere(t)
		e := w.engine(nil, nil)
		runs, err := e.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 0 { // nothing had been done yet, or all
			w.apply(t)
		} else {
			f := w.found(t)
			pre, err := e.PreviewResume(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			r, err := w.engine(nil, nil).Resume(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(effects(pre), r.Done); diff != "" {
				t.Errorf("-preview +resumed:\n%s", diff)
			}
		}
		differ(t, "-clean +resumed elsewhere", end, w.state())
	})
}

func TestAnotherMachineUndoesAfterEveryCrash(t *testing.T) {
	t.Parallel()
	matrix(t, 4, func(t *testing.T, w *world, _ int, start, end string) {
		w.elsewhere(t)
		runs, err := w.engine(nil, nil).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 0 {
			m := w.hosts["pg1"]
			err := errors.Join(m.removeEmpty(t.Context(), "/var/lib/postgresql/.pgrepctl/run1"), m.removeEmpty(t.Context(), "/var/lib/postgresql/.pgrepctl"))
			if err != nil {
				t.Fatal(err)
			}
			if got := w.state(); got != end {
				differ(t, "nothing was done, or all: -start +now", start, got)
			}
			return
		}
		w.undo(t)
		differ(t, "-start +undone elsewhere", start, w.state())
	})
}

func failing() *act {
	return &act{name: "x", do: func(context.Context, effect.Env) error { return errors.New("boom") }}
}

func TestAnotherMachineIsToldOfAnOpenRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(failing()))); err == nil {
		t.Fatal("no error")
	}
	w.elsewhere(t)
	// The same plan too: it is somebody else's run.
	_, err := w.engine(nil, nil).Preview(t.Context(), w.list(does(&act{name: "x"})))
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Refused || f.Host != "pg1" || !strings.Contains(f.Hint, "pgrepctl runs resume run1") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(err.Error(), operatorName) {
		t.Errorf("it does not say by whom: %v", err)
	}
}

func TestFirstMachineLearnsThatAnotherOneEndedItsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	p := func(a *act) func() error {
		return func() error { _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("a"), a))); return err }
	}
	if err := p(failing())(); err == nil {
		t.Fatal("no error")
	}
	back := w.elsewhere(t)
	w.undo(t)
	back()
	err := p(&act{name: "x"})()
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Refused || !strings.Contains(f.Hint, "pgrepctl runs abandon run1") {
		t.Fatalf("got %v", err)
	}
	// It would take down what the other one may have built since.
	found := w.found(t)
	if _, err := w.engine(nil, nil).Undo(t.Context(), found); fault.ClassOf(err) != fault.Refused {
		t.Errorf("undo: %v", err)
	}
	if _, err := w.engine(nil, nil).Resume(t.Context(), found); fault.ClassOf(err) != fault.Refused {
		t.Errorf("resume: %v", err)
	}
	if runs, err := w.engine(nil, nil).List(t.Context()); err != nil || runs[0].Status != journal.Elsewhere {
		t.Errorf("list: %v, %v", runs, err)
	}
	if err := w.engine(nil, nil).Abandon(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	if err := p(&act{name: "x"})(); err != nil {
		t.Error(err)
	}
}

// What it had removed itself, when it had succeeded, is made again by the undo.
func TestFirstMachineLearnsThatAnotherOneEndedItsUndo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg2" && strings.Contains(do, "pg_ctlcluster") {
			return errors.New("cut off")
		}
		return nil
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err == nil {
		t.Fatal("the undo ended")
	}
	w.hook = nil
	back := w.elsewhere(t)
	w.undo(t)
	back()
	f := w.found(t)
	if _, err := w.engine(nil, nil).Undo(t.Context(), f); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "another operator has ended it") {
		t.Errorf("undo: %v", err)
	}
	if err := w.engine(nil, nil).Abandon(t.Context(), f); err != nil {
		t.Error(err)
	}
}

// dies is the end of the tool at the next command on a host that has that word.
func (w *world) dies(name, word string, act func()) {
	w.hook = func(_ context.Context, on, do string) error {
		if on != name || !strings.Contains(do, word) {
			return nil
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.die()
		return errDead
	}
	act()
	w.hook = nil
	w.awaitMirrors()
	w.revive()
}

// tear is a record that the machine has not written to its end.
func (w *world) tear(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(w.runFile())
	if err == nil {
		whole := b[:bytes.LastIndexByte(b, '\n')+1]
		err = os.WriteFile(w.runFile(), append(whole, `{"seq":`...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing that it did was recorded, and the other machine has ended it and built anew.
func TestAMachineThatDiedInItsFirstActLearnsThatAnotherOneEndedItsRun(t *testing.T) {
	t.Parallel()
	undo := func(t *testing.T, w *world) { w.undo(t) }
	for _, c := range []struct {
		name        string
		dies, other func(t *testing.T, w *world)
	}{
		{"of an undo", func(t *testing.T, w *world) {
			w.apply(t)
			w.dies("pg2", "pg_ctlcluster", func() { _, _ = w.engine(nil, nil).Undo(t.Context(), w.found(t)) })
		}, undo},
		{"of a run that is undone", func(t *testing.T, w *world) {
			w.dies("pg1", "CREATE ROLE", func() { _, _ = w.engine(nil, nil).Apply(t.Context(), w.plan()) })
		}, undo},
		{"of a run that is resumed", func(t *testing.T, w *world) {
			w.dies("pg1", "CREATE ROLE", func() { _, _ = w.engine(nil, nil).Apply(t.Context(), w.plan()) })
		}, func(t *testing.T, w *world) {
			if _, err := w.engine(nil, nil).Resume(t.Context(), w.found(t)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, torn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, torn %t", c.name, torn), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, layout{})
				c.dies(t, w)
				if torn {
					w.tear(t)
				}
				back := w.elsewhere(t)
				c.other(t, w)
				w.apply(t)
				end := w.state()
				back()
				f := w.found(t)
				if _, err := w.engine(nil, nil).Undo(t.Context(), f); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "another operator has ended it") {
					t.Errorf("undo: %v", err)
				}
				differ(t, "-as the other one left it +now", end, w.state())
				if err := w.engine(nil, nil).Abandon(t.Context(), f); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A full disk may be why the run is taken back.
func TestAnUndoThatCanMakeNoCopyIsNotTakenForOneEndedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" && strings.Contains(do, "sh -s --") || name == "pg2" && strings.Contains(do, "pg_ctlcluster") {
			return errors.New("no space left on device")
		}
		return nil
	}
	for range 2 {
		if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err == nil || strings.Contains(err.Error(), "another operator") {
			t.Fatalf("the undo ended with %v", err)
		}
	}
	w.hook = nil
	w.undo(t)
}

func TestALiveRunIsNotAbandonedFromElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	var err error
	alive := &act{name: "x", do: func(ctx context.Context, _ effect.Env) error {
		defer w.elsewhere(t)()
		w.holder = "pgrepctl run1 " + operatorName
		f := w.found(t)
		err = w.engine(nil, nil).Abandon(ctx, f)
		w.holder = ""
		return nil
	}}
	if _, aerr := w.engine(nil, nil).Apply(t.Context(), w.list(does(alive))); aerr != nil {
		t.Fatal(aerr)
	}
	if fault.ClassOf(err) != fault.Locked {
		t.Errorf("abandon of a live run: %v", err)
	}
}

func TestARunThatIsBeingUndoneIsNotResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	changes := 0
	w.hook = func(_ context.Context, name, do string) error {
		if changes++; name == "pg2" && strings.Contains(do, "pg_ctlcluster") {
			return errors.New("cut off")
		}
		return nil
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err == nil {
		t.Fatal("the undo ended")
	}
	w.hook = nil
	for _, back := range []func(){w.elsewhere(t), func() {}} {
		f := w.found(t)
		_, err := w.engine(nil, nil).Resume(t.Context(), f)
		var refused *fault.Error
		if !errors.As(err, &refused) || refused.Class != fault.Refused || refused.Hint != "pgrepctl runs undo run1" {
			t.Errorf("resume: %v", err)
		}
		back()
	}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.plan()); fault.ClassOf(err) != fault.Refused {
		t.Errorf("apply: %v", err)
	}
	w.undo(t)
}

func TestACopyThatWasLeftBehindGoesWithTheNextRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("a")))); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(w.runFile())
	if err != nil {
		t.Fatal(err)
	}
	const file = "/var/lib/postgresql/.pgrepctl/run1/journal.jsonl"
	m := w.hosts["pg1"]
	m.fs.Dir("/var/lib/postgresql/.pgrepctl", "postgres", 0o700)
	m.fs.Dir("/var/lib/postgresql/.pgrepctl/run1", "postgres", 0o700)
	m.fs.Put(file, "postgres", 0o600, string(b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1]))
	w.apply(t)
	if m.fs.Has(file) {
		t.Error("it is still there")
	}
}

func TestFirstMachineGoesOnFromWhereAnotherOneWasInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("a"), failing()))); err == nil {
		t.Fatal("no error")
	}
	back := w.elsewhere(t)
	r, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("b"), failing())))
	if fault.ClassOf(err) != fault.Refused {
		t.Fatalf("got %+v, %v", r, err)
	}
	f := w.found(t)
	f.PlanText = planText
	if _, err := w.engine(nil, nil).Resume(t.Context(), f); err == nil {
		t.Fatal("the other machine was not interrupted")
	}
	there, err := journal.Read(w.runFile())
	if err != nil {
		t.Fatal(err)
	}
	back()
	here := w.found(t)
	if diff := cmp.Diff(there, here.Records); diff != "" {
		t.Errorf("-there +here:\n%s", diff)
	}
	w.undo(t)
}

// planText is a plan that changes something and then fails.
const planText = "name: test\nsteps:\n- {at: primary, role: {name: r, replication: true}}\n- {at: primary, server: {state: stopped, if-running: refuse}}\n"

func TestACopyOfTheJournalThatNobodyCanWriteKeepsTheActFromBeingDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.hook = func(_ context.Context, _, do string) error {
		if strings.HasPrefix(do, "sh -s -- ") {
			return errors.New("no space left on device")
		}
		return nil
	}
	done := false
	_, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(&act{name: "x", do: func(context.Context, effect.Env) error { done = true; return nil }})))
	if err == nil || done || !strings.Contains(err.Error(), "keep a copy of the journal") {
		t.Errorf("done %t, %v", done, err)
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.State != "nothing was changed" {
		t.Errorf("state %+v", f)
	}
}

func TestTheLastOneToLeaveRemovesTheCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("a")))); err != nil {
		t.Fatal(err)
	}
	if w.hosts["pg1"].fs.Has("/var/lib/postgresql/.pgrepctl") {
		t.Error("the copy is still there")
	}
	if _, err := os.Stat(w.runFile()); err != nil {
		t.Error(err)
	}
}

// The primary is out of reach just as the run removes the copy: another operator
// would take what stays there for an interrupted run.
func TestARunWhoseCopyCannotBeRemovedStaysOpen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, w *world) error
		mend func(t *testing.T, w *world) error
		want journal.Status
	}{
		{"apply", func(t *testing.T, w *world) error {
			_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
			return err
		}, func(t *testing.T, w *world) error {
			_, err := w.engine(nil, nil).Resume(t.Context(), w.found(t))
			return err
		}, journal.Succeeded},
		{"undo", func(t *testing.T, w *world) error {
			_, err := w.engine(nil, nil).Undo(t.Context(), w.found(t))
			return err
		}, func(t *testing.T, w *world) error {
			_, err := w.engine(nil, nil).Undo(t.Context(), w.found(t))
			return err
		}, journal.UndoneRun},
	} {
		for _, elsewhere := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, elsewhere %t", tt.name, elsewhere), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, layout{})
				if tt.want == journal.UndoneRun {
					w.apply(t)
				}
				w.stuckCopy = errors.New("no route to host")
				err := tt.do(t, w)
				if err == nil || !strings.Contains(err.Error(), "no route to host") {
					t.Fatalf("got %v", err)
				}
				w.stuckCopy = nil
				if elsewhere {
					w.elsewhere(t)
				}
				if runs, err := w.engine(nil, nil).List(t.Context()); err != nil || len(runs) != 1 || !runs[0].Open() {
					t.Fatalf("it is not open: %+v, %v", runs, err)
				}
				if err := tt.mend(t, w); err != nil {
					t.Fatal(err)
				}
				if runs, err := w.engine(nil, nil).List(t.Context()); err != nil || len(runs) != 1 || runs[0].Status != tt.want {
					t.Errorf("got %+v, %v", runs, err)
				}
				if len(w.hosts["pg1"].runs()) > 0 {
					t.Error("the copy is still there")
				}
			})
		}
	}
}
