package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/check/store"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/settings"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// checkFlags are those of the one look and of the server.
type checkFlags struct {
	memory   string
	textfile string
	nagios   bool
}

func (a *app) checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [HOST…]",
		Short: "Say which hosts may have traffic, and remember it: a lag gate that does not flap",
		Long: `Look at the hosts once, and say of each whether it is in (may have traffic: writes of the
primary, reads of a standby) or out, and why. What was said is remembered in the state
directory: a standby is out above --max-lag or --max-lag-time, and in again only when it
was below --min-lag and --min-lag-time for --hold-down. The hold-down doubles, up to
eight times, for a standby that goes out again and again.

An idle primary makes no lag: a standby that has replayed all it received, and whose
receiver lives, has none. A standby with "traffic: none" or an apply_delay is never in,
and that is no problem. What a run of pgrepctl paused or drained is said to be planned.

Ends with 0 when every host is in, or out because somebody planned it; with 3 when
another is out; with 5 when the rest is well and a host gave no answer. With --nagios
the answer is the line of a monitoring plugin, and the exit code is its: 0 OK,
1 WARNING, 2 CRITICAL, 3 UNKNOWN.`,
		Example: `  pgrepctl check
  pgrepctl check pg2 pg3 --max-lag 256MB --max-lag-time 1m
  pgrepctl check pg2 --nagios --memory nagios
  pgrepctl check -o json --textfile /var/lib/prometheus/node-exporter/pgrepctl.prom`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := a.check(cmd.Context(), args, f)
			if f.nagios && err != nil && fault.ClassOf(err) != fault.Usage {
				// A monitoring system takes any other code for something else.
				_, _ = fmt.Fprintf(a.Out, "REPLICATION UNKNOWN - %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
				return &exitError{class: check.NagiosUnknown}
			}
			if err == nil && code != 0 {
				return &exitError{class: code}
			}
			return err
		},
	}
	settings.AddCommandFlags(cmd.PersistentFlags(), "check")
	cmd.PersistentFlags().StringVar(&f.memory, "memory", "", "`NAME` of the memory: two checks with different limits need two (default the command's)")
	cmd.PersistentFlags().StringVar(&f.textfile, "textfile", "", "write metrics to `FILE` for the textfile collector of node_exporter")
	cmd.Flags().BoolVar(&f.nagios, "nagios", false, "answer as a Nagios plugin does")
	cmd.AddCommand(a.serveCommand(&f))
	return cmd
}

// policy is that of the settings.
func (a *app) policy(cmd string) (check.Policy, error) {
	p := check.Policy{MaxBytes: a.set.MaxLag(), MinBytes: a.set.MinLag(), MaxTime: a.set.MaxLagTime(), MinTime: a.set.MinLagTime(),
		HoldDown: a.set.HoldDown(), Stall: a.set.ReplayStall()}
	// Who gives a lower maximum and no minimum means both.
	if a.set.Origin("min-lag").Source == settings.FromDefault && p.MaxBytes > 0 {
		p.MinBytes = min(p.MinBytes, p.MaxBytes/4)
	}
	if a.set.Origin("min-lag-time").Source == settings.FromDefault && p.MaxTime > 0 {
		p.MinTime = min(p.MinTime, p.MaxTime/3)
	}
	if err := p.Check(); err != nil {
		return p, &fault.Error{Class: fault.Usage, Err: err, Hint: "pgrepctl " + cmd + " --help"}
	}
	return p, nil
}

// memoryName is what may be part of a file's name.
var memoryName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,62}$`)

func memoryPath(s *session, name, usual string) (string, error) {
	name = cmp.Or(name, usual)
	if !memoryName.MatchString(name) {
		return "", &fault.Error{Class: fault.Usage, Err: fmt.Errorf("--memory %q: want letters, digits, - and _", name)}
	}
	return filepath.Join(s.Dir, "check", name+".json"), nil
}

// check looks once.
func (a *app) check(ctx context.Context, names []string, f checkFlags) (fault.Class, error) {
	p, err := a.policy("check")
	if err != nil {
		return 0, err
	}
	s, err := a.open()
	if err != nil {
		return 0, err
	}
	defer s.close(ctx)
	path, err := memoryPath(s, f.memory, "once")
	if err != nil {
		return 0, err
	}
	asked, err := hostsNamed(s.inv, names)
	if err != nil {
		return 0, err
	}
	members := check.Members(s.inv)
	obs, plans, knowPlans := a.looks(s, members).observe(ctx, asked)
	if err := context.Cause(ctx); fault.ClassOf(err) == fault.Interrupted {
		return 0, err // "unreachable" would be a lie
	}
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	file, err := store.Open(waiting, path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	mem, err := file.Read(s.inv.Name, time.Now())
	if err != nil {
		a.complain(err, "begins anew")
	}
	board := check.NewBoard(members, p, mem)
	if knowPlans {
		board.Plan(withPauses(plans, pausesIn(s.Dir)))
	}
	changes := board.Take(obs...)
	if err := file.Write(board.Memory()); err != nil {
		return 0, err
	}
	var states []check.State
	for _, h := range asked {
		states = append(states, board.State(h.Name, time.Now(), 0))
	}
	changes = slices.DeleteFunc(changes, func(c check.Change) bool {
		return !slices.ContainsFunc(asked, func(h *inventory.Host) bool { return h.Name == c.Host })
	})
	if f.textfile != "" {
		var rows []check.Row
		for _, st := range states {
			o, _ := board.Seen(st.Host)
			rows = append(rows, check.Row{State: st, Slots: o.Server.Slots})
		}
		if err := store.Replace(f.textfile, []byte(check.Metrics(s.inv.Name, rows, nil, time.Now())), 0o644); err != nil {
			return 0, err
		}
	}
	if f.nagios {
		line, code := p.Nagios(s.inv.Name, states)
		_, err := fmt.Fprint(a.Out, line)
		return fault.Class(code), err
	}
	return checkClass(states, obs), a.showCheck(check.NewReport(s.inv.Name, states, changes))
}

// withPauses adds whose pause it is where a run of this machine has ended and left
// replay paused. That is no plan for ever: it is named, and still a problem.
func withPauses(plans map[string]check.Plan, pauses map[string]check.Pause) map[string]check.Plan {
	out := map[string]check.Plan{}
	for name, p := range pauses {
		out[name] = check.Plan{Run: p.Run, Operator: p.Operator, Paused: true}
	}
	maps.Copy(out, plans)
	return out
}

func (a *app) complain(err error, then string) {
	_, _ = fmt.Fprintf(a.Err, "warning: %v; the check %s\n", err, then)
}

// checkClass is the exit code of states: what is wrong with hosts that answered
// first.
func checkClass(states []check.State, obs []check.Observation) fault.Class {
	code := fault.Class(0)
	for _, st := range states {
		switch {
		case st.Fine():
		case st.Reason != check.Unreachable:
			return fault.Problems
		case slices.ContainsFunc(obs, func(o check.Observation) bool { return o.Host == st.Host && o.Refused }):
			code = fault.Auth
		case code == 0:
			code = fault.Unreachable
		}
	}
	return code
}

func (a *app) showCheck(r check.Report) error {
	if a.set.Output() != "table" {
		return a.encode(r)
	}
	var rows [][]ui.Cell
	for _, h := range r.Hosts {
		word, style := "in", ui.Good
		switch {
		case !h.In && h.Planned:
			word, style = "out", ui.Warn
		case !h.In:
			word, style = "OUT", ui.Bad
		}
		row := ui.Row(h.Host, string(h.Role), word, ui.Span(time.Since(h.Since)), "", "", string(h.Reason), h.Why)
		row[2].Style = style
		if h.LagBytes != nil {
			row[4].Text = ui.Bytes(*h.LagBytes)
		}
		if h.LagSeconds != nil {
			row[5].Text = ui.Span(time.Duration(*h.LagSeconds * float64(time.Second)))
		}
		rows = append(rows, row)
	}
	return ui.Table(a.Out, []string{"HOST", "ROLE", "TRAFFIC", "FOR", "LAG", "AGE", "REASON", "DETAIL"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
}
