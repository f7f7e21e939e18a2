package cli

import (
	"errors"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func TestAFailedRunIsTakenBackUnlessItIsStoppedOrNotOfThisProcess(t *testing.T) {
	t.Parallel()
	begun, not := &engine.Report{Run: "R1", Begun: true}, &engine.Report{Run: "R1"}
	class := func(c fault.Class) error { return &fault.Error{Class: c, Err: errors.New("x")} }
	stopped := make(chan struct{})
	close(stopped)
	for name, c := range map[string]struct {
		r    *engine.Report
		err  error
		stop <-chan struct{}
		want bool
	}{
		"it failed":                             {begun, class(fault.Failed), nil, true},
		"it failed, and nobody has stopped it":  {begun, class(fault.Failed), make(chan struct{}), true},
		"a host cannot be reached":              {not, class(fault.Unreachable), nil, true},
		"it was refused half-way":               {begun, class(fault.Refused), nil, true},
		"it was refused before it began":        {not, class(fault.Refused), nil, false},
		"another run has the lock":              {not, class(fault.Locked), nil, false},
		"it is another operator's":              {nil, class(fault.Refused), nil, false},
		"it went well":                          {begun, nil, nil, false},
		"Ctrl-C":                                {begun, engine.ErrStopped, nil, false},
		"Ctrl-C twice":                          {begun, class(fault.Interrupted), nil, false},
		"Ctrl-C, and the act in hand fails too": {begun, class(fault.Failed), stopped, false},
	} {
		if got := (&app{Stdio: Stdio{Stop: c.stop}}).takesBack(c.r, c.err); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
