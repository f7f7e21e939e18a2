package effect_test

import (
	"errors"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// An undo removes what is at the link's place, so a refusal must say that the run
// has put nothing there.
func TestALinkThatIsRefusedIsNotUndone(t *testing.T) {
	t.Parallel()
	fs := hosttest.NewFS("/data")
	fs.Put("/data/pg_wal", "postgres", 0o600, "somebody's")
	e := &effect.Link{Host: "pg1", As: "postgres", Path: "/data/pg_wal", Target: "/wal"}
	_, err := e.Do(t.Context(), newEnv(hosttest.NewScript(t, "pg1", fs)))
	if fault.ClassOf(err) != fault.Refused || !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("got %v", err)
	}
}
