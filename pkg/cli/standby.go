package cli

import "github.com/spf13/cobra"

func (a *app) standbyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "standby", Short: "Make, seed again, verify, promote and retire standbys"}
	var how copying
	boot := &cobra.Command{
		Use:   "bootstrap HOST",
		Short: "Make a streaming standby of an empty host, and prove it",
		Long: `Make the host a streaming standby of its upstream: role, pg_hba.conf, slot, base
backup with rsync, standby.signal, start; done only when its upstream shows it
streaming and it has replayed what was written after its start.

The plan is shown first; it is the same that "pgrepctl plans show bootstrap-standby"
prints. A second call finds everything in place and says so, step by step. A call
after an interruption goes on where the last one ended.

What the standby is for comes from the inventory: upstream, apply_delay, synchronous
and archive. A call for a standby that runs makes it what the inventory says now.`,
		Example: `  pgrepctl standby bootstrap pg2 --dry-run
  pgrepctl standby bootstrap pg2 --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := how.check(cmd); err != nil {
				return err
			}
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			if _, err := standbyNamed(s.inv, args[0]); err != nil {
				return err
			}
			if err := how.known(s.inv); err != nil {
				return err
			}
			p, err := a.builtinPlan(s.inv, "bootstrap-standby", how.vars(map[string]string{"standby": args[0]}))
			if err != nil {
				return err
			}
			return a.act(cmd.Context(), s, p)
		},
	}
	a.actFlags(boot)
	how.flags(boot)
	cmd.AddCommand(boot, a.verifyCommand(), a.reseedCommand(), a.retireCommand(), a.promoteCommand(), a.holdCommand())
	return cmd
}
