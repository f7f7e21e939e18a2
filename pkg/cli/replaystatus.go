package cli

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// rateSample is for how long the rate of what comes in is measured.
const rateSample = time.Second

func (a *app) replayStatusCommand() *cobra.Command {
	sample := rateSample
	cmd := &cobra.Command{
		Use:   "status [HOST…]",
		Short: "How far replay is, whether it stands still, and when the disk is full",
		Long: `Show the replay of the standbys named, or of all: the state of the pause; what was
received, replayed, and is held on the disk in between; the free space there, and when it
is full if nothing is replayed from now on and WAL comes in as it did for --sample; the
apply delay; and which manager on the host may resume replay by itself.

LATE is 0 only when all is replayed and the standby streams. It is the age of the last
transaction replayed when there is something to replay, and not given otherwise: on an
idle primary that age grows with nothing to replay.

The exit code is 8 when a standby could not be asked, and 5 when none could.`,
		Example: `  pgrepctl replay status
  pgrepctl replay status pg3 --sample 5s -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			hosts := s.inv.Standbys()
			if len(args) > 0 {
				hosts = nil
			}
			for _, name := range args {
				h, err := standbyNamed(s.inv, name)
				if err != nil {
					return err
				}
				hosts = append(hosts, h)
			}
			r := a.readReplay(cmd.Context(), s, hosts, sample)
			if err := context.Cause(cmd.Context()); fault.ClassOf(err) == fault.Interrupted {
				return err
			}
			if err := a.showReplay(r); err != nil {
				return err
			}
			return incomplete(r.Hosts, func(h replay.Row) bool { return h.Error != "" })
		},
	}
	cmd.Flags().DurationVar(&sample, "sample", sample, "for how long to measure the rate of what comes in")
	return cmd
}

// readReplay reads the replay of standbys, side by side.
func (a *app) readReplay(ctx context.Context, s *session, hosts []*inventory.Host, sample time.Duration) replay.Report {
	asked := append([]*inventory.Host{}, hosts...)
	for _, h := range hosts {
		if up := s.inv.Upstream(h); !slices.Contains(asked, up) {
			asked = append(asked, up)
		}
	}
	seen := a.look(ctx, s, asked)
	out := replay.Report{Format: replay.Format, Cluster: s.inv.Name, Hosts: make([]replay.Row, len(hosts))}
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, gatherTimeout+sample)
			defer cancel()
			r, err := a.reading(ctx, s, h, seen[h.Name], endOfWAL(seen[s.inv.Upstream(h).Name]), sample)
			if err != nil {
				out.Hosts[i] = replay.Row{Host: h.Name, Error: err.Error()}
				return
			}
			out.Hosts[i] = replay.NewRow(h.Name, r)
		})
	}
	wg.Wait()
	return out
}

// endOfWAL is how far the WAL of an upstream goes, 0 when nothing is known of it.
func endOfWAL(up status.Result) postgres.LSN {
	if up.Facts == nil || !up.Facts.Server.Running {
		return 0
	}
	_, at := up.Facts.Reached()
	return at
}

func (a *app) reading(ctx context.Context, s *session, h *inventory.Host, got status.Result, upstream postgres.LSN, sample time.Duration) (replay.Reading, error) {
	if got.Err != nil {
		return replay.Reading{}, got.Err
	}
	f := got.Facts
	switch {
	case !f.Server.Running && f.Server.NotReady != "":
		return replay.Reading{}, fmt.Errorf("%s: its server accepts no session: %s", h.Name, f.Server.NotReady)
	case !f.Server.Running:
		return replay.Reading{}, fmt.Errorf("%s: its server does not run", h.Name)
	}
	sql, err := s.sql(ctx, h.Name)
	if err != nil {
		return replay.Reading{}, err
	}
	v := f.Server.Version
	r := replay.Reading{Upstream: upstream}
	if r.First, err = replay.Read(ctx, sql, v); err != nil {
		return r, err
	}
	until := time.NewTimer(sample)
	defer until.Stop()
	if err := a.surroundings(ctx, s, h, f, &r); err != nil {
		return r, err
	}
	select {
	case <-until.C:
	case <-ctx.Done():
		return r, context.Cause(ctx)
	}
	r.Second, err = replay.Read(ctx, sql, v)
	return r, err
}

// surroundings is what does not move while the rate is measured.
func (a *app) surroundings(ctx context.Context, s *session, h *inventory.Host, f *facts.Host, r *replay.Reading) error {
	as := h.Postgres.OSUser
	var err error
	if r.Target, err = steps.RecoveryTargetOf(ctx, as, f); err != nil {
		return err
	}
	if r.ApplyDelay, err = steps.DelayOf(ctx, as, f); err != nil {
		return err
	}
	space, err := f.Space(ctx, as, []string{path.Join(f.Server.DataDirectory, f.Server.Version.WALDir())})
	if err != nil {
		return err
	}
	if len(space) == 1 && space[0].TotalBytes > 0 {
		r.FreeBytes = &space[0].FreeBytes
	}
	r.Managers, err = a.managers(ctx, s, h)
	return err
}

// managers are the programs on a host that may resume replay by themselves.
func (a *app) managers(ctx context.Context, s *session, h *inventory.Host) ([]string, error) {
	sql, err := s.sql(ctx, h.Name)
	if err != nil {
		return nil, err
	}
	on, err := s.conn.Host(ctx, h.Name)
	if err != nil {
		return nil, err
	}
	return replay.Managers(ctx, on, sql)
}

func (a *app) showReplay(r replay.Report) error {
	if a.set.Output() != "table" {
		return a.encode(r)
	}
	var rows [][]ui.Cell
	for _, h := range r.Hosts {
		rows = append(rows, replayRow(h))
	}
	header := []string{"HOST", "STATE", "RECEIVED", "REPLAYED", "BEHIND", "LATE", "HELD", "FREE", "FULL IN", "DELAY", "RESUMED BY"}
	if err := ui.Table(a.Out, header, rows, ui.TableOptions{Color: a.colorOn(a.Out)}); err != nil {
		return err
	}
	for _, h := range r.Hosts {
		for _, line := range remarks(h) {
			if _, err := fmt.Fprintln(a.Out, a.withInventory(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

func replayRow(h replay.Row) []ui.Cell {
	if h.Error != "" {
		row := ui.Row(h.Host, "not known")
		row[1].Style = ui.Bad
		return row
	}
	state := h.State
	if h.Target != "" && h.State != replay.NotPaused {
		state = "at target"
	}
	row := ui.Row(h.Host, state, lsnText(h.Receive), lsnText(h.Replay), bytesOf(h.BehindBytes), "", bytesOf(h.HeldBytes), bytesOf(h.FreeBytes), "", "", strings.Join(h.ResumedBy, ", "))
	if h.State != replay.NotPaused {
		row[1].Style = ui.Warn
	}
	for i, seconds := range map[int]*float64{5: h.BehindSeconds, 8: h.FullInSeconds, 9: h.ApplyDelaySeconds} {
		if seconds != nil && (i != 9 || *seconds > 0) {
			row[i].Text = secondsText(*seconds)
		}
	}
	return row
}

// remarks are what the table has no room for.
func remarks(h replay.Row) []string {
	if h.Error != "" {
		return []string{"problem: " + h.Error}
	}
	var out []string
	if h.Target != "" {
		out = append(out, fmt.Sprintf("note: %s: it was started with %s: to resume replay at the target promotes it\n  hint: pgrepctl replay resume %s --follow", h.Host, h.Target, h.Host))
	}
	if h.Receiver == "none" {
		out = append(out, fmt.Sprintf("warning: %s: it has no walreceiver: no WAL comes in", h.Host))
	}
	if h.State != replay.NotPaused {
		for _, m := range h.ResumedBy {
			out = append(out, fmt.Sprintf("warning: %s: %s", h.Host, managerResumes(m)))
		}
	}
	return out
}

func secondsText(seconds float64) string {
	return ui.Span(time.Duration(seconds * float64(time.Second)))
}

func lsnText(l *postgres.LSN) string {
	if l == nil {
		return ""
	}
	return l.String()
}
