package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func finished(t *testing.T, dir, id string, status journal.Status) {
	t.Helper()
	ended(t, dir, journal.Run{ID: id, Plan: "bootstrap-standby", Operator: operatorName}, status)
}

func ended(t *testing.T, dir string, run journal.Run, status journal.Status) {
	t.Helper()
	j, err := journal.Create(dir, run, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.Append(journal.Record{Type: journal.Intent, Effect: "make-dir"}); err != nil {
		t.Fatal(err)
	}
	if status != "" {
		if _, _, err := j.Append(journal.Record{Type: journal.End, Status: status}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUndoRefusesARunThatALaterOneBuildsOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	finished(t, w.dir, "run1", journal.Succeeded)
	finished(t, w.dir, "run2", journal.UndoneRun)
	finished(t, w.dir, "run3", journal.Succeeded)
	first, err := w.engine(nil, nil).Find(t.Context(), "run1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.engine(nil, nil).Undo(t.Context(), first)
	if fault.ClassOf(err) != fault.Refused || err.Error() != "run run3 (bootstrap-standby) came later and builds on it" {
		t.Errorf("got %v", err)
	}
}

func TestWhatWasDoneAtOnceKeepsNoEarlierRunFromBeingUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	finished(t, w.dir, "run1", journal.Succeeded)
	ended(t, w.dir, journal.Run{ID: "run2", Plan: "hold-replay", Meets: "pg2", NoCopy: true}, journal.Succeeded)
	first, err := w.engine(nil, nil).Find(t.Context(), "run1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), first); err != nil {
		t.Error(err)
	}
}

func TestAnUndoListsTheReloadsAtItsEndAndDoesThemOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	reload := []string{"pg1: reload the server (undo)"}
	for _, c := range []struct {
		name string
		want []string
	}{{"first", reload}, {"second", nil}} {
		pre, err := w.engine(nil, nil).PreviewUndo(w.found(t))
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.engine(nil, nil).Undo(t.Context(), w.found(t))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(effects(pre), r.Done); diff != "" {
			t.Errorf("%s: -preview +undone:\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.want, r.Done[max(0, len(r.Done)-1):]); diff != "" && len(c.want)+len(r.Done) > 0 {
			t.Errorf("%s: -want +last:\n%s", c.name, diff)
		}
	}
}

func TestAnUndoThatIsStoppedIsInterruptedAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	stop := make(chan struct{})
	close(stop)
	_, err := w.engine(nil, stop).Undo(t.Context(), w.found(t))
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Interrupted || f.Hint != "to go on: pgrepctl runs undo run1" {
		t.Errorf("got %v", err)
	}
	w.undo(t)
}

func TestAnAbandonedRunIsOpenNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	finished(t, w.dir, "run1", journal.FailedRun)
	if err := w.engine(nil, nil).Abandon(t.Context(), w.found(t)); err != nil {
		t.Fatal(err)
	}
	runs, err := journal.List(w.dir)
	if err != nil || len(runs) != 1 || runs[0].Open() || runs[0].Status != journal.Abandoned {
		t.Errorf("got %+v, %v", runs, err)
	}
	if err := w.engine(nil, nil).Abandon(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Refused {
		t.Errorf("a second time: %v", err)
	}
}

// stumbles is a bootstrap that fails where pg2 runs what has that word.
func (w *world) stumbles(t *testing.T, word string) {
	t.Helper()
	w.hook = func(_ context.Context, on, do string) error {
		if on == "pg2" && strings.Contains(do, word) {
			return errors.New("no space left on device")
		}
		return nil
	}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.plan()); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("got %v", err)
	}
	w.hook = nil
}

// An undo empties the data directory for the second copy, and comes to the edit of a
// file in it after that.
func TestAnUndoGoesBehindACopyThatWasMadeAgainAfterAnEdit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		layout layout
		at     string
		again  func(t *testing.T, w *world)
	}{
		{"of postgresql.auto.conf", layout{}, "rsync", func(t *testing.T, w *world) {
			inv, err := inventory.Parse("pgrepctl.yaml", []byte(strings.Replace(inventoryText(w.layout), "sslmode: require", "sslmode: prefer", 1)))
			if err != nil {
				t.Fatal(err)
			}
			w.inv = inv
		}},
		{"of pg_hba.conf", layout{configInData: true}, "pgrepctl-sync", func(_ *testing.T, w *world) {
			w.keeps = new(postgres.LSN)
			*w.keeps = 1 << 40 // the slot has lost the WAL of the first copy
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.layout)
			start := w.state()
			w.stumbles(t, c.at)
			c.again(t, w)
			w.stumbles(t, c.at)
			w.undo(t)
			differ(t, "-start +undone", start, w.state())
		})
	}
}
