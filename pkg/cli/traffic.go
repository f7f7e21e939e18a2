package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) trafficCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "traffic", Short: "See and steer where reads go"}
	last := false
	drain := &cobra.Command{
		Use: "drain HOST", Short: "Keep reads away from a standby, and wait until nobody reads from it", Args: cobra.ExactArgs(1),
		Long: `Tell every balancer of the inventory to send no new session to the standby, and wait
until no balancer shows a session and the server has no client, three times running.
No session is cut, unless the inventory says that clients read again (clients_retry).
The last server that serves is not drained. If none serves just now, none that runs is
drained either: its check may pass again.

"pgrepctl runs undo RUN" makes of each balancer what it was before; so does
"pgrepctl traffic restore HOST", unless a server was in maintenance before.`,
		Example: "  pgrepctl traffic drain pg2",
		RunE: func(cmd *cobra.Command, args []string) error {
			vars := map[string]string{"standby": args[0]}
			if last {
				vars["if-last"] = "drain"
			}
			return a.steer(cmd.Context(), "drain-traffic", vars)
		},
	}
	drain.Flags().BoolVar(&last, "last", false, "drain it also when no other server would serve")
	restore := &cobra.Command{
		Use: "restore HOST", Short: "Let reads in to a standby again", Args: cobra.ExactArgs(1),
		Long: `Tell every balancer of the inventory to send sessions to the standby again, and wait
until its own check finds the server fit. A standby that does not stream, or whose
replay is paused, is refused.`,
		Example: "  pgrepctl traffic restore pg2",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), "restore-traffic", map[string]string{"standby": args[0]})
		},
	}
	a.actFlags(drain)
	a.actFlags(restore)
	cmd.AddCommand(a.trafficShowCommand(), drain, restore)
	return cmd
}

// steer runs a built-in plan about the traffic of one standby.
func (a *app) steer(ctx context.Context, name string, vars map[string]string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	if _, err := standbyNamed(s.inv, vars["standby"]); err != nil {
		return err
	}
	p, err := a.builtinPlan(s.inv, name, vars)
	if err != nil {
		return err
	}
	return a.act(ctx, s, p)
}
