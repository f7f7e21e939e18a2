package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// The primary, where the lock of the run is, is gone in the middle of a schema change. An
// undo has to wait for it; reads do not.
func TestReadsComeBackThoughTheHostOfTheLockIsGone(t *testing.T) {
	t.Parallel()
	w := newReading(t)
	gone, drained := false, ""
	w.hook = func(_ context.Context, name, do string) error {
		if name != "pg1" || !gone && do != "sql "+addColumn {
			return nil
		}
		if !gone {
			gone, drained = true, w.readBy()
		}
		return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("gone")}
	}
	r, err := w.engine(nil, nil).Apply(t.Context(), w.builtin("deploy-ddl", deploy(map[string]string{"first": "pg2"})))
	if err == nil || drained != "drain, and the file" {
		t.Fatalf("the primary was not lost while pg2 was drained, but %q: %v", drained, err)
	}
	if got := w.readBy(); got != "ready" {
		t.Errorf("pg2 is left as %q: %v", got, err)
	}
	w.hook = nil
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.finds(t, r.Run)); err != nil {
		t.Error(err)
	}
	if got := w.readBy(); got != "ready" {
		t.Errorf("an undo leaves pg2 as %q", got)
	}
}

// A rollout that cannot go on after its COMMIT lets the paused ones replay it in an instant
// in which nobody is in the way. A leash that is let go does not look for one.
func TestAfterTheCommitAFailureLetsReplayGoOnBetweenTheReaders(t *testing.T) {
	t.Parallel()
	w := newReading(t)
	failed := false
	w.hook = func(_ context.Context, name, do string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.ddl.columns) == 0 || failed || !strings.HasPrefix(do, "sql select count(*) as count from pg_stat_activity") {
			return nil
		}
		failed = true
		return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("gone for a moment")}
	}
	_, err := w.engine(nil, nil).Apply(t.Context(), w.builtin("deploy-ddl", deploy(map[string]string{"second": "pg2"})))
	if err == nil || !failed {
		t.Fatalf("the clients could be counted: %v", err)
	}
	if pg2 := w.hosts["pg2"]; pg2.replay.paused || pg2.replay.at != ddlAt {
		t.Errorf("pg2 is left with %+v", pg2.replay)
	}
	if w.ddl.ungated {
		t.Error("the leash has resumed replay, beside the readers")
	}
}
