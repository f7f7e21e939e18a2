package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnInterruptibleEffectIsCancelledByTheFirstWishToStop(t *testing.T) {
	t.Parallel()
	w, stop := newWorld(t, layout{}), make(chan struct{})
	p := w.list(does(&act{name: "copy", interruptible: true, do: func(ctx context.Context, _ effect.Env) error {
		close(stop)
		<-ctx.Done()
		return ctx.Err()
	}}))
	r, err := w.engine(nil, stop).Apply(t.Context(), p)
	if fault.ClassOf(err) != fault.Interrupted || r.Status != journal.Interrupted {
		t.Errorf("got %v, %s", err, r.Status)
	}
}

func TestPreviewCallsNoEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	a := &act{name: "x", do: func(context.Context, effect.Env) error {
		t.Error("an effect was done")
		return nil
	}}
	p, err := w.engine(nil, nil).Preview(t.Context(), w.list(inside{bracket{[]effect.Effect{a}, []effect.Effect{a}}, []any{does(a)}}))
	if err != nil || p.Effects() != 3 {
		t.Errorf("%d effects, %v", p.Effects(), err)
	}
	if _, err := os.Stat(w.dir); err == nil {
		t.Error("a preview left a journal")
	}
}

func TestFactsReadBeforeTheLockAreReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	var seen []bool
	look := step(func(ctx context.Context, in steps.In) (steps.Planned, error) {
		h, err := in.Facts.Of(ctx, "pg2")
		if err != nil {
			return steps.Planned{}, err
		}
		seen = append(seen, h.Data.HasData)
		// Another run ends here, and gives the lock free.
		w.hosts["pg2"].fs.Put(w.hosts["pg2"].data("PG_VERSION"), "postgres", 0o600, "15\n")
		return steps.Planned{Effects: []effect.Effect{&act{name: "x"}}}, nil
	})
	lock := bracket{[]effect.Effect{&effect.TakeLock{Host: "pg1"}}, []effect.Effect{&effect.ReleaseLock{Host: "pg1"}}}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(inside{lock, []any{look}})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{false, true}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestAnActThatIsKnownNotToHaveHappenedIsNotUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	was := "# mine"
	hba := w.hosts["pg1"].conf("pg_hba.conf")
	f, err := w.hosts["pg1"].Files("postgres").Read(t.Context(), hba)
	if err != nil {
		t.Fatal(err)
	}
	edit := &effect.WriteFile{Host: "pg1", As: "postgres", Path: hba, Before: f, Data: []byte("new"), Mode: 0o600, Image: "/var/lib/postgresql/.pgrepctl/run1/hba"}
	w.hosts["pg1"].fs.Put(hba, "postgres", 0o640, was) // somebody else edits
	r, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(edit)))
	if fault.ClassOf(err) != fault.Refused || r.Status != journal.FailedRun {
		t.Fatalf("got %v", err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err != nil {
		t.Errorf("the undo stumbles over the other's edit: %v", err)
	}
	if got, _ := w.hosts["pg1"].fs.Get(hba); got != was || w.hosts["pg1"].fs.Has("/var/lib/postgresql/.pgrepctl") {
		t.Errorf("got %q, %s", got, w.hosts["pg1"].fs.Dump("/var/lib/postgresql/.pgrepctl"))
	}
}

func TestAResumedRunClaimsOnlyWhatItMayHaveMade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"lost connection", errors.New("connection lost"), true},
		{"refused by the server", effect.ErrUntouched, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layout{})
			a := &act{name: "slot", claim: "slot pg2", do: func(context.Context, effect.Env) error { return c.err }}
			if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(a))); err == nil {
				t.Fatal("no error")
			}
			var claimed bool
			ask := step(func(_ context.Context, in steps.In) (steps.Planned, error) {
				claimed = in.Run.Claimed("slot pg2")
				return steps.Planned{Noop: "asked"}, nil
			})
			if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(ask)); err != nil {
				t.Fatal(err)
			}
			if claimed != c.want {
				t.Errorf("claimed: %v", claimed)
			}
		})
	}
}

func TestASettleIsOwedBeforeItsFileIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	s := steps.Settle{Host: "pg1", Why: "pg_hba.conf"}
	broken := &act{name: "edit", do: func(context.Context, effect.Env) error { return errors.New("connection lost") }}
	edit := step(func(context.Context, steps.In) (steps.Planned, error) {
		return steps.Planned{Effects: []effect.Effect{broken}, Settles: []steps.Settle{s, s}}, nil
	})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(edit)); err == nil {
		t.Fatal("no error")
	}
	var owed []steps.Settle
	ask := step(func(_ context.Context, in steps.In) (steps.Planned, error) {
		owed = in.Run.Owed("pg1")
		return steps.Planned{Noop: "asked"}, nil
	})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(ask)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]steps.Settle{s}, owed); diff != "" {
		t.Error(diff)
	}
}

func TestUndoStopsAtAPointOfNoReturn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	p := w.list(does(dir("a"), &act{name: "overwrite", noReturn: "the old data are gone"}, dir("b")))
	if _, err := w.engine(nil, nil).Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	pre, err := w.engine(nil, nil).PreviewUndo(w.found(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pg1: remove directory /etc/b if it is empty", "pg1: stop at do overwrite"}
	if diff := cmp.Diff(want, effects(pre)); diff != "" {
		t.Errorf("-want +preview:\n%s", diff)
	}
	r, err := w.engine(nil, nil).Undo(t.Context(), w.found(t))
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(fmt.Sprint(err), `"do overwrite" cannot be undone: the old data are gone`) {
		t.Errorf("got %v", err)
	}
	if fs := w.hosts["pg1"].fs; fs.Has("/etc/b") || !fs.Has("/etc/a") || r.Status != journal.FailedRun {
		t.Errorf("a: %v, b: %v, %s", fs.Has("/etc/a"), fs.Has("/etc/b"), r.Status)
	}
}

func TestNothingIsUndoneThatBuildsOnAPointOfNoReturn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	p := w.list(does(dir("a"), &act{name: "promote", noReturn: "it takes writes", claim: "promote"}, dir("b")))
	if _, err := w.engine(nil, nil).Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	pre, err := w.engine(nil, nil).PreviewUndo(w.found(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pg1: stop at do promote"}, effects(pre)); diff != "" {
		t.Errorf("-want +preview:\n%s", diff)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), `"do promote" cannot be undone`) {
		t.Errorf("got %v", err)
	}
	if f := w.found(t); f.Open() || !w.hosts["pg1"].fs.Has("/etc/b") {
		t.Errorf("status %s", f.Status)
	}
}

func TestAnotherOpenRunIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	fail := &act{name: "x", do: func(context.Context, effect.Env) error { return errors.New("boom") }}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(fail))); err == nil {
		t.Fatal("no error")
	}
	other := w.list(does(&act{name: "y"}))
	other.Name = "other"
	if _, err := w.engine(nil, nil).Apply(t.Context(), other); fault.ClassOf(err) != fault.Refused {
		t.Errorf("apply: %v", err)
	}
	if _, err := w.engine(nil, nil).Preview(t.Context(), other); fault.ClassOf(err) != fault.Refused {
		t.Errorf("preview: %v", err)
	}
	// The same plan goes on with the run.
	r, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(&act{name: "x"})))
	if err != nil || r.Run != "run1" {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := w.engine(nil, nil).Resume(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Refused {
		t.Errorf("resume of a finished run: %v", err)
	}
	for _, id := range []string{"none", "../run1", ""} {
		if _, err := w.engine(nil, nil).Find(t.Context(), id); fault.ClassOf(err) != fault.Usage {
			t.Errorf("run %q: %v", id, err)
		}
	}
}

func TestResumeAndUndoRespectTheClusterLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	fail := &act{name: "x", do: func(context.Context, effect.Env) error { return errors.New("boom") }}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(fail))); err == nil {
		t.Fatal("no error")
	}
	other, err := w.hosts["pg1"].SQL(t.Context(), host.Database{})
	if err != nil {
		t.Fatal(err)
	}
	var got []struct {
		OK bool `json:"ok"`
	}
	if err := other.Query(t.Context(), &got, "select pg_try_advisory_lock(1, 1) as ok"); err != nil || !got[0].OK {
		t.Fatal(err)
	}
	if _, err := w.engine(nil, nil).Resume(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Locked {
		t.Errorf("resume: %v", err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Locked {
		t.Errorf("undo: %v", err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err != nil {
		t.Error(err)
	}
}

// Which of two things that have happened is seen first is a matter of chance.
func TestARunThatIsStoppedAndLosesSomethingSaysBoth(t *testing.T) {
	t.Parallel()
	lost := errors.New("the lock is lost")
	for range 10 {
		w := newWorld(t, layout{})
		stop := make(chan struct{})
		ctx, cancel := context.WithCancelCause(t.Context())
		both := &act{name: "x", do: func(context.Context, effect.Env) error {
			close(stop)
			cancel(lost)
			return nil
		}}
		_, err := w.engine(nil, stop).Apply(ctx, w.list(does(both), does(&act{name: "y"})))
		cancel(nil)
		if !errors.Is(err, engine.ErrStopped) || !errors.Is(err, lost) {
			t.Fatalf("got %v", err)
		}
	}
}
