package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// The primary, which has the lock, may be out of reach: this machine knows of its own
// processes all the same.
func TestARunOfAnotherProcessGoesOnAndIsNotInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Create(dir, journal.Run{ID: "r1", Plan: "bootstrap-standby", Operator: "anna@desk"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.Append(journal.Record{Type: journal.Intent, Effect: "make-dir"}); err != nil {
		t.Fatal(err)
	}
	text := func() string {
		runs, err := journal.List(dir)
		if err != nil || len(runs) != 1 {
			t.Fatal(runs, err)
		}
		return openRunText(&engine.Engine{Dir: dir, Inventory: cluster(t, cascade)}, runs[0], "pg1", false)
	}
	if got := text(); got != "run r1 (bootstrap-standby, by anna@desk) is still going on, in another process of this machine" {
		t.Errorf("while it runs: %q", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := text(); !strings.Contains(got, "is not finished: interrupted\n  hint: ") || !strings.Contains(got, "pgrepctl runs undo r1") {
		t.Errorf("when it has died: %q", got)
	}
}
