package engine_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// reading counts how often each host is read.
func (w *world) reading() (count func() map[string]int) {
	var mu sync.Mutex
	seen := map[string]int{}
	w.hook = func(_ context.Context, host, do string) error {
		mu.Lock()
		defer mu.Unlock()
		if do == "gather" {
			seen[host]++
		}
		return nil
	}
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		out := maps.Clone(seen)
		clear(seen)
		return out
	}
}

// looking is a step with work to do, which tells whether pg2 has data.
func looking(seen *[]bool) step {
	return func(ctx context.Context, in steps.In) (steps.Planned, error) {
		h, err := in.Facts.Of(ctx, "pg2")
		if err != nil {
			return steps.Planned{}, err
		}
		*seen = append(*seen, h.Data.HasData)
		return steps.Planned{Effects: []effect.Effect{&act{name: "x"}}}, nil
	}
}

func TestHostsAreReadOnceForTheConsentAndOnceUnderTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	var seen []bool
	p, e, count := w.list(underTheLock{looking(&seen)}), w.engine(nil, nil), w.reading()
	before := e.Read(t.Context(), "pg2")
	pre, err := e.PreviewFrom(t.Context(), p, before)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"pg1": 1, "pg2": 1}, count()); diff != "" {
		t.Errorf("up to the consent: %s", diff)
	}
	// Another run ends while the operator thinks.
	w.hosts["pg2"].fs.Put(w.hosts["pg2"].data("PG_VERSION"), "postgres", 0o600, "15\n")
	seen = nil
	if _, err := e.ApplyAfter(t.Context(), p, pre); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{true}, seen); diff != "" {
		t.Errorf("what the step plans from: %s", diff)
	}
	if diff := cmp.Diff(map[string]int{"pg1": 1, "pg2": 1}, count()); diff != "" {
		t.Errorf("after it: %s", diff)
	}
}

func TestAPlanWithoutTheLockIsPlannedFromWhatIsTrueNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	var seen []bool
	p, e := w.list(looking(&seen)), w.engine(nil, nil)
	pre, err := e.Preview(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	w.hosts["pg2"].fs.Put(w.hosts["pg2"].data("PG_VERSION"), "postgres", 0o600, "15\n")
	seen = nil
	if _, err := e.ApplyAfter(t.Context(), p, pre); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{true}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestWhatAPreviewPredictsIsNotInWhatItRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	change := step(func(ctx context.Context, in steps.In) (steps.Planned, error) {
		h, err := in.Facts.Of(ctx, "pg1")
		if err == nil && h.Server.InRecovery {
			t.Error("it begins with what an earlier preview foretold")
		}
		return steps.Planned{Effects: []effect.Effect{&foretold{act{name: "x"}}}}, err
	})
	p, e := w.list(underTheLock{change}), w.engine(nil, nil)
	before := e.Read(t.Context(), "pg1")
	for range 2 {
		if _, err := e.PreviewFrom(t.Context(), p, before); err != nil {
			t.Fatal(err)
		}
	}
}

// foretold is an act that predicts what it does not do.
type foretold struct{ act }

func (*foretold) Predict(w effect.World) { w.Known("pg1").Server.InRecovery = true }

func TestARunThatFindsNothingLeftToDoUnderTheLockLeavesNoCopyOfItsJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	doing := []effect.Effect{&act{name: "x"}}
	p := w.list(underTheLock{step(func(context.Context, steps.In) (steps.Planned, error) {
		return steps.Planned{Effects: doing, Noop: "done"}, nil
	})})
	e := w.engine(nil, nil)
	pre, err := e.Preview(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	doing = nil // somebody else has done it
	r, err := e.ApplyAfter(t.Context(), p, pre)
	if err != nil || r.Status != journal.Succeeded || len(r.Done) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if runs := w.hosts["pg1"].runs(); len(runs) != 0 {
		t.Errorf("left on the primary: %v", runs)
	}
	if runs, err := e.List(t.Context()); err != nil || len(runs) != 1 || runs[0].Open() {
		t.Errorf("runs: %+v, %v", runs, err)
	}
}
