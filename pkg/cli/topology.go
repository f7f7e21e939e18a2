package cli

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) topologyCommand() *cobra.Command {
	var exitCode bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "What really streams from what, as a tree, and where the inventory says otherwise",
		Long: `Ask every host at once for its walsenders, its receiver and its slots, and draw what
streams from what. A host that does not stream stands where the inventory has it, and
says so. Clients that are no host of the inventory (pg_receivewal, a standby that nobody
wrote down) and slots that nobody uses are leaves.

Every difference from the inventory is marked, and explained below the tree with the
command to type next. "pgrepctl inventory graph" draws the inventory's own tree.`,
		Example: `  pgrepctl topology
  pgrepctl topology --watch=5s
  pgrepctl topology --exit-code -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			if cmd.Flags().Changed("watch") {
				return a.watch(cmd.Context(), cmd, s, every, func(w io.Writer, width int, seen map[string]status.Result) error {
					return a.showTopology(w, width, status.BuildTopology(s.inv, seen, s.retired()))
				})
			}
			seen := a.glance(cmd.Context(), s, s.inv.Hosts)
			if err := context.Cause(cmd.Context()); fault.ClassOf(err) == fault.Interrupted {
				return err
			}
			t := status.BuildTopology(s.inv, seen, s.retired())
			if err := a.showTopology(a.Out, 0, t); err != nil {
				return err
			}
			if exitCode && !t.Matches {
				return &exitError{class: fault.Problems}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 3 when anything is not as the inventory says")
	watchFlag(cmd, &every)
	return cmd
}

func (a *app) showTopology(w io.Writer, width int, t status.Topology) error {
	t.At = now()
	t.Walk(func(n *status.Node, _ []bool) {
		if n.Difference != nil {
			n.Difference.Hint = a.withInventory(n.Difference.Hint)
		}
	})
	if a.set.Output() != "table" {
		return a.encodeTo(w, t)
	}
	var rows [][]ui.Cell
	var marked []*status.Node
	t.Walk(func(n *status.Node, last []bool) {
		rows = append(rows, topologyRow(n, last))
		if n.Difference != nil {
			marked = append(marked, n)
		}
	})
	header := []string{"HOST", "STATE", "SLOT", "SYNC", "LAG", "DIFFERENCE"}
	if err := ui.Table(w, header, rows, ui.TableOptions{Color: a.colorOn(a.Out), Width: width}); err != nil {
		return err
	}
	for _, n := range marked {
		if n.Difference.Hint == "" {
			continue
		}
		name := n.Name
		if n.Kind == status.SlotNode {
			name = "slot " + name // it may have the name of a host
		}
		if err := a.showNotes(w, width, name, []status.Note{*n.Difference}); err != nil {
			return err
		}
	}
	return nil
}

func topologyRow(n *status.Node, last []bool) []ui.Cell {
	var tree strings.Builder
	for i, l := range last[1:] {
		switch own := i == len(last)-2; {
		case own && l:
			tree.WriteString("└─ ")
		case own:
			tree.WriteString("├─ ")
		case l:
			tree.WriteString("   ")
		default:
			tree.WriteString("│  ")
		}
	}
	name := n.Name
	switch {
	case n.Kind == status.SlotNode:
		name = "slot " + name
	case n.Address != "":
		name += " (" + n.Address + ")"
	}
	cells := ui.Row(tree.String()+name, n.State, n.Slot, n.Sync, "", "")
	if n.LagBytes != nil {
		cells[4].Text = ui.Bytes(*n.LagBytes)
	}
	if d := n.Difference; d != nil {
		style := severityStyle(d.Severity)
		cells[0].Style, cells[1].Style, cells[5] = style, style, ui.Cell{Text: d.Text, Style: style}
	}
	return cells
}
