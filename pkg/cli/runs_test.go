package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// failedRun is what the engine says of a run that failed at a copy, which has words of
// its own.
func failedRun(hint string) error {
	step := &fault.Error{Class: fault.Failed, Host: "pg2", Op: "copy", Err: errors.New("no space left"), State: "what was copied stays", Hint: hint}
	return &fault.Error{Class: fault.Failed, Err: fmt.Errorf("rsync (step 1.2): %w", step), State: "3 effects of run R1 are done, and all that it held open is closed",
		Hint: "to go on: pgrepctl runs resume R1; to take it back: pgrepctl runs undo R1"}
}

func TestARunThatIsUndoneIsNeitherToBeResumedNorUndone(t *testing.T) {
	t.Parallel()
	const undone, part = "run R1 was undone", "run R1 is taken back in part"
	done := func(err error) error {
		return &fault.Error{Class: fault.Undone, Err: takenBack("R1", err), State: undone}
	}
	for name, c := range map[string]struct {
		err   error
		want  string
		class fault.Class
	}{
		"undone": {done(failedRun("make room and type: pgrepctl runs resume R1")),
			"error: rsync (step 1.2): pg2: copy: no space left\n  state: " + undone + "\n", fault.Undone},
		"undone, with a remedy for the cause": {done(failedRun("make room on pg2")),
			"error: rsync (step 1.2): pg2: copy: no space left\n  state: " + undone + "\n  hint:  make room on pg2\n", fault.Undone},
		"the undo fails": {notTakenBack("R1", failedRun(""), errors.New("drop slot pg2: it is active")),
			"error: rsync (step 1.2): pg2: copy: no space left\nerror: drop slot pg2: it is active\n  state: " + part + "\n  hint:  to go on: pgrepctl runs undo R1\n", fault.Failed},
		"the undo is not begun": {notTakenBack("R1", failedRun(""), fault.Refuse("", "go forward instead: pgrepctl runs resume R1", errors.New("it cannot be undone"))),
			"error: rsync (step 1.2): pg2: copy: no space left\nerror: it cannot be undone\n  hint:  go forward instead: pgrepctl runs resume R1\n", fault.Failed},
	} {
		var b bytes.Buffer
		if err := ui.PrintError(&b, c.err, ui.ErrorOptions{}); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%s:\n%s", name, &b)
		}
		if got := fault.ClassOf(c.err); got != c.class {
			t.Errorf("%s: class %d", name, got)
		}
	}
}
