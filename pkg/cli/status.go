package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/semaphore"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) statusCommand() *cobra.Command {
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What is true of every host now: role, state, upstream, slot, lag",
		Long: `Ask every host at once. A host that does not answer within --connect-timeout is shown
as unreachable; the others are shown all the same.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			seen := a.look(cmd.Context(), s, s.inv.Hosts)
			if err := context.Cause(cmd.Context()); fault.ClassOf(err) == fault.Interrupted {
				return err // "unreachable" would be a lie
			}
			r := status.Build(s.inv, seen)
			if err := a.showStatus(r); err != nil {
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
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 3 when anything is wrong")
	return cmd
}

// look gathers the facts of hosts, side by side, each in bounded time.
func (a *app) look(ctx context.Context, s *session, hosts []*inventory.Host) map[string]status.Result {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]status.Result{}
	slots := semaphore.NewWeighted(int64(a.set.Parallel()))
	for _, h := range hosts {
		wg.Go(func() {
			var res status.Result
			if res.Err = slots.Acquire(ctx, 1); res.Err == nil {
				res.Facts, res.Err = s.facts(ctx, h.Name, gatherTimeout+cmp.Or(a.set.ConnectTimeout(), h.SSH.ConnectTimeout))
				slots.Release(1)
			}
			mu.Lock()
			defer mu.Unlock()
			out[h.Name] = res
		})
	}
	wg.Wait()
	return out
}

// gatherTimeout bounds the reading of one host's facts once it is connected: a
// frozen host keeps its connections.
const gatherTimeout = 10 * time.Second

func (a *app) showStatus(r status.Report) error {
	if a.set.Output() != "table" {
		return a.encode(r)
	}
	var rows [][]ui.Cell
	for i := range r.Hosts {
		rows = append(rows, statusRow(&r.Hosts[i]))
	}
	header := []string{"HOST", "ROLE", "STATE", "TL", "UPSTREAM", "SLOT", "LAG", "REPLAY"}
	if err := ui.Table(a.Out, header, rows, ui.TableOptions{Color: a.colorOn(a.Out)}); err != nil {
		return err
	}
	for _, h := range r.Hosts {
		for _, n := range h.Notes {
			line := fmt.Sprintf("%s: %s: %s", n.Severity, h.Host, n.Text)
			if n.Hint != "" {
				line += "\n  hint: " + n.Hint
			}
			if _, err := fmt.Fprintln(a.Out, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func statusRow(r *status.Row) []ui.Cell {
	style := ui.Normal
	switch r.Worst() {
	case status.Problem:
		style = ui.Bad
	case status.Warning:
		style = ui.Warn
	}
	role := string(r.Role)
	if role == "" {
		role = "?"
	}
	slot := r.Slot
	if slot != "" && r.SlotState != "" {
		slot += " " + string(r.SlotState)
	}
	cells := ui.Row(r.Host, role, string(r.State), "", r.Upstream, slot, "", "")
	cells[2].Style = style
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
	r := runs[i]
	if p := s.inv.Primary().Name; seen[p].Facts != nil && s.EndedElsewhere(r.ID) {
		_, err = fmt.Fprintf(a.Err, "run %s (%s, by %s) is open in the journal of this machine, and %s has no copy of it: another operator has ended it\n  hint: pgrepctl runs abandon %s forgets it\n", r.ID, r.Plan, r.Operator, p, r.ID)
		return err
	}
	_, err = fmt.Fprintf(a.Err, "run %s (%s, by %s) is not finished: %s\n  hint: pgrepctl runs resume %s, or pgrepctl runs undo %s\n", r.ID, r.Plan, r.Operator, r.Status, r.ID, r.ID)
	return err
}
