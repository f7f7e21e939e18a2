package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// convergeFlags are those that plan and apply have in common: they choose what is
// planned.
type convergeFlags struct {
	restart  string
	prune    bool
	exitCode bool
	without  []string
}

func (f *convergeFlags) add(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.restart, "restart", "no", "what needs a restart (`no|rolling`): no leaves it, rolling restarts one server at a time, in the order that standbys need")
	cmd.Flags().BoolVar(&f.prune, "prune", false, "drop the replication slots that nobody uses and no host of the inventory has")
	cmd.Flags().BoolVar(&f.exitCode, "exit-code", false, "end with 2 when a host is not as the inventory says")
	// What others call --detailed-exitcode is --exit-code, as of status and the like.
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "detailed-exitcode" {
			name = "exit-code"
		}
		return pflag.NormalizedName(name)
	})
	cmd.Flags().StringSliceVar(&f.without, "without", nil, "do not look at this `HOST`, which cannot be reached, nor at what streams from it (repeatable)")
	cmd.Flags().StringSliceVar(&a.accept, "accept", nil, "skip the check of pgrepctl doctor that has this `ID` (repeatable)")
}

// load makes the plan for the whole inventory.
func (f *convergeFlags) load(cmd *cobra.Command, a *app, s *session) (*plan.Plan, error) {
	if f.restart != "no" && f.restart != "rolling" {
		return nil, usage(cmd, fmt.Errorf("--restart %q: want no or rolling", f.restart))
	}
	for _, name := range f.without {
		if _, err := hostNamed(s.inv, name); err != nil {
			return nil, err
		}
	}
	vars := map[string]string{"restart": f.restart, "orphans": "reported", "without": strings.Join(below(s.inv, f.without), ",")}
	switch {
	case f.prune && len(f.without) > 0:
		return nil, usage(cmd, errors.New("--prune and --without: a host that is not looked at may need a slot that seems to be nobody's"))
	case f.prune:
		vars["orphans"] = "absent"
	}
	return a.builtinPlan(s.inv, "converge", vars)
}

// below are hosts and all that stream from them: without their upstream nothing can be
// planned for those.
func below(inv *inventory.Cluster, names []string) []string {
	out := slices.Clone(names)
	for i := 0; i < len(out); i++ {
		h, ok := inv.Host(out[i])
		if !ok {
			continue
		}
		for _, d := range inv.Downstreams(h) {
			if !slices.Contains(out, d.Name) {
				out = append(out, d.Name)
			}
		}
	}
	return out
}

// explain adds the way round a host that does not answer, or lets nobody in.
func (f *convergeFlags) explain(inv *inventory.Cluster, retired map[string]member.Retirement, err error) error {
	names := away(inv, err)
	if len(names) == 0 || slices.Contains(names, inv.Primary().Name) {
		return err
	}
	what := "it"
	if len(names) > 1 {
		what = "them"
	}
	hint := "to leave " + what + " out: the same command with --without " + strings.Join(append(slices.Clone(f.without), names...), ",")
	for _, name := range names {
		if r, ok := retired[name]; ok {
			hint = name + " is retired (run " + r.Run + "), and the inventory still has it: " + r.Delete + "; " + hint
		}
	}
	return wayRound(err, hint)
}

// unseen says which hosts a plan has left out.
func (a *app) unseen(p *plan.Plan) {
	for _, name := range p.Without {
		more := ""
		if h, ok := p.Cluster.Host(name); ok && slices.Contains(p.Without, h.UpstreamName) {
			more = ", which streams from " + h.UpstreamName
		}
		fmt.Fprintf(a.Err, "not looked at: %s%s\n", name, more)
	}
}

// exit ends with 2 when it was asked for and pending is true.
func (f *convergeFlags) exit(pending bool) error {
	if f.exitCode && pending {
		return &exitError{class: fault.Pending}
	}
	return nil
}

func (a *app) planCommand() *cobra.Command {
	var f convergeFlags
	var out string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what differs between the inventory and the hosts; nothing is changed",
		Long: `Compare every host with the inventory, and show the steps that would make it so:
standbys that are missing, settings, rules of pg_hba.conf, slots, and what a standby is
told of its upstream. What is already in place is shown only with -v.

A host that does not answer, or that nothing can be planned for, ends it; all that do not
answer are named. With --without HOST,... what is on those hosts, and on what streams from
them, is not looked at.

What needs a restart is marked "*" and left, unless --restart=rolling plans the restarts
too. Slots that nobody uses are named, with the command that drops them, and left.

With --out the plan is saved, bound to the facts that it was made from, for
"pgrepctl apply FILE". The file holds no password.`,
		Example: `  pgrepctl plan
  pgrepctl plan --exit-code
  pgrepctl plan --restart rolling --out shop.plan
  pgrepctl plan --without pg4`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			p, err := f.load(cmd, a, s)
			if err != nil {
				return err
			}
			pre, err := s.Preview(cmd.Context(), p)
			if err == nil {
				err = refuseRetired(s, pre)
			}
			if err != nil {
				return f.explain(s.inv, s.retired(), err)
			}
			if out != "" {
				if err := savePlan(s.Engine, p, pre, out); err != nil {
					return err
				}
			}
			a.brief, a.dryRun = a.set.Verbose() == 0, true
			if err := a.confirmed(cmd.Context(), s, pre, nil); err != nil {
				return err
			}
			a.unseen(p)
			if out != "" {
				fmt.Fprintf(a.Err, "saved; to do this, and nothing else: %s\n", a.withInventory("pgrepctl apply "+out))
			}
			return f.exit(pre.Effects() > 0 || pre.Pending() > 0)
		},
	}
	f.add(a, cmd)
	cmd.Flags().StringVar(&out, "out", "", "save the plan in this `FILE`")
	return cmd
}

// savePlan writes the file anew, for its owner alone.
func savePlan(e *engine.Engine, p *plan.Plan, pre *engine.Preview, name string) error {
	saved, err := e.Save(p, pre)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".pgrepctl-plan-") // 0600
	if err == nil {
		if err = errors.Join(ui.JSON(f, saved), f.Sync(), f.Close()); err == nil {
			err = os.Rename(f.Name(), name)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}
	if err != nil {
		return &fault.Error{Class: fault.Failed, Op: "save the plan", Err: err}
	}
	return nil
}

func (a *app) applyCommand() *cobra.Command {
	var f convergeFlags
	cmd := &cobra.Command{
		Use:   "apply [PLANFILE]",
		Short: "Make the hosts what the inventory says, or do a saved plan",
		Long: `Show what "pgrepctl plan" shows, ask, and do it. A call after an interruption goes on
where the last one ended.

With a file that "pgrepctl plan --out" saved, exactly what that shows is done. When a fact
has changed since, it is refused: the message names the host, the fact, what it was then
and what it is now.

Servers are restarted only with --restart=rolling: one at a time, each once the one before
streams and has caught up again. What goes up, such as max_connections, goes up on the
standbys first; what goes down goes down on the primary first.`,
		Example: `  pgrepctl apply
  pgrepctl apply --restart rolling --yes
  pgrepctl apply shop.plan`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			p, err := f.choose(cmd, a, s, args)
			if err != nil {
				return err
			}
			pre, err := s.Preview(cmd.Context(), p)
			if err == nil {
				err = errors.Join(s.Same(pre), refuseRetired(s, pre))
			}
			if err != nil {
				return f.explain(s.inv, s.retired(), err)
			}
			a.brief = a.set.Verbose() == 0
			if _, err := a.applied(cmd.Context(), s, p, pre); err != nil {
				return err
			}
			a.unseen(p)
			if a.dryRun {
				return f.exit(pre.Effects() > 0 || pre.Pending() > 0)
			}
			if n := pre.Pending(); n > 0 {
				fmt.Fprintf(a.Err, "left as it is: %d of what the inventory says; what: %s\n", n, a.withInventory("pgrepctl plan"))
			}
			return f.exit(pre.Pending() > 0)
		},
	}
	f.add(a, cmd)
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
	return cmd
}

// choose is the saved plan, or one that is made now.
func (f *convergeFlags) choose(cmd *cobra.Command, a *app, s *session, args []string) (*plan.Plan, error) {
	if len(args) == 0 {
		return f.load(cmd, a, s)
	}
	for _, name := range []string{"restart", "prune", "without", "accept"} {
		if cmd.Flags().Changed(name) {
			return nil, usage(cmd, fmt.Errorf("--%s chooses what is planned, and %s is a plan already", name, args[0]))
		}
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return nil, &fault.Error{Class: fault.Invalid, Op: "read the saved plan", Err: err}
	}
	saved, err := engine.ParseSaved(args[0], text)
	if err != nil {
		return nil, err
	}
	return s.Bind(cmd.Context(), saved)
}
