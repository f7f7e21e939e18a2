package cli

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// TestNoUndoIsOfferedAfterTheCommit: the engine's words for any run that stops offer one.
func TestNoUndoIsOfferedAfterTheCommit(t *testing.T) {
	t.Parallel()
	cause := errors.New("stopped by the operator")
	err := forward("R1", &fault.Error{Class: fault.Interrupted, Err: cause, State: "14 effects of run R1 are done",
		Hint: "to go on: pgrepctl runs resume R1; to take it back: pgrepctl runs undo R1"})
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
		return &fault.Error{Class: fault.Failed, Err: err, State: "1 effects are done", Hint: "to go on: pgrepctl runs resume R1; to take it back: pgrepctl runs undo R1"}
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

// TestAPartIsNotRunTwiceByWhatIsSaidToTypeNext: one that is committed counts as deployed, for
// its own run does the rest of it. A TRUNCATE that is run again takes what came meanwhile.
func TestAPartIsNotRunTwiceByWhatIsSaidToTypeNext(t *testing.T) {
	t.Parallel()
	script, err := ddl.Parse("add note.sql", []byte("TRUNCATE a; CREATE INDEX CONCURRENTLY i ON a (x); TRUNCATE b;"), 15)
	if err != nil {
		t.Fatal(err)
	}
	const from = "pgrepctl ddl deploy 'add note.sql' --database shop --from "
	for name, c := range map[string]struct {
		part  int // from 1
		end   partEnd
		state string
		hint  string
	}{
		"the first is taken back":           {1, partBack, "", ""},
		"the first is committed":            {1, partForward, "of 3 parts of the file 1 are deployed", "to go on after that: " + from + "2 --role app"},
		"the second is taken back":          {2, partBack, "of 3 parts of the file 1 are deployed", "to go on after that: " + from + "2 --role app"},
		"the second is committed":           {2, partForward, "of 3 parts of the file 2 are deployed", "to go on after that: " + from + "3 --role app"},
		"the last is committed":             {3, partForward, "of 3 parts of the file 3 are deployed", ""},
		"of the second nothing is known":    {2, partOpen, "of 3 parts of the file 1 are deployed", "whether part 2 is committed: pgrepctl ddl status; to go on then, if it is not: " + from + "2 --role app; if it is: " + from + "3 --role app"},
		"of the last nothing is known":      {3, partOpen, "of 3 parts of the file 2 are deployed", "whether part 3 is committed: pgrepctl ddl status; to go on then, if it is not: " + from + "3 --role app"},
		"a file of one part, committed":     {0, partForward, "", ""},
		"a file of one part, and not known": {0, partOpen, "", ""},
	} {
		d := &deployment{o: rollout{database: "shop", from: 1, given: []string{"--role", "app"}}, script: script, parts: script.Parts()}
		if c.part == 0 {
			c.part, d.parts = 1, d.parts[:1]
		}
		var states, hints []string
		got := d.goOn(c.part-1, c.end, &fault.Error{Class: fault.Interrupted, Err: io.EOF})
		walk(got, func(e *fault.Error) { states, hints = append(states, e.State), append(hints, e.Hint) })
		if state, hint := strings.Join(states, ""), strings.Join(hints, ""); state != c.state || hint != c.hint {
			t.Errorf("%s: state %q, hint %q", name, state, hint)
		}
		if !errors.Is(got, io.EOF) || fault.ClassOf(got) != fault.Interrupted {
			t.Errorf("%s: it became %v", name, got)
		}
	}
}

func TestAPartIsCommittedIfTheReportOfItsRunSaysSo(t *testing.T) {
	t.Parallel()
	for want, r := range map[partEnd]*engine.Report{
		partBack:    {Run: "R1"},
		partForward: {Run: "R1", Done: []string{"pg1: run the DDL"}, Outputs: map[string]string{effect.DDLPosition: "0/5000100"}},
		partOpen:    {Run: "R1", Done: []string{"pg1: lock"}},
	} {
		if got := partEndOf(r); got != want {
			t.Errorf("%+v: %d, want %d", r, got, want)
		}
	}
	if got := partEndOf(nil); got != partOpen {
		t.Errorf("without a report: %d", got)
	}
}

// TestTheFlagsThatWereGivenAreSaidAgain: without them the rest of the file would be run as
// another role, or in another mode.
func TestTheFlagsThatWereGivenAreSaidAgain(t *testing.T) {
	t.Parallel()
	cmd := (&app{}).ddlDeployCommand()
	args := []string{"--database", "shop", "--from", "2", "--role", "the owner", "--mode=gate", "--lock-wait", "5m", "--allow-rewrite", "--terminate-idle=false", "--dry-run=false"}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	script, err := ddl.Parse("it's.sql", []byte("TRUNCATE a"), 15)
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{o: rollout{database: "shop", given: givenFlags(cmd)}, script: script}
	const want = `pgrepctl ddl deploy 'it'\''s.sql' --database shop --from 3 --allow-rewrite --lock-wait 5m0s --mode gate --role 'the owner' --terminate-idle=false`
	if got := d.again(3); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
