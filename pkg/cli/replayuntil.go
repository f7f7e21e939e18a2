package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

func (a *app) replayUntilCommand() *cobra.Command {
	var at, lsn, name string
	var o untilOptions
	cmd := &cobra.Command{
		Use:   "until HOST",
		Short: "Let a delayed standby replay up to just before an accident, and stand there",
		Long: `Restart a delayed standby with a recovery target and without its delay: it replays
quickly up to the target and stands there, read-only, for as long as you like. What it has
replayed already cannot be taken back: a target before that is refused, with the numbers.

--time stops before the first commit at or after that time (its zone must be given), --lsn
before the record at that position, --name at a restore point that is looked for in the WAL
that the standby has received. With --inclusive what stands at the target is replayed too.

At the end it says how to dump a table and how to go back. "pgrepctl runs undo RUN" puts
the settings back and restarts it; then it goes on as a delayed standby, and replays the
rest once that is older than its apply_delay. Its slot stays all the time. While it
stands it receives no WAL unless it has streamed since the restart; the slot keeps it.`,
		Example: `  pgrepctl standby hold --yes
  pgrepctl replay until pg4 --time '2026-11-26 07:10:00+00' --dry-run
  pgrepctl replay until pg4 --lsn 0/16B3748 --yes
  pgrepctl replay until pg4 --name before_release --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := targetOf(at, lsn, name)
			if err != nil {
				return usage(cmd, err)
			}
			t.Inclusive = o.inclusive
			return a.onStandby(cmd.Context(), args[0], func(ctx context.Context, s *session, h *inventory.Host) error {
				return primaryGone(s.inv, a.replayUntil(ctx, s, h, t, o))
			})
		},
	}
	cmd.Flags().StringVar(&at, "time", "", "stop before the first commit at or after this `TIME`, such as '2026-11-26 07:10:00+00'")
	cmd.Flags().StringVar(&lsn, "lsn", "", "stop before the record at this `LSN` (10+)")
	cmd.Flags().StringVar(&name, "name", "", "stop at the `RESTOREPOINT` of this name")
	cmd.Flags().BoolVar(&o.inclusive, "inclusive", false, "replay what stands at the target too")
	cmd.Flags().BoolVar(&o.locked, "locked", false, "stop there although tables are locked then, and cannot be read")
	cmd.Flags().BoolVar(&o.managed, "accept-manager", false, "go on although Patroni or repmgrd is there, which may promote the standby")
	withoutPrimary(cmd, &o.gone)
	a.actFlags(cmd)
	return cmd
}

// untilOptions are the flags of replay until.
type untilOptions struct{ inclusive, managed, locked, gone bool }

// targetOf reads the one target that is given.
func targetOf(at, lsn, name string) (replay.Target, error) {
	given := ""
	for _, x := range [][2]string{{"time", at}, {"lsn", lsn}, {"name", name}} {
		if x[1] == "" {
			continue
		}
		if given != "" {
			return replay.Target{}, errors.New("give one of --time, --lsn and --name")
		}
		given = x[0] + " " + x[1]
	}
	if given == "" {
		return replay.Target{}, errors.New("give one of --time, --lsn and --name")
	}
	return replay.ParseTarget(given)
}

func (a *app) replayUntil(ctx context.Context, s *session, h *inventory.Host, t replay.Target, o untilOptions) error {
	t, standsAt, err := a.lookAhead(ctx, s, h, t, o)
	if err != nil {
		return err
	}
	vars := lockOn(map[string]string{"standby": h.Name, "target": t.Text()}, h, o.gone)
	if t.Inclusive {
		vars["stop"] = "after"
	}
	if standsAt != 0 {
		vars["stands-at"] = standsAt.String()
	}
	p, err := a.builtinPlan(s.inv, "replay-until", vars)
	if err != nil {
		return err
	}
	pre, err := s.Preview(ctx, p)
	if err != nil {
		return err
	}
	r, err := a.applied(ctx, s, p, pre)
	if err != nil || r == nil || a.set.Output() != "table" {
		return err
	}
	return a.whatNow(s, h, t, r)
}

// whatNow says where the standby stands, how to get a table out of it and how to go
// back.
func (a *app) whatNow(s *session, h *inventory.Host, t replay.Target, r *engine.Report) error {
	lsn, last, receiver := r.Outputs[effect.ReplayLSN], r.Outputs[effect.ReplayTime], r.Outputs[effect.ReplayReceiver]
	if a.dryRun {
		return nil
	}
	lines := []string{h.Name + " stands " + t.String() + ", read-only, until you let it go on"}
	if lsn != "" {
		lines[0] = h.Name + " stands at " + lsn + ", " + t.String() + ", read-only, until you let it go on"
		lines = append(lines, "last transaction replayed: "+cmp.Or(last, "not known, for none was since its start"))
		if receiver == "" {
			receiver = "no: it has no walreceiver; " + cmp.Or(slotWords(h), "its upstream keeps WAL only as long as its settings say")
		}
		lines = append(lines, "receives WAL meanwhile:    "+receiver)
	}
	if locked := r.Outputs[effect.ReplayLocked]; locked != "" {
		lines = append(lines, "locked, cannot be read:    "+locked+"; only the end of recovery frees it: pgrepctl replay resume "+h.Name+" --promote, after which this standby has to be made anew")
	}
	lines = append(lines, "dump a table, on "+h.Name+":    "+shell.Typed(h.Postgres.OSUser, "pg_dump", "-p", fmt.Sprint(h.Postgres.Port), "-Fc")+" -t TABLE DATABASE > TABLE.dump")
	back := "pgrepctl replay resume " + h.Name + " --follow"
	if r.Run != "" {
		back = "pgrepctl runs undo " + r.Run + ", or " + back
	}
	lines = append(lines, "follow again:              "+back)
	_, err := fmt.Fprintln(a.Out, a.withInventory(strings.Join(lines, "\n")))
	return err
}

func slotWords(h *inventory.Host) string {
	if h.Slot == "" {
		return ""
	}
	return "slot " + h.Slot + " on " + h.UpstreamName + " keeps it, and fills its disk"
}
