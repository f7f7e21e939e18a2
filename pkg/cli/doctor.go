package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/doctor"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [STANDBY]",
		Short: "Check what must hold before a bootstrap; nothing is changed",
		Long: `Examine every host, or with a name what a bootstrap of that standby needs. Each finding
has an id and a severity: block (a bootstrap refuses, unless it is accepted with
--accept ID), warn, note. Ends with 3 when anything blocks. docs/doctor.md lists the
checks.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			scope, hosts := doctor.Scope{}, s.inv.Hosts
			if len(args) == 1 {
				h, err := standbyNamed(s.inv, args[0])
				if err != nil {
					return err
				}
				scope.Standby = h.Name
				hosts = nil
				for _, x := range s.inv.Hosts {
					if x == h || x == s.inv.Primary() || x == s.inv.Upstream(h) {
						hosts = append(hosts, x)
					}
				}
			}
			got := map[string]*facts.Host{}
			var unreachable []error
			for name, res := range a.look(cmd.Context(), s, hosts) {
				if res.Err != nil {
					unreachable = append(unreachable, res.Err)
					continue
				}
				got[name] = res.Facts
			}
			scope.Retired = s.retired()
			found, err := doctor.Examine(cmd.Context(), s.inv, got, scope)
			if err != nil {
				return errors.Join(append(unreachable, err)...)
			}
			return errors.Join(append(unreachable, a.showFindings(found, len(unreachable)))...)
		},
	}
	cmd.Flags().StringSliceVar(&a.accept, "accept", nil, "leave out the check that has this `ID` (repeatable)")
	return cmd
}

// standbyNamed is a standby of the inventory that the user named.
func standbyNamed(inv *inventory.Cluster, name string) (*inventory.Host, error) {
	h, ok := inv.Host(name)
	if ok && inv.Upstream(h) != nil {
		return h, nil
	}
	var standbys []string
	for _, x := range inv.Hosts {
		if inv.Upstream(x) != nil {
			standbys = append(standbys, x.Name)
		}
	}
	text := name + " is the primary in the inventory"
	if !ok {
		text = fault.Unknown(fmt.Sprintf("no host %q in the inventory", name), name, standbys)
	}
	return nil, &fault.Error{Class: fault.Usage, Err: errors.New(text), Hint: "pgrepctl inventory graph"}
}

// findings is what the checks found.
type findings struct {
	Format   string           `json:"format"`
	Findings []doctor.Finding `json:"findings"`
}

func (a *app) showFindings(found []doctor.Finding, unasked int) error {
	block, _, err := doctor.Accept(found, a.accept)
	if err != nil {
		return &fault.Error{Class: fault.Usage, Err: err, Hint: "docs/doctor.md lists the checks"}
	}
	for i := range found {
		found[i].Remedy = a.withInventory(found[i].Remedy)
	}
	if a.set.Output() != "table" {
		err = a.encode(findings{"pgrepctl.doctor/v1", append([]doctor.Finding{}, found...)}) // none is [], not null
	} else {
		err = a.findingsTable(found, unasked)
	}
	if err == nil && len(block) > 0 {
		return &exitError{class: fault.Problems}
	}
	return err
}

func (a *app) findingsTable(found []doctor.Finding, unasked int) error {
	if len(found) == 0 {
		if unasked > 0 {
			_, err := fmt.Fprintf(a.Out, "%d checks, nothing found on the hosts that answered; %d did not\n", len(doctor.Checks()), unasked)
			return err
		}
		_, err := fmt.Fprintf(a.Out, "%d checks, nothing found\n", len(doctor.Checks()))
		return err
	}
	for _, f := range found {
		style := ui.Normal
		switch f.Severity {
		case doctor.Block:
			style = ui.Bad
		case doctor.Warn:
			style = ui.Warn
		}
		row := ui.Row(string(f.Severity), f.Host, f.ID, f.Found)
		row[0].Style = style
		if err := ui.Table(a.Out, nil, [][]ui.Cell{row}, ui.TableOptions{Color: a.colorOn(a.Out)}); err != nil {
			return err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintln(a.Out, "      remedy: "+f.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}
