package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// holdFormat names the JSON form of a held.
const holdFormat = "pgrepctl.hold/v1"

// held is what became of the standbys.
type held struct {
	Format  string     `json:"format"`
	Cluster string     `json:"cluster"`
	Release bool       `json:"release"`
	Hosts   []heldHost `json:"hosts"`
}

type heldHost struct {
	Host string `json:"host"`
	// Outcome is paused or resumed, unchanged, or failed.
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
	Run     string `json:"run,omitempty"` // whose undo takes it back
	// Delayed: the inventory gives it an apply delay.
	Delayed bool `json:"delayed"`
}

func (a *app) holdCommand() *cobra.Command {
	var release bool
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Pause replay on all delayed standbys at once, when something has gone wrong",
		Long: `Pause replay on every standby that replays late on purpose, all at once: an accident that
they have not replayed yet stays out of them until you know what happened. With --yes
nothing is looked at first, and each is paused as soon as it answers.

The primary is not needed, and neither is the cluster lock: nothing keeps this from being
done, and no host that is slow or gone holds up another. A standby without an apply delay
is left alone. One that is delayed and cannot be reached is named, and the exit code is 8.

Then: "pgrepctl replay status", "pgrepctl replay until HOST", and at the end --release. A
restart of a standby's server ends its pause.`,
		Example: `  pgrepctl standby hold --yes
  pgrepctl standby hold --release --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			return a.hold(cmd.Context(), s, release)
		},
	}
	cmd.Flags().BoolVar(&release, "release", false, "resume replay on all delayed standbys, but for those at a recovery target")
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
	return cmd
}

// holdTimeout bounds what is done on one host, once it is connected: a frozen host
// keeps its connections.
const holdTimeout = 30 * time.Second

func (a *app) hold(ctx context.Context, s *session, release bool) error {
	name := "hold-replay"
	if release {
		name = "release-replay"
	}
	var plans []*plan.Plan
	for _, h := range s.inv.Standbys() {
		p, err := a.builtinPlan(s.inv, name, map[string]string{"standby": h.Name})
		if err != nil {
			return err
		}
		plans = append(plans, p)
	}
	if len(plans) == 0 {
		return fault.Refuse("", "", errors.New("the inventory has no standby"))
	}
	bounded := func() (context.Context, context.CancelFunc) {
		return context.WithTimeoutCause(ctx, holdTimeout+cmp.Or(a.set.ConnectTimeout(), longestConnect(s.inv)), errors.New("no answer in time"))
	}
	if a.dryRun || !a.set.Yes() {
		looking, cancel := bounded()
		pre := s.PreviewAtOnce(looking, plans)
		cancel()
		if err := context.Cause(ctx); err != nil {
			return err
		}
		a.findWritable(ctx, s, pre)
		work, err := a.showHold(s.inv, pre, name)
		if err != nil || a.dryRun {
			return errors.Join(err, a.holdFailed(pre))
		}
		if work {
			if err := a.ask(ctx, "Do this?"); err != nil {
				return err
			}
		}
	}
	a.acting.Store(true)
	defer a.hear(s.Sink)()
	acting, cancel := bounded()
	defer cancel()
	out := s.AtOnce(acting, plans)
	a.findWritable(ctx, s, out)
	if err := a.reportHold(s.inv, out, release); err != nil {
		return err
	}
	return a.holdFailed(out)
}

func longestConnect(inv *inventory.Cluster) time.Duration {
	longest := time.Duration(0)
	for _, h := range inv.Hosts {
		longest = max(longest, h.SSH.ConnectTimeout)
	}
	return longest
}

// showHold shows what would be done on all hosts as one preview, and reports whether
// there is anything.
func (a *app) showHold(inv *inventory.Cluster, list []engine.Outcome, name string) (bool, error) {
	whole := engine.Preview{Plan: name}
	for _, o := range list {
		if o.Err != nil {
			whole.Lines = append(whole.Lines, engine.Line{Host: o.Plan.Standby.Name, Step: "replay", Noop: "not possible: " + o.Err.Error()})
			continue
		}
		whole.Lines = append(whole.Lines, o.Preview.Lines...)
	}
	out, format := a.Err, "table"
	if a.dryRun {
		out, format = a.Out, a.set.Output()
	}
	return whole.Effects() > 0, ui.WritePreview(out, shown(inv, &whole), ui.PreviewOptions{Output: format, Color: a.colorOn(out)})
}

func (a *app) reportHold(inv *inventory.Cluster, list []engine.Outcome, release bool) error {
	r := held{Format: holdFormat, Cluster: inv.Name, Release: release, Hosts: []heldHost{}}
	for _, o := range list {
		h := heldHost{Host: o.Plan.Standby.Name, Delayed: o.Plan.Standby.ApplyDelay > 0}
		switch {
		case o.Err != nil:
			h.Outcome, h.Detail = "failed", o.Err.Error()
		case len(o.Report.Done) == 0:
			h.Outcome, h.Detail = "unchanged", strings.Join(o.Noops, "; ")
		case release:
			h.Outcome = "resumed"
		default:
			h.Outcome, h.Detail = "paused", "at "+o.Report.Outputs[effect.ReplayLSN]
			if last := o.Report.Outputs[effect.ReplayTime]; last != "" {
				h.Detail += ", last commit " + last
			}
		}
		if o.Report != nil && len(o.Report.Done) > 0 {
			h.Run = o.Report.Run
		}
		r.Hosts = append(r.Hosts, h)
	}
	if a.set.Output() != "table" {
		return a.encode(r)
	}
	var rows [][]ui.Cell
	for _, h := range r.Hosts {
		row := ui.Row(h.Host, h.Outcome, h.Detail, h.Run)
		if h.Outcome == "failed" {
			row[1].Style = ui.Bad
		}
		rows = append(rows, row)
	}
	return ui.Table(a.Out, []string{"HOST", "REPLAY", "DETAIL", "RUN"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
}

// holdFailed is the error of what could not be done. A standby that cannot be reached
// counts when the inventory says that it is delayed, or says it of none.
func (a *app) holdFailed(list []engine.Outcome) error {
	var names []string
	var writable []error
	done, class, state := 0, fault.Partial, "the others are done"
	first := fault.Failed
	told := slices.ContainsFunc(list, func(o engine.Outcome) bool { return o.Plan.Standby.ApplyDelay > 0 })
	for _, o := range list {
		h := o.Plan.Standby
		unreachable := fault.ClassOf(o.Err) == fault.Unreachable
		switch {
		case o.Err == nil:
			done++
		case errors.Is(o.Err, errTakesWrites):
			writable = append(writable, o.Err)
		case h.ApplyDelay > 0 || !told || !unreachable:
			if names == nil {
				first = fault.ClassOf(o.Err)
			}
			names = append(names, h.Name)
		default:
			fmt.Fprintf(a.Err, "warning: %s could not be asked whether it is delayed; the inventory gives it no apply_delay, and others one\n", h.Name)
		}
	}
	if len(names) == 0 && done > 0 && len(writable) > 0 {
		return &fault.Error{Class: class, Err: errors.Join(writable...), State: state}
	}
	if len(names) == 0 {
		return errors.Join(writable...)
	}
	if done == 0 {
		class, state = first, ""
	}
	return errors.Join(append([]error{&fault.Error{Class: class, Host: strings.Join(names, ", "), Err: errors.New("not done there: its replay goes on, if its server runs"),
		State: state, Hint: "type the same command again: it is harmless where it is done; or stop their servers"}}, writable...)...)
}
