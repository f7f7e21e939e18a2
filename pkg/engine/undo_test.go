package engine_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

func finished(t *testing.T, dir, id string, status journal.Status) string {
	t.Helper()
	j, err := journal.Create(dir, journal.Run{ID: id, Plan: "bootstrap-standby", Operator: operatorName}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if status != "" {
		if _, err := j.Append(journal.Record{Type: journal.End, Status: status}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, id+".jsonl")
}

func TestUndoRefusesARunThatALaterOneBuildsOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := finished(t, dir, "run1", journal.Succeeded)
	finished(t, dir, "run2", journal.UndoneRun)
	finished(t, dir, "run3", journal.Succeeded)
	_, err := (&engine.Engine{Dir: dir, Now: time.Now}).Undo(t.Context(), first)
	if fault.ClassOf(err) != fault.Refused || err.Error() != "run run3 (bootstrap-standby) came later and builds on it" {
		t.Errorf("got %v", err)
	}
}

func TestAnAbandonedRunIsOpenNoMore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := finished(t, dir, "run1", journal.FailedRun)
	e := &engine.Engine{Dir: dir, Now: time.Now}
	if err := e.Abandon(path); err != nil {
		t.Fatal(err)
	}
	runs, err := journal.List(dir)
	if err != nil || len(runs) != 1 || runs[0].Open() || runs[0].Status != journal.Abandoned {
		t.Errorf("got %+v, %v", runs, err)
	}
	if err := e.Abandon(path); fault.ClassOf(err) != fault.Refused {
		t.Errorf("a second time: %v", err)
	}
}
