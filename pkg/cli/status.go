package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) statusCommand() *cobra.Command {
	var exitCode bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What is true of every host now: role, state, upstream, slot, lag",
		Long: `Ask every host at once. A host that does not answer within --connect-timeout is shown
as unreachable; the others are shown all the same. Below the table is what is wrong,
problems and warnings, each with the command to type next. A standby that a run of this
machine has retired, and that the inventory still has, is shown as retired.

With --watch it is shown again every 2 seconds, or --watch=INTERVAL: in place on a
terminal, else as one block after the other. A host that stops answering does not
hold up the others. Ctrl-C ends it, with exit code 0.

docs/status.md explains every column and every problem.`,
		Example: `  pgrepctl status
  pgrepctl status --watch
  pgrepctl status --watch=10s --plain >>status.log
  pgrepctl status --exit-code -o json | jq '.hosts[] | select(.state != "streaming")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			if cmd.Flags().Changed("watch") {
				return a.watch(cmd.Context(), cmd, s, every, func(w io.Writer, width int, seen map[string]status.Result) error {
					explainPauses(s.Dir, seen)
					r := status.Build(s.inv, seen, s.retired())
					r.At = now()
					return a.showStatus(w, width, r)
				})
			}
			seen := a.glance(cmd.Context(), s, s.inv.Hosts)
			if err := context.Cause(cmd.Context()); fault.ClassOf(err) == fault.Interrupted {
				return err // "unreachable" would be a lie
			}
			explainPauses(s.Dir, seen)
			r := status.Build(s.inv, seen, s.retired())
			r.At = now()
			if err := a.showStatus(a.Out, 0, r); err != nil {
				return err
			}
			if err := a.mentionOpenRuns(s, seen); err != nil {
				return err
			}
			if exitCode && !r.Healthy {
				return &exitError{class: fault.Problems}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 3 when there is a problem; warnings do not count")
	watchFlag(cmd, &every)
	return cmd
}

// now is the time of a result, as far as it is worth telling.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func (a *app) showStatus(w io.Writer, width int, r status.Report) error {
	for i := range r.Hosts {
		for j, n := range r.Hosts[i].Notes {
			r.Hosts[i].Notes[j].Hint = a.withInventory(n.Hint)
		}
	}
	if a.set.Output() != "table" {
		return a.encodeTo(w, r)
	}
	var rows [][]ui.Cell
	for i := range r.Hosts {
		rows = append(rows, statusRow(&r.Hosts[i]))
	}
	header := []string{"HOST", "ROLE", "STATE", "TL", "UPSTREAM", "SLOT", "LAG", "REPLAY"}
	if err := ui.Table(w, header, rows, ui.TableOptions{Color: a.colorOn(a.Out), Width: width}); err != nil {
		return err
	}
	for _, h := range r.Hosts {
		if err := a.showNotes(w, width, h.Host, h.Notes); err != nil {
			return err
		}
	}
	return nil
}

// showNotes writes what is wrong with a host, and what to type.
func (a *app) showNotes(w io.Writer, width int, host string, notes []status.Note) error {
	var lines [][]ui.Cell
	for _, n := range notes {
		lines = append(lines, []ui.Cell{{Text: fmt.Sprintf("%s: %s: %s", n.Severity, host, n.Text), Style: severityStyle(n.Severity)}})
		if n.Hint != "" {
			lines = append(lines, ui.Row("  hint: "+a.withInventory(n.Hint)))
		}
	}
	return ui.Table(w, nil, lines, ui.TableOptions{Color: a.colorOn(a.Out), Width: width})
}

func severityStyle(s status.Severity) ui.Style {
	switch s {
	case status.Problem:
		return ui.Bad
	case status.Warning:
		return ui.Warn
	}
	return ui.Normal
}

func statusRow(r *status.Row) []ui.Cell {
	role := string(r.Role)
	if role == "" {
		role = "?"
	}
	slot := r.Slot
	if slot != "" && r.SlotState != "" {
		slot += " " + string(r.SlotState)
	}
	cells := ui.Row(r.Host, role, string(r.State), "", r.Upstream, slot, "", "")
	cells[2].Style = severityStyle(r.Worst())
	if r.Timeline > 0 {
		cells[3].Text = strconv.Itoa(r.Timeline)
	}
	if r.LagBytes != nil {
		cells[6].Text = ui.Bytes(*r.LagBytes)
	}
	switch {
	case r.ReplayPaused:
		cells[7] = ui.Cell{Text: "paused", Style: ui.Warn}
	case r.LagSeconds != nil:
		cells[7].Text = ui.Span(time.Duration(*r.LagSeconds * float64(time.Second)))
	}
	return cells
}

// mentionOpenRuns names a run of this machine that is not finished, unless the
// primary has told of it.
func (a *app) mentionOpenRuns(s *session, seen map[string]status.Result) error {
	runs, err := journal.List(s.Dir)
	if err != nil {
		return err
	}
	told := func(id string) bool {
		for _, res := range seen {
			if res.Facts != nil && slices.ContainsFunc(res.Facts.Runs, func(r facts.Run) bool { return r.ID == id }) {
				return true
			}
		}
		return false
	}
	i := slices.IndexFunc(runs, func(r journal.Summary) bool { return r.Open() && !told(r.ID) })
	if i < 0 {
		return nil
	}
	r, p := runs[i], s.inv.Primary().Name
	ended := seen[p].Facts != nil && s.EndedElsewhere(r.ID)
	_, err = fmt.Fprintln(a.Err, a.withInventory(openRunText(s.Engine, r, p, ended)))
	return err
}

// openRunText is what an open run of this machine is, and what can be typed. Of one that
// goes on in another process nobody knows but its journal, while the primary, and so the
// lock, cannot be looked at.
func openRunText(e *engine.Engine, r journal.Summary, primary string, ended bool) string {
	run := fmt.Sprintf("run %s (%s, by %s)", r.ID, r.Plan, r.Operator)
	if busy, err := journal.Busy(r.Path); err == nil && busy {
		return run + " is still going on, in another process of this machine"
	}
	if ended {
		return fmt.Sprintf("%s is open in the journal of this machine, and %s has no copy of it: another operator has ended it\n  hint: to forget it: pgrepctl runs abandon %s", run, primary, r.ID)
	}
	return fmt.Sprintf("%s is not finished: %s\n  hint: %s", run, r.Status, e.WaysOut(r.ID))
}
