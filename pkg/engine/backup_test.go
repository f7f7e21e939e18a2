package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// A backup that is run again leaves nothing of the first one's end: a crash
// during its copy must not look like a crash behind it.
func TestACopyThatBrokeOffUnderASecondBackupIsNotComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	start := w.state()
	breaks := func(command string) {
		t.Helper()
		w.hook = func(_ context.Context, name, do string) error {
			if name == "pg2" && strings.HasPrefix(do, command) {
				return errors.New("cut off")
			}
			return nil
		}
		if _, err := w.engine(nil, nil).Apply(t.Context(), w.plan()); err == nil {
			t.Fatalf("no error at %s", command)
		}
		w.hook = nil
	}
	breaks("sh -c initdb=$1")                      // the fsync
	between, err := postgres.ParseLSN("0/1800000") // the first backup began at 0/1000028, the second will at 0/2000028
	if err != nil {
		t.Fatal(err)
	}
	w.keeps = &between
	breaks("rsync ")
	w.apply(t)
	if w.backups != 3 {
		t.Errorf("%d backups", w.backups)
	}
	// backup_label was written twice, and the server has taken it away.
	w.keeps = nil
	w.undo(t)
	differ(t, "-start +undone", start, w.state())
}
