package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// partEnd is what became of a part of a file that failed.
type partEnd int

const (
	// partBack: nothing of it is left.
	partBack partEnd = iota
	// partForward: it is committed, or done by half, and whoever goes on with its run does the
	// rest. To run it again would do it twice.
	partForward
	// partOpen: it is neither, as far as is known here.
	partOpen
)

// partEndOf is what the report of a run tells of its part, where its journal cannot be read. No
// report is of a run that did not begin, or that somebody else went on with.
func partEndOf(r *engine.Report) partEnd {
	switch {
	case r == nil:
		return partOpen
	case r.Outputs[effect.DDLPosition] != "":
		return partForward
	case len(r.Done) > 0:
		return partOpen
	}
	return partBack
}

// goOn says of a part that failed how many of the file are deployed, and with which one it is
// gone on with. What is committed counts: its own run does the rest of it.
func (d *deployment) goOn(i int, end partEnd, err error) error {
	n, deployed := len(d.parts), i
	if end == partForward {
		deployed++
	}
	if n == 1 || deployed == 0 && end == partBack {
		return err // the error alone says it
	}
	out := &fault.Error{Class: fault.ClassOf(err), Err: err, State: fmt.Sprintf("of %d parts of the file %d are deployed", n, deployed)}
	switch next := d.again(deployed + 1); {
	case end == partOpen:
		out.Hint = fmt.Sprintf("whether part %d is committed: pgrepctl ddl status; to go on then, if it is not: %s", i+1, next)
		if i+1 < n {
			out.Hint += "; if it is: " + d.again(i+2)
		}
	case deployed < n:
		out.Hint = "to go on after that: " + next
	}
	return out
}

// again is the command that was typed, from another part on.
func (d *deployment) again(part int) string {
	words := append([]string{"pgrepctl", "ddl", "deploy", d.script.File, "--database", d.o.database, "--from", strconv.Itoa(part)}, d.o.given...)
	line, err := shell.Quote(words...)
	if err != nil { // a NUL, which no argument has
		return strings.Join(words, " ")
	}
	return line
}

// givenFlags are those of a rollout that were given, as words. --database and --from are
// left out: whoever types the command again says them anyway.
func givenFlags(cmd *cobra.Command) []string {
	var out []string
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		switch value := f.Value.String(); {
		case !f.Changed, f.Name == "database", f.Name == "from", f.Name == "dry-run":
		case f.Value.Type() != "bool":
			out = append(out, "--"+f.Name, value)
		case value == "true":
			out = append(out, "--"+f.Name)
		default:
			out = append(out, "--"+f.Name+"="+value)
		}
	})
	return out
}
