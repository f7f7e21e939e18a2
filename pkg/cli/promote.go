package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// promotion is what the user asked for.
type promotion struct {
	host    string
	stop    bool
	gone    bool
	without []string
}

func (a *app) promoteCommand() *cobra.Command {
	var r promotion
	cmd := &cobra.Command{
		Use:   "promote HOST",
		Short: "Make a standby the primary, and let the other standbys follow it",
		Long: `Make a standby the primary. While the old primary runs this is refused; with
--stop-primary it is shut down cleanly first and fenced (it can only start
read-only), and the standby is promoted when it has replayed the last record of it:
no commit is lost. --primary-gone is for one that cannot be reached: it shows up to where
the standby has WAL, and is refused while another standby has more.

Before the promotion the other standbys get their rules and slots on the new primary;
after it they are re-pointed, and it is waited until each has replayed what the new
primary wrote. One with an apply_delay is not waited for: it streams when it has replayed
what it has. The slot by which the new primary streamed from another standby is dropped.

The promotion is a point of no return; up to it, "pgrepctl runs undo" starts the old
primary again. The cluster lock and the copy of the journal are on the host that is
promoted. The last lines say what to change in the inventory.

This is no automatic failover: nobody is watched, and nothing is decided here.`,
		Example: `  pgrepctl standby promote pg2 --stop-primary --dry-run
  pgrepctl standby promote pg2 --stop-primary
  pgrepctl standby promote pg2 --primary-gone --without pg4`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.host = args[0]
			return a.promote(cmd, r)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&r.stop, "stop-primary", false, "shut the old primary down first, and fence it")
	f.BoolVar(&r.gone, "primary-gone", false, "the old primary cannot be reached: promote with what the standby has")
	f.StringSliceVar(&r.without, "without", nil, "do not re-point this standby, which cannot be reached: `HOST` (repeatable)")
	a.actFlags(cmd)
	return cmd
}

func (a *app) promote(cmd *cobra.Command, r promotion) error {
	if r.stop && r.gone {
		return usage(cmd, errors.New("--stop-primary and --primary-gone: give one of them"))
	}
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(cmd.Context())
	h, err := standbyNamed(s.inv, r.host)
	if err != nil {
		return err
	}
	name, vars := r.plan(s.inv, h)
	p, err := a.builtinPlan(s.inv, name, vars)
	if err != nil {
		return err
	}
	if err := a.act(cmd.Context(), s, p); err != nil {
		return r.explain(s.inv, err)
	}
	if !a.dryRun && !a.set.Quiet() {
		for _, line := range r.next(s.inv, h) {
			fmt.Fprintln(a.Err, a.withInventory(line))
		}
	}
	return nil
}

// plan is the built-in plan, with its variables.
func (r promotion) plan(inv *inventory.Cluster, h *inventory.Host) (string, map[string]string) {
	vars := map[string]string{"standby": r.host, "without": strings.Join(r.without, ",")}
	if up := h.UpstreamName; r.cascaded(inv, h) && !slices.Contains(r.without, up) {
		vars["upstream"] = up
	}
	switch {
	case r.gone:
		return "promote-standby-alone", vars
	case r.stop:
		vars["primary"] = "stop"
	default:
		vars["primary"] = "refuse"
	}
	return "promote-standby", vars
}

// cascaded: another standby has its slot, which would keep WAL until the disk is full.
func (r promotion) cascaded(inv *inventory.Cluster, h *inventory.Host) bool {
	return h.Slot != "" && h.UpstreamName != inv.Primary().Name
}

// explain adds the way round a host that does not answer.
func (r promotion) explain(inv *inventory.Cluster, err error) error {
	names := away(inv, err)
	if len(names) == 0 || fault.ClassOf(err) != fault.Unreachable || slices.Contains(names, r.host) {
		return err
	}
	primary := inv.Primary().Name
	others := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == primary })
	without := strings.Join(append(slices.Clone(r.without), others...), ",")
	switch {
	case len(others) == len(names):
		return wayRound(err, "to leave out "+strings.Join(others, ", ")+": the same command with --without "+without)
	case without == "":
		return wayRound(err, "if it is lost: pgrepctl standby promote "+r.host+" --primary-gone")
	}
	return wayRound(err, "if "+primary+" is lost: pgrepctl standby promote "+r.host+" --primary-gone --without "+without)
}

// next is what is left to the user.
func (r promotion) next(inv *inventory.Cluster, h *inventory.Host) []string {
	old := inv.Primary()
	out := []string{fmt.Sprintf("next: in %s, say role: primary for %s, and no upstream", h.Pos, h.Name),
		fmt.Sprintf("next: in %s, say role: standby for %s", old.Pos, old.Name),
		fmt.Sprintf("next: wherever the inventory says upstream: %s, say upstream: %s", old.Name, h.Name)}
	if up := h.UpstreamName; r.cascaded(inv, h) && slices.Contains(r.without, up) {
		out = append(out, fmt.Sprintf("then, once %s answers, to drop slot %s, by which %s streamed from it, and which keeps WAL: pgrepctl slot prune --on %s", up, h.Slot, h.Name, up))
	}
	for _, d := range inv.Downstreams(old) {
		if d != h && d.ApplyDelay > 0 && !slices.Contains(r.without, d.Name) {
			out = append(out, provenLater(d, h.Name))
		}
	}
	if r.gone {
		return append(out, fmt.Sprintf("%s IS NOT FENCED: it must not start as a primary again; stopped, it becomes a standby by: pgrepctl standby reseed %s", old.Name, old.Name))
	}
	return append(out, fmt.Sprintf("then, to make a standby of the old primary, with the data that it has: pgrepctl standby bootstrap %s", old.Name),
		fmt.Sprintf("then, to drop the slots that its standbys had there, which keep WAL: pgrepctl slot prune --on %s", old.Name))
}

// provenLater is said of a delayed standby, which is re-pointed and not waited for.
func provenLater(d *inventory.Host, to string) string {
	return fmt.Sprintf("then, when %s has replayed what it has, %s late as it should, to prove that it streams from %s: pgrepctl standby verify %s", d.Name, d.ApplyDelay, to, d.Name)
}
