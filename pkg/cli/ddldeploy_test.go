package cli

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// TestNoUndoIsOfferedAfterTheCommit: the engine's words for any run that stops offer one.
func TestNoUndoIsOfferedAfterTheCommit(t *testing.T) {
	t.Parallel()
	cause := errors.New("stopped by the operator")
	err := forward("R1", &fault.Error{Class: fault.Interrupted, Err: cause, State: "14 effects of run R1 are done",
		Hint: "pgrepctl runs resume R1 goes on; pgrepctl runs undo R1 takes it back"})
	if !errors.Is(err, cause) || fault.ClassOf(err) != fault.Interrupted {
		t.Errorf("cause or class is lost: %v, class %d", err, fault.ClassOf(err))
	}
	var states, hints []string
	walk(err, func(e *fault.Error) { states, hints = append(states, e.State), append(hints, e.Hint) })
	if got := strings.Join(hints, "|"); got != "pgrepctl ddl resume R1" {
		t.Errorf("hints %q", got)
	}
	if got := strings.Join(states, "|"); !strings.Contains(got, "it only goes forward") || !strings.Contains(got, "14 effects") {
		t.Errorf("states %q", got)
	}
}

// TestWhatIsDoneByHalfIsNotCalledTakenBack: nor is an undo offered, and one hint is enough.
func TestWhatIsDoneByHalfIsNotCalledTakenBack(t *testing.T) {
	t.Parallel()
	engines := func(err error) error {
		return &fault.Error{Class: fault.Failed, Err: err, State: "1 effects are done", Hint: "pgrepctl runs resume R1 goes on; pgrepctl runs undo R1 takes it back"}
	}
	for want, err := range map[string]error{
		"pgrepctl ddl resume R1":                      engines(errors.New("the answer is lost")),
		"pgrepctl ddl resume R1, which does the rest": engines(&fault.Error{Err: errors.New("stopped"), State: "by half", Hint: "pgrepctl ddl resume R1, which does the rest"}),
	} {
		var states, hints []string
		walk(noWayBack("R1", err), func(e *fault.Error) { states, hints = append(states, e.State), append(hints, e.Hint) })
		if got := strings.Join(hints, ""); got != want {
			t.Errorf("hints %q, want %q", got, want)
		}
		if got := strings.Join(states, "|"); !strings.Contains(got, "cannot be taken back") || strings.Contains(got, "is taken back") {
			t.Errorf("states %q", got)
		}
	}
}

// TestAFailedStatementIsFoundInItsFile: unless what failed has a remedy of its own.
func TestAFailedStatementIsFoundInItsFile(t *testing.T) {
	t.Parallel()
	script, err := ddl.Parse("change.sql", []byte("CREATE TABLE a (x int);\n\nALTER TABLE a\n  ADD COLUMN y int;\n"), 15)
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{o: rollout{from: 1}, script: script, parts: script.Parts()}
	failed := &fault.Error{Class: fault.Undone, Err: &effect.StatementError{Number: 2, Of: 2, Err: errors.New("no")}}
	hint := func(err error) (out string) {
		walk(err, func(e *fault.Error) { out += e.Hint })
		return out
	}
	located := d.locate(0, failed)
	if got := hint(located); got != "mend the statement at change.sql:3, then type the same command again" || fault.ClassOf(located) != fault.Undone {
		t.Errorf("hint %q, class %d", got, fault.ClassOf(located))
	}
	if got := hint(d.locate(0, &fault.Error{Err: failed, Hint: "wait"})); got != "wait" {
		t.Errorf("hint %q", got)
	}
	if got := d.locate(0, io.EOF); !errors.Is(got, io.EOF) || hint(got) != "" {
		t.Errorf("another failure became %v", got)
	}
}
