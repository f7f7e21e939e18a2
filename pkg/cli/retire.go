package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// retirement is what the user asked for.
type retirement struct {
	host      string
	repointTo string
	apart     bool
	gone      bool
	erase     string
	without   []string
}

func (a *app) retireCommand() *cobra.Command {
	var r retirement
	cmd := &cobra.Command{
		Use:   "retire HOST",
		Short: "Take a standby out of the cluster, and leave nothing of it anywhere",
		Long: `Stop the standby, and take away what the other hosts have for it: its place in
synchronous_standby_names (before it stops), its rule in pg_hba.conf, its slot on
every host that could have one, and the replication password on its own host. Then
it is proven that no slot and no walsender of it is left.

It is refused while others stream from it (see --repoint-to), and when the remaining
synchronous standbys could not confirm a commit (see --accept sync.quorum). The data
stay, unless --erase-data repeats the name of the host: that is a point of no return,
and the last step. Everything before it can be undone with "pgrepctl runs undo": the
standby then streams again, if its WAL is still there.

With --gone the host is not asked: for one that is lost. At the end it is said which
lines of the inventory to delete. Until they are, status, topology and slot list on this
machine show it as retired, and plan and apply refuse to make it again.`,
		Example: `  pgrepctl standby retire pg3 --dry-run
  pgrepctl standby retire pg3 --erase-data pg3
  pgrepctl standby retire pg2 --repoint-to pg1
  pgrepctl standby retire pg4 --gone`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.host = args[0]
			return a.retire(cmd, r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.repointTo, "repoint-to", "", "let the standbys that stream from it stream from this `HOST`")
	f.BoolVar(&r.apart, "promote-apart", false, "do not stop it: promote it to a server of its own")
	f.BoolVar(&r.gone, "gone", false, "its host is lost for good: take away what the others have for it")
	f.StringVar(&r.erase, "erase-data", "", "erase its data at the end; give the name of the `HOST` once more")
	f.StringSliceVar(&r.without, "without", nil, "do not look at this other `HOST`, which cannot be reached (repeatable)")
	a.actFlags(cmd)
	return cmd
}

func (a *app) retire(cmd *cobra.Command, r retirement) error {
	switch {
	case r.erase != "" && r.erase != r.host:
		return usage(cmd, fmt.Errorf("--erase-data %s: to erase the data of %s, its own name has to be given", r.erase, r.host))
	case r.gone && (r.apart || r.erase != ""):
		return usage(cmd, errors.New("--gone: a host that is lost can be neither promoted nor erased"))
	case r.apart && r.erase != "":
		return usage(cmd, errors.New("--promote-apart keeps the data, --erase-data erases them: give one of them"))
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
	p, err := a.retirePlan(s.inv, h, r)
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

func (a *app) retirePlan(inv *inventory.Cluster, h *inventory.Host, r retirement) (*plan.Plan, error) {
	name, vars := "retire-standby", map[string]string{"standby": r.host, "downstreams": "refuse", "to": h.UpstreamName, "without": strings.Join(r.without, ",")}
	if r.repointTo != "" {
		vars["downstreams"], vars["to"] = "repoint", r.repointTo
	}
	if r.gone {
		name = "retire-gone-standby"
	} else {
		vars["as"], vars["erase"] = "stopped", r.erase
		if r.apart {
			vars["as"] = "separate"
		}
	}
	return a.builtinPlan(inv, name, vars)
}

// explain adds the way round hosts that do not answer. There is none round the primary,
// which has the lock, and none round one that is to be re-pointed, unless its upstream is
// lost anyway.
func (r retirement) explain(inv *inventory.Cluster, err error) error {
	names := away(inv, err)
	if len(names) == 0 || fault.ClassOf(err) != fault.Unreachable || slices.Contains(names, inv.Primary().Name) {
		return err
	}
	var below, others []string
	lost := false
	for _, name := range names {
		switch h, ok := inv.Host(name); {
		case name == r.host:
			lost = true
		case ok && h.UpstreamName == r.host:
			below = append(below, name)
		default:
			others = append(others, name)
		}
	}
	if lost && r.gone {
		return err
	}
	var hints []string
	without := strings.Join(slices.Concat(r.without, others), ",")
	switch {
	case lost && without == "":
		hints = append(hints, "if "+r.itself(names)+" is lost for good: pgrepctl standby retire "+r.host+" --gone")
	case lost:
		hints = append(hints, "if "+r.host+" is lost for good: pgrepctl standby retire "+r.host+" --gone --without "+without)
	case len(others) > 0:
		hints = append(hints, "to leave out what may be on "+strings.Join(others, ", ")+": the same command with --without "+without)
	}
	if len(below) > 0 {
		hints = append(hints, r.belowAway(below, others, lost))
	}
	return wayRound(err, strings.Join(hints, "; "))
}

// itself is what a hint calls the host: its name, where an error is about others too.
func (r retirement) itself(names []string) string {
	if len(names) == 1 {
		return "it"
	}
	return r.host
}

// belowAway is what to do about hosts that stream from the one that goes, and do not answer.
// To retire one of them first, that one has to answer.
func (r retirement) belowAway(names, others []string, lost bool) string {
	list := strings.Join(names, ", ")
	stream := "streams"
	if len(names) > 1 {
		stream = "stream"
	}
	text := list + " " + stream + " from " + r.host + " in the inventory, and would be cut off: let " + list + " be reached first"
	if r.gone { // and so they receive nothing already
		return text + "; if that cannot be: the same command with --without " + strings.Join(slices.Concat(r.without, others, names), ",") + ", which leaves " + list + " set to " + r.host
	}
	for _, name := range names {
		if lost {
			break
		}
		text += "; if " + name + " is lost for good, first: pgrepctl standby retire " + name + " --gone"
	}
	return text
}

// away are the hosts that cannot be asked, if that is what an error is about.
func away(inv *inventory.Cluster, err error) []string {
	if class := fault.ClassOf(err); class != fault.Unreachable && class != fault.Auth {
		return nil
	}
	var many *engine.Away
	if errors.As(err, &many) {
		return slices.Clone(many.Hosts)
	}
	name := ""
	walk(err, func(f *fault.Error) { name = cmp.Or(name, f.Host) })
	if _, ok := inv.Host(name); !ok {
		return nil // a balancer, say
	}
	return []string{name}
}

// wayRound adds a hint to what cannot be asked: the only one, where there are several
// hosts and each would have its own.
func wayRound(err error, hint string) error {
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // nothing else may be around it
		if many, ok := f.Err.(*engine.Away); ok { //nolint:errorlint // nor in between
			return &fault.Error{Class: f.Class, Err: many, Hint: hint}
		}
	}
	return &fault.Error{Class: fault.ClassOf(err), Err: err, Hint: hint}
}

// next is what is left to the user: the inventory is his own.
func (r retirement) next(inv *inventory.Cluster, h *inventory.Host) []string {
	out := []string{"next: " + deleteHost(inv, h)}
	for _, d := range inv.Downstreams(h) {
		to := cmp.Or(r.repointTo, h.UpstreamName)
		if slices.Contains(r.without, d.Name) {
			out = append(out, fmt.Sprintf("not re-pointed: %s is still set to %s, and nothing keeps WAL for it: %s", d.Name, h.Name, steps.LeftOut(d.Name, to)))
			continue
		}
		out = append(out, fmt.Sprintf("next: in %s, say upstream: %s for %s", d.Pos, to, d.Name))
		if d.ApplyDelay > 0 {
			out = append(out, provenLater(d, to))
		}
	}
	if r.gone {
		out = append(out, fmt.Sprintf("left on %s, which was not asked: its data in %s, and the replication password in ~%s/%s", h.Name, h.Postgres.DataDirectory, h.Postgres.OSUser, path.Join(facts.OwnDirectory, steps.OwnPassfile(inv))),
			fmt.Sprintf("should it come back while the inventory still has it: pgrepctl standby retire %s", h.Name))
	}
	for _, w := range r.without {
		out = append(out, fmt.Sprintf("not looked at: %s, which may have a slot %s: once it answers, and while the inventory still has %s, again: pgrepctl standby retire %s", w, h.Slot, h.Name, h.Name))
	}
	return out
}

func deleteHost(inv *inventory.Cluster, h *inventory.Host) string {
	text, err := os.ReadFile(inv.File)
	first, last, ok := inventory.HostLines(text, h.Name)
	switch {
	case err != nil || !ok:
		return fmt.Sprintf("delete %s from hosts in %s", h.Name, h.Pos)
	case first == last:
		return fmt.Sprintf("delete line %d of %s: %s", first, inv.File, strings.TrimSpace(strings.Split(string(text), "\n")[first-1]))
	}
	return fmt.Sprintf("delete lines %d to %d of %s: the host %s", first, last, inv.File, h.Name)
}
