package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// After a failover the inventory may still have the new primary as a standby: to stop its
// server is the last thing to be told.
func TestNobodyIsToldToStopAServerThatTakesWrites(t *testing.T) {
	t.Parallel()
	inv := cluster(t, cascade)
	outcome := func(name string, err error) engine.Outcome {
		return engine.Outcome{Plan: &plan.Plan{Standby: hostOf(inv, name)}, Err: err}
	}
	writes := func(name string) error { return takesWrites(hostOf(inv, name)) }
	for name, c := range map[string]struct {
		list   []engine.Outcome
		class  fault.Class
		stop   bool
		writes string
	}{
		"others are held":    {[]engine.Outcome{outcome("pg2", writes("pg2")), outcome("pg4", nil)}, fault.Partial, false, "pg2"},
		"it is the only one": {[]engine.Outcome{outcome("pg4", writes("pg4"))}, fault.Refused, false, "pg4"},
		"another failed": {[]engine.Outcome{outcome("pg2", writes("pg2")), outcome("pg4", errors.New("no answer")), outcome("pg3", nil)},
			fault.Partial, true, "pg2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (&app{}).holdFailed(c.list)
			var b bytes.Buffer
			if perr := ui.PrintError(&b, err, ui.ErrorOptions{}); perr != nil {
				t.Fatal(perr)
			}
			if fault.ClassOf(err) != c.class || strings.Contains(b.String(), "stop their servers") != c.stop ||
				!strings.Contains(b.String(), c.writes+": it is not in recovery: it takes writes, and replays nothing\n") {
				t.Errorf("class %d:\n%s", fault.ClassOf(err), &b)
			}
		})
	}
}
