package engine_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// streams reports whether pg2 is a standby of pg1: everything that it needs is
// there. w.mu is held.
func (w *world) streams() bool {
	sb := w.hosts["pg2"]
	_, slot := w.slots["pg2"]
	pass, _ := sb.fs.Get("/var/lib/postgresql/.pgrepctl/shop.pgpass")
	return w.hosts["pg1"].running && sb.running && sb.recovery && !w.deaf && slot && strings.Contains(pass, canary) && admits(w.hosts["pg1"].loaded["pg_hba.conf"], "replicator", sb.inv.Address)
}

// newStandby is a world with pg2 streaming, and commits that wait for it.
func newStandby(t *testing.T, l layout) *world {
	t.Helper()
	w := newWorld(t, l)
	w.apply(t)
	pg1 := w.hosts["pg1"]
	name := pg1.conf("postgresql.conf")
	text, _ := pg1.fs.Get(name)
	if !l.waited { // else the bootstrap has seen to it
		pg1.fs.Put(name, "postgres", 0o644, text+"synchronous_standby_names = 'FIRST 1 (pg2, pg9)' # both\n")
		pg1.load()
	}
	// The next run is the first that anybody knows of.
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.hosts {
		var kept []string
		m.fs.Walk("/var/lib/postgresql/.pgrepctl/run1", func(p string, _ bool, _ string) { kept = append(kept, p) })
		for _, p := range append(kept, "/var/lib/postgresql/.pgrepctl/run1") {
			m.fs.Delete(p)
		}
	}
	if !pg1.fs.Has("/var/lib/postgresql/.pgrepctl/x") {
		pg1.fs.Delete("/var/lib/postgresql/.pgrepctl")
	}
	w.revive()
	from := postgres.LSN(0x9000000)
	w.keeps = &from
	return w
}

// leaving is newStandby, and the plan that retires pg2.
func leaving(erase string) func(t *testing.T, l layout) *world {
	return func(t *testing.T, l layout) *world {
		t.Helper()
		w := newStandby(t, l)
		w.plans, w.vars, w.accept = "retire-standby", map[string]string{"standby": "pg2", "to": "pg1", "erase": erase}, []string{steps.SyncQuorum}
		return w
	}
}

func TestRetiredStandbyLeavesNothingAndTheSecondRunFindsNothing(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := leaving("")(t, l)
			pre, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
			if err != nil {
				t.Fatal(err)
			}
			done := w.apply(t)
			if diff := cmp.Diff(effects(pre), done); diff != "" {
				t.Errorf("-preview +apply:\n%s", diff)
			}
			again, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
			if err != nil {
				t.Fatal(err)
			}
			if again.Effects() != 0 {
				t.Errorf("a second run would do:\n%s", strings.Join(effects(again), "\n"))
			}
			pg1, pg2 := w.hosts["pg1"], w.hosts["pg2"]
			if pg2.running || len(w.slots) > 0 || strings.Contains(pg1.loaded["pg_hba.conf"], "replicator") {
				t.Errorf("running %v, slots %v, rules %q", pg2.running, w.slots, pg1.loaded["pg_hba.conf"])
			}
			if text := pg2.fs.Dump("/var/lib/postgresql/.pgrepctl"); strings.Contains(text, canary) {
				t.Errorf("the password is on pg2:\n%s", text)
			}
			where, line := "postgresql.conf", "synchronous_standby_names = '' # both"
			if l.waited {
				where, line = "postgresql.auto.conf", "synchronous_standby_names = ''"
			}
			if !strings.Contains(pg1.loaded[where], line) {
				t.Errorf("commits wait: %s", pg1.loaded[where])
			}
			if !pg2.fs.Has(pg2.data("global/pg_control")) {
				t.Error("the data are gone")
			}
		})
	}
}

func TestResumeOfARetirementAfterEveryCrashEndsAsACleanRunAndCanBeUndone(t *testing.T) {
	t.Parallel()
	matrixOf(t, 1, leaving(""), func(t *testing.T, w *world, _ int, start, end string) {
		pre, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
		if err != nil {
			t.Fatal(err)
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

func TestUndoOfARetirementAfterEveryCrashBringsTheStandbyBackStreaming(t *testing.T) {
	t.Parallel()
	matrixOf(t, 1, leaving(""), func(t *testing.T, w *world, _ int, start, _ string) {
		w.undo(t)
		differ(t, "-start +undone", start, w.state())
	})
}

func TestResumeOfARetirementThatErasesEndsAsACleanRunDoes(t *testing.T) {
	t.Parallel()
	matrixOf(t, 2, leaving("pg2"), func(t *testing.T, w *world, _ int, _, end string) {
		w.apply(t)
		differ(t, "-clean +resumed", end, w.state())
		pg2 := w.hosts["pg2"]
		pg2.fs.Walk(pg2.data(""), func(p string, _ bool, _ string) { t.Errorf("%s is left", p) })
	})
}

// Once erasing has begun there is only one way: half of the files are no standby.
func TestUndoOfARetirementStopsWhereErasingBegan(t *testing.T) {
	t.Parallel()
	matrixOf(t, 2, leaving("pg2"), func(t *testing.T, w *world, _ int, start, end string) {
		pg2 := w.hosts["pg2"]
		intact := pg2.fs.Has(pg2.data("global/pg_control"))
		runs, err := w.engine(nil, nil).List(t.Context())
		if err != nil || len(runs) == 0 {
			return
		}
		f := w.found(t)
		if !f.Open() {
			return
		}
		_, err = w.engine(nil, nil).Undo(t.Context(), f)
		switch {
		case err == nil && intact:
			differ(t, "-start +undone", start, w.state())
		case err == nil:
			t.Error("an undo went past erased data")
		case fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "cannot be undone"):
			t.Errorf("got %v", err)
		default:
			w.apply(t)
			differ(t, "-clean +resumed", end, w.state())
		}
	})
}

func TestUndoOfARetirementSaysThatTheWALIsGone(t *testing.T) {
	t.Parallel()
	w := leaving("")(t, layout{})
	w.apply(t)
	w.oldest = "0000000100000000000000FF"
	w.deaf = true
	_, err := w.engine(nil, nil).Undo(t.Context(), w.found(t))
	if err == nil || !strings.Contains(err.Error(), "has removed the WAL that it needs") {
		t.Errorf("got %v", err)
	}
	if _, ok := w.slots["pg2"]; !ok || !w.hosts["pg2"].running {
		t.Error("what could be taken back was not")
	}
}

func TestRetirementOfAGoneStandbyDoesNotAskIt(t *testing.T) {
	t.Parallel()
	w := newStandby(t, layout{})
	w.plans, w.vars, w.accept = "retire-gone-standby", map[string]string{"standby": "pg2", "to": "pg1"}, []string{steps.SyncQuorum}
	w.mu.Lock()
	w.hosts["pg2"].running = false
	w.slots["pg2"] = ""
	w.hook = func(_ context.Context, host, do string) error {
		if host == "pg2" {
			t.Errorf("pg2 was asked: %s", do)
		}
		return nil
	}
	w.mu.Unlock()
	w.apply(t)
	if len(w.slots) > 0 || strings.Contains(w.hosts["pg1"].loaded["pg_hba.conf"], "replicator") {
		t.Errorf("slots %v, rules %q", w.slots, w.hosts["pg1"].loaded["pg_hba.conf"])
	}
	again, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
	if err != nil || again.Effects() != 0 {
		t.Errorf("a second run: %v, %v", again, err)
	}
}

// progressing is where progress is told of.
type progressing []string

func (p *progressing) Emit(e event.Event) {
	if e.Type == event.Progressed {
		*p = append(*p, e.Host+" "+e.Step)
	}
}

// A standby that comes back may have to catch up for a while: an undo has no node of its own.
func TestProgressOfWhatIsTakenBackIsOfItsOwnHost(t *testing.T) {
	t.Parallel()
	w := leaving("")(t, layout{})
	w.apply(t)
	w.lags = true
	var told progressing
	if _, err := w.engine(&told, nil).Undo(t.Context(), w.found(t)); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(told, "pg2 leave") || slices.Contains(told, " ") {
		t.Errorf("got %q", told)
	}
}
