package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
	"github.com/pgrepctl/pgrepctl/pkg/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	var words, databases []string
	var bounds verify.Bounds
	cmd := &cobra.Command{
		Use:   "verify HOST",
		Short: "Prove what a standby is: that it streams, that its indexes, pages and rows are sound",
		Long: `Verify a standby, by one or more levels. Nothing is started, stopped or stored.

  stream     its upstream shows it streaming, it replays (a delayed one: receives) what
             the upstream wrote just before; same system and timeline, in recovery, slot
             in use, replay not paused
  amcheck    pg_amcheck on the standby: heaps and B-tree indexes (PostgreSQL 14 and later;
             in databases that have the extension amcheck)
  all        stream and amcheck: what keeps nobody waiting
  hashes     the rows of every table are the primary's. One table after the other is
             LOCKED AGAINST WRITES on the primary while it is read on both servers. A table
             whose lock is not got within --lock-timeout, or that would be locked for longer
             than --max-lock, is not compared, and that is said
  checksums  every page on disk, by pg_checksums, when the server is stopped; refused while
             it runs. A call of its own

Ends with 3 when a check failed. One that cannot be made is reported, and does not count
as failed.`,
		Example: `  pgrepctl standby verify pg2
  pgrepctl standby verify pg2 --level all
  pgrepctl standby verify pg2 --level stream --level hashes --database shop
  pgrepctl standby verify pg2 --level hashes --max-lock 5m -o json
  pgrepctl standby verify pg2 --level checksums`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			levels, err := verify.ParseLevels(words)
			if err != nil {
				return err
			}
			// 0 is no limit to a server.
			if min(bounds.Wait, bounds.Lock, bounds.MaxLock) <= 0 {
				return &fault.Error{Class: fault.Usage, Err: errors.New("--wait, --lock-timeout and --max-lock want durations above 0"), Hint: cmd.CommandPath() + " --help"}
			}
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			h, err := standbyNamed(s.inv, args[0])
			if err != nil {
				return err
			}
			subject, err := a.subject(cmd.Context(), s, h, levels)
			if err != nil {
				return err
			}
			r, err := verify.Run(cmd.Context(), s.conn, subject, levels, databases, bounds)
			if err != nil {
				return err
			}
			if err := a.showVerified(r); err != nil {
				return err
			}
			if !r.OK {
				return &exitError{class: fault.Problems}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&words, "level", []string{string(verify.Stream)}, "`LEVEL` to verify: stream, amcheck, all, hashes or checksums (repeatable)")
	// No slice: a name may have a comma.
	f.StringArrayVar(&databases, "database", nil, "of amcheck and hashes: this `DB` only (repeatable; default all but templates)")
	f.DurationVar(&bounds.Wait, "wait", 10*time.Second, "how long to wait for the standby to stream or replay, without progress")
	f.DurationVar(&bounds.Lock, "lock-timeout", 2*time.Second, "of hashes: how long to wait for the lock of a table, writers behind it")
	f.DurationVar(&bounds.MaxLock, "max-lock", 30*time.Second, "of hashes: how long to hold it")
	return cmd
}

// subject reads the facts of the hosts that the levels need.
func (a *app) subject(ctx context.Context, s *session, h *inventory.Host, levels []verify.Level) (verify.Subject, error) {
	up, primary := s.inv.Upstream(h), s.inv.Primary()
	hosts := []*inventory.Host{h}
	if slices.Contains(levels, verify.Stream) {
		hosts = append(hosts, up)
	}
	if slices.Contains(levels, verify.Hashes) && !slices.Contains(hosts, primary) {
		hosts = append(hosts, primary)
	}
	got := a.look(ctx, s, hosts)
	for _, x := range hosts { // in this order: a map has none
		if err := got[x.Name].Err; err != nil {
			return verify.Subject{}, err
		}
	}
	of := func(x *inventory.Host) verify.Server { return verify.Server{Name: x.Name, Facts: got[x.Name].Facts} }
	stop := steps.Control(h, got[h.Name].Facts).Stop
	return verify.Subject{Cluster: s.inv.Name, Standby: of(h), Upstream: of(up), Primary: of(primary),
		Application: h.Name, Slot: h.Slot, Delayed: h.ApplyDelay > 0, Stop: shell.Typed(stop.As, stop.Argv...)}, nil
}

func (a *app) showVerified(r verify.Report) error {
	if a.set.Output() != "table" {
		return a.encode(r)
	}
	var rows [][]ui.Cell
	for _, c := range r.Checks {
		name := c.Name
		if c.Database != "" {
			name += " " + c.Database
		}
		if c.Table != "" {
			name += " " + c.Table
		}
		row := ui.Row(name, string(c.Result), c.Detail)
		switch c.Result {
		case verify.Failed:
			row[1].Style = ui.Bad
		case verify.NotPossible:
			row[1].Style = ui.Warn
		}
		rows = append(rows, row)
	}
	if err := ui.Table(a.Out, []string{"CHECK", "RESULT", "DETAIL"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)}); err != nil {
		return err
	}
	for i, c := range r.Checks {
		if c.Hint == "" {
			continue
		}
		if _, err := fmt.Fprintf(a.Out, "hint: %s: %s\n", rows[i][0].Text, a.withInventory(c.Hint)); err != nil {
			return err
		}
	}
	if l := r.Longest; l != nil {
		_, err := fmt.Fprintf(a.Out, "longest lock: %s of database %s kept writers waiting %s at most\n", l.Table, l.Database, l)
		return err
	}
	return nil
}

var _ verify.Hosts = (*connections)(nil)

// Database says how to reach a host's server.
func (c *connections) Database(ctx context.Context, name string) (host.Database, error) {
	g, err := c.gatherer(ctx, name)
	if err != nil {
		return host.Database{}, err
	}
	return g.Database(ctx)
}
