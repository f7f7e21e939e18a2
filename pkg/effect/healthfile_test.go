package effect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// TestAHealthFileIsNotMadeWhenTheOthersHaveOneByThen: what the drain was planned from may
// be old. A standby that cannot be asked does not count.
func TestAHealthFileIsNotMadeWhenTheOthersHaveOneByThen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file    bool
		least   int
		refused bool
	}{
		"the other serves":         {false, 1, false},
		"the other has it":         {true, 1, true},
		"two others must serve":    {false, 2, true},
		"nobody has to serve then": {true, 0, false},
	} {
		mine, other := hosttest.NewFS("/run"), hosttest.NewFS("/run")
		if c.file {
			other.Put("/run/drained", "postgres", 0o644, "by hand\n")
		}
		in := newEnv(hosttest.NewScript(t, "pg2", mine), hosttest.NewScript(t, "pg3", other))
		e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n", Others: map[string]string{"pg3": "postgres", "pg4": "postgres"}, Least: c.least}
		_, err := e.Do(t.Context(), in)
		if refused := fault.ClassOf(err) == fault.Refused && errors.Is(err, effect.ErrUntouched); refused != c.refused || !refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if mine.Has("/run/drained") == c.refused {
			t.Errorf("%s: the file is there: %t", name, !c.refused)
		}
	}
}

// TestTheInverseOfAHealthFileAsksNobody: reads are let in, whoever else serves.
func TestTheInverseOfAHealthFileAsksNobody(t *testing.T) {
	t.Parallel()
	fs := hosttest.NewFS("/run")
	fs.Put("/run/drained", "postgres", 0o644, "run1\n")
	e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Others: map[string]string{"pg3": "postgres"}, Least: 1}
	do(t, e.Inverse(), newEnv(hosttest.NewScript(t, "pg2", fs)))
	if fs.Has("/run/drained") {
		t.Error("the file is there")
	}
}

func TestTheWaitForACheckEndsWithItsTimeOrTheRun(t *testing.T) {
	t.Parallel()
	e := &effect.AwaitCheck{Host: "pg2", Path: "/run/drained", For: time.Millisecond}
	do(t, e, newEnv())
	why := errors.New("stopped by the operator")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(why)
	e.For = time.Hour
	if _, err := e.Do(ctx, newEnv()); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if d := e.Describe().String(); !strings.Contains(d, "1h0m0s") || !strings.Contains(d, "/run/drained") {
		t.Errorf("it is shown as %q", d)
	}
}
