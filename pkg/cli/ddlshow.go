package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/ddl/live"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// reportDDL shows the result, and says by the exit code whether the script can be used.
func (a *app) reportDDL(r *ddlReport) error {
	problems := r.problems()
	var err error
	if a.set.Output() != "table" {
		err = a.encode(r)
	} else {
		err = a.showDDL(r, problems)
	}
	if err == nil && len(problems) > 0 {
		return &exitError{class: fault.Problems}
	}
	return err
}

// problems are why the script cannot be used as it is.
func (r *ddlReport) problems() []string {
	var out []string
	for i := range r.Statements {
		st := &r.Statements[i]
		if st.Class == ddl.Refuse {
			out = append(out, fmt.Sprintf("%s:%d:%d: refused: %s", r.File, st.Line, st.Column, st.Why))
		}
		for _, n := range st.Targets {
			if rel, ok := r.relation(n); ok && !rel.Exists && !n.Optional {
				out = append(out, fmt.Sprintf("%s:%d:%d: database %s has no relation %s", r.File, st.Line, st.Column, r.Database, n))
			}
		}
		if st.Probed != nil && st.Probed.Error != nil {
			out = append(out, refusal(r.File, st.Probed.Error))
		}
	}
	return out
}

// refusal is what the server said against a statement, where it said it.
func refusal(file string, e *ddl.ProbeError) string {
	text := fmt.Sprintf("%s:%d:%d: the server: %s (SQLSTATE %s)", file, e.Line, e.Column, e.Message, e.Code)
	for _, more := range []string{e.Detail, e.Hint} {
		if more != "" {
			text += "; " + more
		}
	}
	return text
}

// relation is what the database says of a name.
func (r *ddlReport) relation(n ddl.Name) (live.Relation, bool) {
	if n.Made {
		return live.Relation{}, false
	}
	for _, rel := range r.Relations {
		if rel.As.Is(n) {
			return rel, true
		}
	}
	return live.Relation{}, false
}

func (a *app) showDDL(r *ddlReport, problems []string) error {
	var rows [][]ui.Cell
	for i := range r.Statements {
		rows = append(rows, ddlRow(i, &r.Statements[i]))
	}
	header := []string{"#", "LINE", "COMMAND", "CLASS", "TRANSACTION", "TARGETS", "WHY"}
	if err := ui.Table(a.Out, header, rows, ui.TableOptions{Color: a.colorOn(a.Out), Right: []int{0, 1}}); err != nil {
		return err
	}
	if err := a.showRelations(r); err != nil {
		return err
	}
	var lines []string
	for i := range r.Statements {
		lines = append(lines, probedLines(i, &r.Statements[i])...)
	}
	lines = append(lines, warningLines(r.Statements)...)
	for _, p := range problems {
		lines = append(lines, "problem: "+p)
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(a.Out, l); err != nil {
			return err
		}
	}
	return nil
}

// warningLines say each thing once, and of which statements.
func warningLines(statements []ddl.Statement) []string {
	var order []ddl.Warning
	of := map[ddl.Warning][]string{}
	for i, st := range statements {
		for _, w := range st.Warnings {
			if of[w] == nil {
				order = append(order, w)
			}
			of[w] = append(of[w], strconv.Itoa(i+1))
		}
	}
	var lines []string
	for _, w := range order {
		lines = append(lines, fmt.Sprintf("warning: %s: %s: %s", strings.Join(of[w], ", "), w.ID, w.Text))
		if w.Hint != "" {
			lines = append(lines, "  hint: "+w.Hint)
		}
	}
	return lines
}

func ddlRow(i int, st *ddl.Statement) []ui.Cell {
	tx := "yes"
	if !st.Transactional {
		tx = "no"
	}
	var targets []string
	for _, n := range st.Targets {
		targets = append(targets, n.String())
	}
	row := ui.Row(strconv.Itoa(i+1), strconv.Itoa(st.Line), st.Command, st.Class.String(), tx, strings.Join(targets, ", "), st.Why)
	switch st.Class {
	case ddl.Refuse:
		row[3].Style = ui.Bad
	case ddl.Rewrite:
		row[3].Style = ui.Warn
	}
	return row
}

// probedLines say what the probe saw that the table above does not show.
func probedLines(i int, st *ddl.Statement) []string {
	p := st.Probed
	if p == nil || p.Error != nil {
		return nil
	}
	var out []string
	say := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("probe: %d: ", i+1)+fmt.Sprintf(format, args...))
	}
	switch {
	case p.Skipped != "":
		say("not run: %s", p.Skipped)
	case st.Differs():
		say("%s, where the table has %s", st.Class, p.Table)
	}
	var more []string
	for _, n := range st.Unnamed() {
		more = append(more, n.String())
	}
	if len(more) > 0 {
		say("locks also %s, which it does not name", strings.Join(more, ", "))
	}
	return out
}

func (a *app) showRelations(r *ddlReport) error {
	if len(r.Relations) == 0 {
		return nil
	}
	var rows [][]ui.Cell
	for _, rel := range r.Relations {
		if !rel.Exists {
			row := ui.Row(rel.As.String(), "not there")
			row[1].Style = ui.Warn
			rows = append(rows, row)
			continue
		}
		count, estimate := "", ""
		if rel.Rows >= 0 {
			count = strconv.FormatInt(rel.Rows, 10)
		}
		size := ""
		if rel.Bytes >= 0 {
			size = ui.Bytes(rel.Bytes)
		}
		if r.rewritten(rel) && rel.Bytes >= 0 {
			estimate = ui.Span(max(live.RewriteTime(rel.Bytes), time.Second))
		}
		rows = append(rows, ui.Row(rel.Named(), rel.Kind, size, count, estimate, heldBy(rel.Holders)))
	}
	if _, err := fmt.Fprintf(a.Out, "\non %s, database %s, PostgreSQL %s:\n", r.Primary, r.Database, r.Version); err != nil {
		return err
	}
	return ui.Table(a.Out, []string{"RELATION", "KIND", "SIZE", "ROWS", "REWRITE", "LOCKED BY"}, rows, ui.TableOptions{Color: a.colorOn(a.Out), Right: []int{2, 3}})
}

// rewritten: a statement may write the relation anew.
func (r *ddlReport) rewritten(rel live.Relation) bool {
	return slices.ContainsFunc(r.Statements, rel.RewrittenBy)
}

// heldBy names the sessions with locks, the oldest first: a change waits for those.
func heldBy(holders []live.Holder) string {
	var out []string
	for _, h := range holders {
		who := "a prepared transaction"
		if h.PID != 0 {
			who = fmt.Sprintf("%d %s (%s, %s, %s)", h.PID, h.User, h.Mode, h.State, ui.Span(time.Duration(h.Seconds)*time.Second))
		}
		out = append(out, who)
	}
	return strings.Join(out, ", ")
}
