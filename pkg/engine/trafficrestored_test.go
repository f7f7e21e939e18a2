package engine_test

import (
	"context"
	"errors"
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
