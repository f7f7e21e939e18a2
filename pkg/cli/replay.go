package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) replayCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "replay", Short: "The replay of standbys: look, pause, resume, wait, stop before an accident",
		Long: `A standby receives WAL and replays it. To pause replay stops only the second: it serves
older and older data, and the WAL that it goes on receiving fills its disk.

After an accident, stop the delayed standbys first: "pgrepctl standby hold --yes".`}
	cmd.AddCommand(a.replayStatusCommand(), a.replayPauseCommand(), a.replayResumeCommand(), a.replayWaitCommand(), a.replayUntilCommand())
	return cmd
}

// withoutPrimary is the flag of what is about one standby and must work when the
// primary is gone.
func withoutPrimary(cmd *cobra.Command, gone *bool) {
	cmd.Flags().BoolVar(gone, "without-primary", false, "the primary is gone: take the lock, and keep the copy of the journal, on the standby")
}

// lockOn is the plan's variable for it.
func lockOn(vars map[string]string, h *inventory.Host, gone bool) map[string]string {
	if gone {
		vars["lock"] = h.Name
	}
	return vars
}

// primaryGone adds what to type when it is the primary that does not answer.
func primaryGone(inv *inventory.Cluster, err error) error {
	var f *fault.Error
	if fault.ClassOf(err) != fault.Unreachable || !errors.As(err, &f) || f.Host != inv.Primary().Name {
		return err
	}
	return &fault.Error{Class: fault.Unreachable, Err: err, State: "nothing was changed", Hint: "the same command with --without-primary needs only the standby"}
}

func (a *app) replayPauseCommand() *cobra.Command {
	var gone bool
	cmd := &cobra.Command{
		Use:   "pause HOST",
		Short: "Pause replay on a standby, and wait until the pause holds",
		Long: `Pause replay. A pause is a request: this waits until it holds. From PostgreSQL 14 on the
server says so; before, replay must be seen to stand still. Replay that waits for a query
on the standby pauses when that query is over. A standby that waits out its apply delay
stands still at once, and its state stays "pause requested" until the delay is over.

The standby goes on receiving, so its disk fills; the end of the output says how fast. A
restart of the server ends the pause. Patroni resumes any paused replica by itself.`,
		Example: `  pgrepctl replay pause pg3 --dry-run
  pgrepctl replay pause pg3 --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onStandby(cmd.Context(), args[0], func(ctx context.Context, s *session, h *inventory.Host) error {
				p, err := a.builtinPlan(s.inv, "pause-replay", lockOn(map[string]string{"standby": h.Name}, h, gone))
				if err != nil {
					return err
				}
				if err := a.act(ctx, s, p); err != nil {
					return primaryGone(s.inv, err)
				}
				return a.warnOfPause(ctx, s, h)
			})
		},
	}
	withoutPrimary(cmd, &gone)
	a.actFlags(cmd)
	return cmd
}

// onStandby opens the inventory for a command about one standby.
func (a *app) onStandby(ctx context.Context, name string, do func(context.Context, *session, *inventory.Host) error) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	h, err := standbyNamed(s.inv, name)
	if err != nil {
		return err
	}
	return do(ctx, s, h)
}

// warnOfPause says what the pause costs, and who may end it.
func (a *app) warnOfPause(ctx context.Context, s *session, h *inventory.Host) error {
	if a.dryRun || a.set.Output() != "table" {
		return nil
	}
	r := a.readReplay(ctx, s, []*inventory.Host{h}, rateSample)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	row := r.Hosts[0]
	text := h.Name + " receives and does not replay: its WAL stays on its disk"
	if row.FreeBytes != nil {
		text += ", which has " + ui.Bytes(*row.FreeBytes) + " free"
	}
	if row.FullInSeconds != nil {
		text += ", and is full in " + secondsText(*row.FullInSeconds) + " at the present rate"
	}
	fmt.Fprintln(a.Err, "warning: "+text)
	for _, m := range row.ResumedBy {
		fmt.Fprintf(a.Err, "warning: %s: %s\n", h.Name, managerResumes(m))
	}
	return nil
}

func managerResumes(name string) string {
	if name == "patroni" {
		return "Patroni runs there, or is set up: it resumes replay by itself (14+), unless its cluster is in pause mode: patronictl pause"
	}
	return "repmgrd runs there, or is set up: it resumes replay when it fails over"
}

func (a *app) replayResumeCommand() *cobra.Command {
	var gone, follow, promote bool
	var delay string
	cmd := &cobra.Command{
		Use:   "resume HOST",
		Short: "Resume replay on a standby",
		Long: `Resume replay; with nothing to resume this says so and ends well.

A standby that "replay until" has stopped at a target is refused: to resume replay there
ends recovery, and the server takes writes from then on. That is so in every version.
With --follow the target is taken away and the standby started again: where this machine
has the journal of the run that set it, that run is taken back; else the apply delay is
that of the inventory, or of --apply-delay. With --promote recovery ends, for good.`,
		Example: `  pgrepctl replay resume pg3 --yes
  pgrepctl replay resume pg3 --follow --dry-run
  pgrepctl replay resume pg3 --follow --apply-delay 4h --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow && promote {
				return usage(cmd, errors.New("--follow and --promote are two ways to go on: give one"))
			}
			if delay != "" && !follow {
				return usage(cmd, errors.New("--apply-delay belongs to --follow"))
			}
			return a.onStandby(cmd.Context(), args[0], func(ctx context.Context, s *session, h *inventory.Host) error {
				if id := runOfTarget(s, h); follow && delay == "" && !gone && id != "" {
					return primaryGone(s.inv, a.takeBack(ctx, s, id))
				}
				name, vars := "resume-replay", map[string]string{"standby": h.Name}
				switch {
				case promote:
					vars["at-target"] = "promote"
				case follow:
					name = "follow-again"
					if delay != "" {
						vars["apply-delay"] = delay
					}
				}
				p, err := a.builtinPlan(s.inv, name, lockOn(vars, h, gone))
				if err != nil {
					return err
				}
				return primaryGone(s.inv, a.act(ctx, s, p))
			})
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "take a recovery target away and restart the standby, so that it follows again")
	cmd.Flags().BoolVar(&promote, "promote", false, "at a recovery target: end recovery; the server takes writes from then on")
	cmd.Flags().StringVar(&delay, "apply-delay", "", "of --follow: the `DELAY` from then on, such as 4h, or 0")
	withoutPrimary(cmd, &gone)
	a.actFlags(cmd)
	return cmd
}

// runOfTarget is the run of this machine that set the recovery target of a standby,
// if it can be taken back: no other came after it. Empty if there is none.
func runOfTarget(s *session, h *inventory.Host) string {
	runs, err := journal.List(s.Dir)
	if err != nil {
		return ""
	}
	id := ""
	for _, r := range runs {
		if r.Status != journal.Succeeded || !r.Acted || r.NoCopy {
			continue
		}
		id = ""
		if r.Run.Plan == "replay-until" && r.Vars["standby"] == h.Name {
			id = r.ID
		}
	}
	return id
}

// takeBack is runs undo.
func (a *app) takeBack(ctx context.Context, s *session, id string) error {
	f, err := s.Find(ctx, id)
	if err != nil {
		return err
	}
	pre, err := previewUndo(s.Engine, ctx, f)
	if err != nil {
		return err
	}
	return a.confirmed(ctx, s, pre, func(ctx context.Context) (*engine.Report, error) { return s.Undo(ctx, f) })
}

// waited is the result of replay wait.
type waited struct {
	Format  string `json:"format"`
	Host    string `json:"host"`
	LSN     string `json:"lsn"`        // that was waited for
	Replay  string `json:"replay_lsn"` // how far it is
	Reached bool   `json:"reached"`
}

func (a *app) replayWaitCommand() *cobra.Command {
	var lsn string
	var now bool
	cmd := &cobra.Command{
		Use:   "wait HOST",
		Short: "Wait until a standby has replayed a position",
		Long: `Wait until the standby has replayed --lsn, or what the primary has written when this
begins. With --timeout, the wait ends with exit code 1 and how far the standby is. A
replay that is paused is not waited for: that is said at once, with exit code 1.`,
		Example: `  pgrepctl replay wait pg2 --primary-now --timeout 30s
  pgrepctl replay wait pg2 --lsn 0/16B3748`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (lsn == "") != now {
				return usage(cmd, errors.New("give one of --lsn and --primary-now"))
			}
			return a.onStandby(cmd.Context(), args[0], func(ctx context.Context, s *session, h *inventory.Host) error {
				return a.waitReplay(ctx, s, h, lsn)
			})
		},
	}
	cmd.Flags().StringVar(&lsn, "lsn", "", "the position, such as `0/16B3748`")
	cmd.Flags().BoolVar(&now, "primary-now", false, "the position up to which the primary has written now")
	return cmd
}
