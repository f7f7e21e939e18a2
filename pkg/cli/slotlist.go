package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// defaultSample is long enough for a rate that is not chance, and short enough
// for somebody who waits.
const defaultSample = 2 * time.Second

func (a *app) slotListCommand() *cobra.Command {
	var exitCode bool
	var sample time.Duration
	cmd := &cobra.Command{
		Use:   "list [HOST...]",
		Short: "Every slot: whose it is, what it keeps, and when the disk is full because of it",
		Long: `List the slots of the named hosts, or of all: standbys may have slots too. Every host is
read twice, --sample apart, which gives the rate at which WAL is written and each slot
grows.

  OWNER     the standby of the inventory that streams by it; orphan: no host of the
            inventory does; orphan of pg3: pg3 was retired; logical, temporary: not ours
  STATUS    wal_status (PostgreSQL 13 and later)
  SAFE      what can still be written before the slot may lose WAL (safe_wal_size)
  KEEPS     WAL from restart_lsn to now
  GROWS     by how much more it keeps each second; of a logical slot in use, by how much
            more its consumer has not confirmed
  FULL IN   when the file system of the WAL takes no more, at that rate; "lost" is when the
            slot reaches max_slot_wal_keep_size before that
  ROOM      how much more WAL it takes

Notes name what is wrong, with the command that mends it.`,
		Example: `  pgrepctl slot list
  pgrepctl slot list pg1 --sample 10s
  pgrepctl slot list --exit-code -o json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if sample < 0 {
				return usage(cmd, errors.New("--sample wants a duration of 0 or more"))
			}
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			hosts, err := hostsNamed(s.inv, args)
			if err != nil {
				return err
			}
			seen := a.look(cmd.Context(), s, hosts)
			samples := a.sampleWAL(cmd.Context(), s, seen, sample)
			if err := context.Cause(cmd.Context()); fault.ClassOf(err) == fault.Interrupted {
				return err // "unreachable" would be a lie
			}
			r := status.BuildSlots(s.inv, seen, s.retired(), samples, sample)
			if err := a.showSlots(r); err != nil {
				return err
			}
			if exitCode && !r.Healthy {
				return &exitError{class: fault.Problems}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&sample, "sample", defaultSample, "the time between the two readings; 0 reads once, and tells no rate")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 3 when there is a problem")
	return cmd
}

// hostsNamed are the hosts of those names in the inventory's order, all without
// names.
func hostsNamed(inv *inventory.Cluster, names []string) ([]*inventory.Host, error) {
	if len(names) == 0 {
		return inv.Hosts, nil
	}
	asked := map[string]bool{}
	for _, name := range names {
		if _, err := hostNamed(inv, name); err != nil {
			return nil, err
		}
		asked[name] = true
	}
	var out []*inventory.Host
	for _, h := range inv.Hosts {
		if asked[h.Name] {
			out = append(out, h)
		}
	}
	return out, nil
}

// sampleWAL reads the WAL of every server that runs, side by side, twice unless
// the time between is 0.
func (a *app) sampleWAL(ctx context.Context, s *session, seen map[string]status.Result, between time.Duration) map[string]status.Sample {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]status.Sample{}
	for name, res := range seen {
		if res.Facts == nil || !res.Facts.Server.Running {
			continue
		}
		wg.Go(func() {
			got := s.sampleWAL(ctx, name, between)
			mu.Lock()
			defer mu.Unlock()
			out[name] = got
		})
	}
	wg.Wait()
	return out
}

func (s *session) sampleWAL(ctx context.Context, name string, between time.Duration) status.Sample {
	var out status.Sample
	if out.Before, out.Err = s.wal(ctx, name); out.Err != nil || between == 0 {
		out.After = out.Before
		return out
	}
	t := time.NewTimer(between)
	defer t.Stop()
	select {
	case <-ctx.Done():
		out.Err = context.Cause(ctx)
		return out
	case <-t.C:
	}
	out.After, out.Err = s.wal(ctx, name)
	return out
}

// wal reads the WAL of one host, within a bound.
func (s *session) wal(ctx context.Context, name string) (facts.WAL, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, gatherTimeout, fmt.Errorf("no answer within %s", gatherTimeout))
	defer cancel()
	g, err := s.conn.gatherer(ctx, name)
	if err != nil {
		return facts.WAL{}, err
	}
	return g.WAL(ctx)
}

func (a *app) showSlots(r status.SlotReport) error {
	if a.set.Output() != "table" {
		return a.encode(r)
	}
	var rows, senders [][]ui.Cell
	for i := range r.Hosts {
		h := &r.Hosts[i]
		for j := range h.Slots {
			rows = append(rows, slotRow(h, &h.Slots[j]))
		}
		if h.Role != "" {
			senders = append(senders, senderRow(h))
		}
	}
	o := ui.TableOptions{Color: a.colorOn(a.Out)}
	if len(rows) == 0 {
		if _, err := fmt.Fprintln(a.Out, "no slots"); err != nil {
			return err
		}
	} else if err := ui.Table(a.Out, []string{"HOST", "SLOT", "TYPE", "OWNER", "ACTIVE", "STATUS", "SAFE", "KEEPS", "GROWS", "FULL IN"}, rows, o); err != nil {
		return err
	}
	if len(senders) > 0 {
		if _, err := fmt.Fprintln(a.Out); err != nil {
			return err
		}
		if err := ui.Table(a.Out, []string{"HOST", "ROLE", "WAL", "FREE", "ROOM", "FULL IN", "SLOT LIMIT", "WITHOUT SLOTS", "ARCHIVE"}, senders, o); err != nil {
			return err
		}
	}
	for _, h := range r.Hosts {
		if err := a.showNotes(a.Out, 0, h.Host, h.Notes); err != nil {
			return err
		}
	}
	return nil
}

func slotRow(h *status.SlotSender, r *status.SlotRow) []ui.Cell {
	owner := cmp.Or(r.Host, string(r.Use))
	if r.Use == slot.Guest {
		owner += " (guest)"
	}
	if r.Retired != "" {
		owner += " of " + r.Retired
	}
	active := "no"
	if r.Active {
		active = "yes"
	}
	row := ui.Row(h.Host, r.Slot, r.Type, owner, active, r.WALStatus, bytesOf(r.SafeWALSize), bytesOf(r.RetainedBytes), rateOf(r.Growth), endOf(r))
	if r.Drop != "" {
		row[3].Style = ui.Warn
	}
	switch r.WALStatus {
	case "lost", "unreserved":
		row[5].Style = ui.Bad
	}
	return row
}

func senderRow(h *status.SlotSender) []ui.Cell {
	limit := "none"
	switch {
	case h.LimitSetting == "":
		limit = "" // the version has none
	case h.LimitBytes != nil:
		limit = ui.Bytes(*h.LimitBytes)
	}
	return ui.Row(h.Host, string(h.Role), rateOf(h.WALRate), bytesOf(h.FreeBytes), bytesOf(h.RoomBytes), spanOf(h.FullSeconds), limit,
		h.KeepSetting+" "+bytesOf(h.KeepBytes), h.ArchiveMode)
}

func bytesOf(n *int64) string {
	if n == nil {
		return ""
	}
	return ui.Bytes(*n)
}

func rateOf(perSecond *float64) string {
	if perSecond == nil {
		return ""
	}
	return ui.Bytes(int64(*perSecond)) + "/s"
}

// endOf is what comes first: the end of the disk, or of what the slot may keep.
func endOf(r *status.SlotRow) string {
	if r.LostSeconds != nil && (r.FullSeconds == nil || *r.LostSeconds < *r.FullSeconds) {
		return "lost " + spanOf(r.LostSeconds)
	}
	return spanOf(r.FullSeconds)
}

// spanOf is a duration that may be longer than Go's 292 years.
func spanOf(seconds *float64) string {
	const years = 10 * 365 * 24 * time.Hour
	switch {
	case seconds == nil:
		return ""
	case *seconds >= years.Seconds():
		return "> 10 years"
	}
	return ui.Span(time.Duration(*seconds * float64(time.Second)))
}
