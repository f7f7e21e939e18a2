package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
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
			w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "HOST\tADDRESS\tPOWER\tCABLE\tRATE\tPARTED FROM")
			for _, h := range hosts {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.Address, h.Power, h.Cable, dash(h.Rate), dash(strings.Join(h.Parted, ",")))
			}
			return w.Flush()
		},
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
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
			w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "LAB\tHOSTS\tSTATE")
			for _, l := range list.Labs {
				if l.State == "broken" {
					fmt.Fprintf(w, "%s\t-\tbroken: pgrepctl lab down --name %s\n", l.Name, l.Name)
					continue
				}
				fmt.Fprintf(w, "%s\t%d\t%s\n", l.Name, l.Hosts, l.State)
			}
			return w.Flush()
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
