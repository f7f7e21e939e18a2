package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// labHosts are the hosts of a lab, and what has been done to them.
type labHosts struct {
	Format string       `json:"format"`
	Lab    string       `json:"lab"`
	Hosts  []lab.Status `json:"hosts"`
}

func (a *app) labStatus(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the hosts of a lab: power, cable, partitions",
		Example: "  pgrepctl lab status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			hosts, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.set.Output() != "table" {
				return a.encode(labHosts{"pgrepctl.lab/v1", f.name, hosts})
			}
			var rows [][]ui.Cell
			for _, h := range hosts {
				rows = append(rows, ui.Row(h.Name, h.Address.String(), h.Power, h.Cable, h.Rate, strings.Join(h.Parted, ",")))
			}
			return ui.Table(a.Out, []string{"HOST", "ADDRESS", "POWER", "CABLE", "RATE", "PARTED FROM"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
		},
	}
}

// labs are those of this user.
type labs struct {
	Format string `json:"format"`
	Labs   []aLab `json:"labs"`
}

type aLab struct {
	Name  string `json:"name"`
	Hosts int    `json:"hosts"`
	State string `json:"state"` // up, or broken: only lab down helps
}

func (a *app) labList(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the labs of this user",
		Example: "  pgrepctl lab list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			names, err := lab.List(f.state)
			if err != nil {
				return err
			}
			list := labs{"pgrepctl.labs/v1", []aLab{}}
			for _, name := range names {
				found := aLab{Name: name, State: "broken"}
				if l, err := lab.Open(f.state, name); err == nil {
					found.Hosts, found.State = len(l.Hosts()), "up"
				}
				list.Labs = append(list.Labs, found)
			}
			if a.set.Output() != "table" {
				return a.encode(list)
			}
			var rows [][]ui.Cell
			for _, l := range list.Labs {
				if l.State == "broken" {
					rows = append(rows, ui.Row(l.Name, "", "broken: pgrepctl lab down --name "+l.Name))
					continue
				}
				rows = append(rows, ui.Row(l.Name, strconv.Itoa(l.Hosts), l.State))
			}
			return ui.Table(a.Out, []string{"LAB", "HOSTS", "STATE"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
		},
	}
}

// labFile is where the inventory of a lab is.
type labFile struct {
	Format    string `json:"format"`
	Lab       string `json:"lab"`
	Inventory string `json:"inventory"`
}

func (a *app) labInventory(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "inventory",
		Short:   "Print the path of the inventory file that describes a lab",
		Example: "  pgrepctl -i $(pgrepctl lab inventory) status",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			if a.set.Output() != "table" {
				return a.encode(labFile{"pgrepctl.lab-inventory/v1", f.name, l.InventoryPath()})
			}
			_, err = fmt.Fprintln(a.Out, l.InventoryPath())
			return err
		},
	}
}
