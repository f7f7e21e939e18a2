package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// A standby that is far behind is waited for, which may take long: what refuses a rollout
// is asked after that.
func TestARolloutIsJudgedByWhatIsSoAfterAStandbyHasCaughtUp(t *testing.T) {
	t.Parallel()
	w := newReading(t)
	pg2, waited := w.hosts["pg2"], false
	pg2.replay.at = walEnd - 32<<20
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" && strings.Contains(do, "flush_lsn") && !waited {
			w.mu.Lock()
			defer w.mu.Unlock()
			waited = true
			pg2.replay.at, pg2.replay.paused = walEnd, true // by somebody else
		}
		return nil
	}
	r, err := w.engine(nil, nil).Apply(t.Context(), w.builtin("deploy-ddl", deploy(map[string]string{"second": "pg2"})))
	if !waited || fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "its replay is paused already, by somebody else") {
		t.Errorf("waited: %v; %v", waited, err)
	}
	for _, done := range r.Done {
		if !strings.Contains(done, "cluster lock") && !strings.Contains(done, "wait until it is not far behind") {
			t.Errorf("it did %q", done)
		}
	}
}
