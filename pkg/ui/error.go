package ui

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// stderrLines is how much of a remote command's stderr is shown; the journal
// has all of it.
const stderrLines = 5

// ErrorOptions says how errors are printed.
type ErrorOptions struct{ Color bool }

// PrintError writes what went wrong, and what is known around it:
//
//	error: pg3: copy the data directory: rsync: exit status 12
//	  stderr: rsync error: error in rsync protocol data stream (code 12)
//	  state: pg3 is marked incomplete and cannot start
//	  hint:  pgrepctl runs resume 20261121T194000Z-7f3a
//
// Errors that were joined are printed each. Mistakes in an inventory come
// first, one a line as file:line:col, which editors can jump to.
func PrintError(w io.Writer, err error, o ErrorOptions) error {
	var b strings.Builder
	for _, r := range reports(err, "") {
		r.write(&b, o.Color)
	}
	_, werr := io.WriteString(w, b.String())
	return werr
}

// report is one printed error.
type report struct {
	places []string // file:line:col: message
	what   string
	stderr []string
	state  []string
	hint   []string
}

// reports takes an error's tree apart. before is what errors above added in
// front of the text of err.
func reports(err error, before string) []report {
	if err == nil {
		return nil
	}
	if many, ok := joined(err); ok {
		var all []report
		for _, one := range many {
			all = append(all, reports(one, before)...)
		}
		return all
	}
	if problems, ok := err.(inventory.Errors); ok {
		return []report{located(problems, before)}
	}
	causes := unwrap(err)
	if len(causes) == 1 {
		if prefix, ok := strings.CutSuffix(err.Error(), causes[0].Error()); ok {
			return enrich(reports(causes[0], before+prefix), err)
		}
	}
	// A sentence of its own: what is below has no words to add, but it may
	// know stderr, a state and a hint.
	one := report{what: before + err.Error()}
	for _, c := range causes {
		for _, r := range reports(c, "") {
			one.add(r)
		}
	}
	return enrich([]report{one}, err)
}

// unwrap returns the errors that err wraps.
func unwrap(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			return []error{cause}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// joined returns the parts of errors.Join, which prints each on a line of its
// own. fmt.Errorf with two %w has parts too, but is one sentence.
func joined(err error) ([]error, bool) {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil, false
	}
	parts := many.Unwrap()
	texts := make([]string, len(parts))
	for i, p := range parts {
		if p == nil {
			return nil, false
		}
		texts[i] = p.Error()
	}
	return parts, len(parts) > 0 && strings.Join(texts, "\n") == err.Error()
}

func located(problems inventory.Errors, before string) report {
	r := report{what: before + plural(len(problems), "mistake")}
	file := ""
	for _, p := range problems {
		r.places = append(r.places, p.String())
		file = p.File
	}
	if file != "" {
		r.what += " in " + file
	}
	return r
}

// enrich adds what err itself knows to the reports of what it wraps. It goes
// to the last one: its state and hint hold for all of them.
func enrich(all []report, err error) []report {
	if len(all) == 0 {
		return all
	}
	last := &all[len(all)-1]
	switch e := err.(type) {
	case *fault.Error:
		last.add(report{stderr: tail(e.Stderr), state: nonEmpty(e.State), hint: nonEmpty(e.Hint)})
	case *host.ExitError:
		last.add(report{stderr: tail(e.Stderr)})
	}
	return all
}

func tail(s string) []string {
	s = host.Tail(s, stderrLines)
	if s == "" {
		return nil
	}
	return cleanLines(s)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// add merges what an outer error knows. Of stderr the innermost is the source
// and the others are copies; outer states and hints come first, they were
// written later and know more.
func (r *report) add(outer report) {
	r.places = append(r.places, outer.places...)
	if len(r.stderr) == 0 {
		r.stderr = outer.stderr
	}
	r.state = unique(append(outer.state, r.state...))
	r.hint = unique(append(outer.hint, r.hint...))
}

func unique(in []string) []string {
	var out []string
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (r report) write(b *strings.Builder, color bool) {
	for _, p := range r.places {
		b.WriteString(clean(p) + "\n")
	}
	what := cleanLines(r.what)
	fmt.Fprintf(b, "%s %s\n", paint(color, Bad, "error:"), what[0])
	for _, l := range what[1:] {
		b.WriteString(strings.TrimRight("  "+l, " ") + "\n")
	}
	// A single line of stderr is mostly in the sentence already.
	if len(r.stderr) != 1 || !strings.Contains(r.what, r.stderr[0]) {
		for _, l := range r.stderr {
			b.WriteString("  " + paint(color, Dim, "stderr:") + " " + l + "\n")
		}
	}
	for _, s := range r.state {
		field(b, paint(color, Bold, "state:")+" ", s)
	}
	for _, s := range r.hint {
		field(b, paint(color, Bold, "hint:")+"  ", s)
	}
}

// field writes a labelled text; its further lines stand below the first.
func field(b *strings.Builder, label, text string) {
	lines := cleanLines(text)
	b.WriteString("  " + label + lines[0] + "\n")
	for _, l := range lines[1:] {
		b.WriteString(strings.TrimRight("         "+l, " ") + "\n")
	}
}
