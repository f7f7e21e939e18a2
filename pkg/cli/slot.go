package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

func (a *app) slotCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "slot", Short: "See, make, drop and limit replication slots"}
	cmd.AddCommand(a.slotListCommand(), a.slotCreateCommand(), a.slotDropCommand(), a.slotPruneCommand(), a.slotLimitCommand())
	return cmd
}

func (a *app) slotCreateCommand() *cobra.Command {
	var on, standby string
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Make a physical slot, which keeps WAL from now on",
		Long: `Make a physical replication slot. With --for it is the slot that the inventory gives a
standby, on the upstream that the inventory gives it, and NAME is not needed. Without
--for it is for a receiver that the inventory does not know: "slot list" calls it an
orphan, and "slot prune" drops it while nobody uses it.

The slot keeps WAL from its creation on, until somebody uses it or drops it.`,
		Example: `  pgrepctl slot create --for pg3 --dry-run
  pgrepctl slot create --for pg3
  pgrepctl slot create receiver --on pg1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runSlotPlan(cmd, "create-slot", func(inv *inventory.Cluster) (map[string]string, error) {
				if standby == "" {
					if len(args) == 0 {
						return nil, usage(cmd, errors.New("want the NAME of a slot, or --for STANDBY"))
					}
					return senderVars(inv, on, map[string]string{"slot": args[0]})
				}
				h, err := standbyNamed(inv, standby)
				switch {
				case err != nil:
					return nil, err
				case h.Slot == "":
					return nil, fault.Refuse("", "replication: {slots: true}, in the inventory", fmt.Errorf("the inventory wants no slot for %s", h.Name))
				case len(args) == 1 && args[0] != h.Slot:
					return nil, usage(cmd, fmt.Errorf("the slot of %s is %s in the inventory, not %s", h.Name, h.Slot, args[0]))
				case on != "" && on != h.UpstreamName:
					return nil, usage(cmd, fmt.Errorf("the upstream of %s is %s in the inventory, not %s", h.Name, h.UpstreamName, on))
				}
				return map[string]string{"slot": h.Slot, "host": h.UpstreamName, "standby": h.Name}, nil
			})
		},
	}
	cmd.Flags().StringVar(&on, "on", "", "the `HOST` to make it on (default: the primary)")
	cmd.Flags().StringVar(&standby, "for", "", "the `STANDBY` of the inventory that it is for")
	a.actFlags(cmd)
	return cmd
}

func (a *app) slotDropCommand() *cobra.Command {
	var on, of string
	var terminate bool
	cmd := &cobra.Command{
		Use:   "drop NAME",
		Short: "Drop a physical slot that nobody needs",
		Long: `Drop a physical replication slot, so that the WAL that it keeps can go. Refused:

  a slot that a standby of the inventory needs   unless --of names that standby
  a slot that is in use                          unless --terminate ends its walsender, or
                                                 its standby's server does not run
  a logical or temporary slot                    always

Where there is no such slot nothing is done, and it is said which host has one of that name.
"runs undo" makes the slot again. WAL that went meanwhile does not come back.`,
		Example: `  pgrepctl slot drop old_replica --on pg1 --dry-run
  pgrepctl slot drop old_replica --on pg1
  pgrepctl slot drop pg3 --on pg2 --of pg3`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runSlotPlanThen(cmd, "drop-slot", func(inv *inventory.Cluster) (map[string]string, error) {
				if of != "" {
					if _, err := hostNamed(inv, of); err != nil {
						return nil, err
					}
				}
				return senderVars(inv, on, map[string]string{"slot": args[0], "of": of, "terminate": strconv.FormatBool(terminate)})
			}, func(s *session, p *plan.Plan, pre *engine.Preview) {
				if pre.Effects() == 0 && pre.Run == "" {
					a.saySlotElsewhere(cmd.Context(), s, p.Vars["host"], args[0])
				}
			})
		},
	}
	cmd.Flags().StringVar(&on, "on", "", "the `HOST` that it is on (default: the primary)")
	cmd.Flags().StringVar(&of, "of", "", "the `STANDBY` of the inventory whose slot it is, and that needs it no longer")
	cmd.Flags().BoolVar(&terminate, "terminate", false, "end the walsender that uses it")
	a.actFlags(cmd)
	return cmd
}

func (a *app) slotPruneCommand() *cobra.Command {
	var on string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Drop every physical slot that no host of the inventory has and nobody uses",
		Long: `Drop all orphans, on every host of the inventory or on one: physical slots that no host
of the inventory is to stream by or is set to, and that nobody uses now. What is in use,
logical or temporary stays, and so does the slot of a standby that is down: while a
standby of the inventory cannot be read, every slot that may be its own stays, and the
plan names that standby. "slot drop" drops one by its name.

A receiver that the inventory does not know, and that is away for a while, loses its slot.
The plan names each slot before it asks.`,
		Example: `  pgrepctl slot prune --dry-run
  pgrepctl slot prune --on pg1 --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.runSlotPlan(cmd, "prune-slots", func(inv *inventory.Cluster) (map[string]string, error) {
				if on == "" {
					return nil, nil // the plan's default: all
				}
				h, err := hostNamed(inv, on)
				if err != nil {
					return nil, err
				}
				return map[string]string{"hosts": h.Name}, nil
			})
			if on == "" && fault.ClassOf(err) == fault.Unreachable {
				return wayRound(err, "to look at one host alone, while the primary answers: pgrepctl slot prune --on HOST")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&on, "on", "", "the only `HOST` to look at, such as when another is out of reach (default: every host)")
	a.actFlags(cmd)
	return cmd
}

func (a *app) slotLimitCommand() *cobra.Command {
	var on string
	cmd := &cobra.Command{
		Use:   "limit SIZE|none",
		Short: "Set how much WAL a slot may keep: max_slot_wal_keep_size",
		Long: `Set max_slot_wal_keep_size (PostgreSQL 13 and later) in postgresql.conf, and reload. A slot
that keeps more loses WAL at the next checkpoint, and its standby has to be made anew:
the primary's disk is worth more. SIZE has a unit, such as 50GB. Refused when a slot in use,
or one that a standby of the inventory needs, keeps more than that already.`,
		Example: `  pgrepctl slot limit 50GB --dry-run
  pgrepctl slot limit 50GB
  pgrepctl slot limit none --on pg2`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := withUnit(args[0]); err != nil {
				return usage(cmd, err)
			}
			return a.runSlotPlan(cmd, "limit-slots", func(inv *inventory.Cluster) (map[string]string, error) {
				return senderVars(inv, on, map[string]string{"size": args[0]})
			})
		},
	}
	cmd.Flags().StringVar(&on, "on", "", "the `HOST` to set it on (default: the primary)")
	a.actFlags(cmd)
	return cmd
}

// runSlotPlan runs a built-in plan with the variables that vars makes of the
// command line.
func (a *app) runSlotPlan(cmd *cobra.Command, name string, vars func(*inventory.Cluster) (map[string]string, error)) error {
	return a.runSlotPlanThen(cmd, name, vars, func(*session, *plan.Plan, *engine.Preview) {})
}

// runSlotPlanThen is runSlotPlan for a command that has something to say after it.
func (a *app) runSlotPlanThen(cmd *cobra.Command, name string, vars func(*inventory.Cluster) (map[string]string, error), then func(*session, *plan.Plan, *engine.Preview)) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(cmd.Context())
	values, err := vars(s.inv)
	if err != nil {
		return err
	}
	p, err := a.builtinPlan(s.inv, name, values)
	if err != nil {
		return wrongWord(cmd, err)
	}
	pre, err := s.Preview(cmd.Context(), p)
	if err != nil {
		return err
	}
	if _, err := a.applied(cmd.Context(), s, p, pre); err != nil {
		return err
	}
	then(s, p, pre)
	return nil
}

// withUnit refuses a number alone, which PostgreSQL takes for megabytes: who forgets the
// GB would have slots lose WAL.
func withUnit(size string) error {
	n, err := strconv.ParseInt(strings.TrimSpace(size), 0, 64)
	f, ferr := strconv.ParseFloat(strings.TrimSpace(size), 64)
	if err == nil && n > 0 || ferr == nil && f > 0 {
		return fmt.Errorf("size %q: want a unit, such as %sGB or %sMB", size, strings.TrimSpace(size), strings.TrimSpace(size))
	}
	return nil
}

// wrongWord: what is wrong with a built-in plan came from the command line.
func wrongWord(cmd *cobra.Command, err error) error {
	var problems inventory.Errors
	if !errors.As(err, &problems) || len(problems) != 1 {
		return err
	}
	return usage(cmd, errors.New(problems[0].Message))
}

// senderVars adds the host that --on names, or the primary.
func senderVars(inv *inventory.Cluster, on string, vars map[string]string) (map[string]string, error) {
	vars["host"] = inv.Primary().Name
	if on != "" {
		h, err := hostNamed(inv, on)
		if err != nil {
			return nil, err
		}
		vars["host"] = h.Name
	}
	return vars, nil
}

// hostNamed is a host of the inventory that the user named.
func hostNamed(inv *inventory.Cluster, name string) (*inventory.Host, error) {
	if h, ok := inv.Host(name); ok {
		return h, nil
	}
	text := fault.Unknown(fmt.Sprintf("no host %q in the inventory", name), name, inv.Names())
	return nil, &fault.Error{Class: fault.Usage, Err: errors.New(text), Hint: "pgrepctl inventory graph"}
}
