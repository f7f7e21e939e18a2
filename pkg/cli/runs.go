package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) runsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "runs", Short: "The journal of every run: look, resume, undo",
		Long: `Every run keeps a journal on the machine that began it and, for as long as it owes
something, a copy on the primary. So a run that was interrupted can be shown, resumed
and undone from any machine with the inventory: "runs list" names it, with the host of
the copy, and the other commands take its id.`}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List the runs of the inventory's cluster", Example: "  pgrepctl runs list", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return a.listRuns(cmd.Context()) }},
		&cobra.Command{Use: "show RUN", Short: "Show what a run intended, did and undid", Example: "  pgrepctl runs show 20260112T091500Z-7f3a", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error { return a.showRun(cmd.Context(), args[0]) }},
		a.goOn("resume RUN", "Go on with a run that was interrupted or failed", (*engine.Engine).PreviewResume, (*engine.Engine).Resume),
		a.abandonCommand(),
		a.goOn("undo RUN", "Take a run back: its recorded inverses, last first", previewUndo, (*engine.Engine).Undo),
	)
	return cmd
}

// previewUndo is refused where the undo would be, before anybody is asked.
func previewUndo(e *engine.Engine, ctx context.Context, f *engine.Found) (*engine.Preview, error) {
	if f.Status != journal.UndoneRun {
		if err := e.RefuseUndo(f); err != nil {
			return nil, err
		}
		if err := e.RefuseUndoNow(ctx, f); err != nil {
			return nil, err
		}
	}
	return e.PreviewUndo(f)
}

func (a *app) goOn(use, short string, preview func(*engine.Engine, context.Context, *engine.Found) (*engine.Preview, error), do func(*engine.Engine, context.Context, *engine.Found) (*engine.Report, error)) *cobra.Command {
	var alone bool
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		Example: "  pgrepctl runs " + strings.Replace(use, "RUN", "20260112T091500Z-7f3a", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			f, err := s.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s.Alone = alone
			pre, err := preview(s.Engine, cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.confirmed(cmd.Context(), s, pre, func(ctx context.Context) (*engine.Report, error) { return do(s.Engine, ctx, f) })
		},
	}
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().BoolVar(&alone, "alone", false, "go by the journal of this machine, though the primary has no copy of it any more")
	return cmd
}

func (a *app) abandonCommand() *cobra.Command {
	return &cobra.Command{
		Use: "abandon RUN", Short: "End an open run and leave what it did as it is", Args: cobra.ExactArgs(1),
		Long: `End a run that can neither be resumed nor undone, because a host of it is gone for
good, say. What it did and nobody will take back is shown first: look above all for
slots, which keep WAL until they are dropped.`,
		Example: "  pgrepctl runs abandon 20260112T091500Z-7f3a",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			f, err := s.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			left, err := s.PreviewUndo(f)
			if errors.Is(err, engine.ErrNotKnown) {
				fmt.Fprintf(a.Err, "what it leaves to you cannot all be told: %v\n", err)
			}
			if fault.ClassOf(err) == fault.Refused {
				left = nil // whoever ended it saw to that
			} else if err != nil {
				return err
			}
			for _, line := range leftToYou(f, left) {
				fmt.Fprintln(a.Err, line)
			}
			if err := a.ask(cmd.Context(), "Leave all that as it is, and end run "+f.ID+"?"); err != nil {
				return err
			}
			return s.Abandon(cmd.Context(), f)
		},
	}
}

// leftToYou is what nobody takes back, and nobody does, once a run is abandoned.
func leftToYou(f *engine.Found, back *engine.Preview) []string {
	if back == nil {
		return nil
	}
	var out []string
	for _, l := range back.Lines {
		for _, d := range l.Effects {
			if d.Verb == engine.StopAt {
				out = append(out, fmt.Sprintf("stays as it is: %s: %s (cannot be undone: %s)", d.Host, d.Subject, d.NoReturn))
				continue
			}
			out = append(out, fmt.Sprintf("left to you: %s: %s", d.Host, d))
		}
	}
	if rest := f.Rest(); rest != "" {
		out = append(out, rest)
	}
	return out
}

// takesBack reports whether a run that failed is taken back at once. Not where the operator
// wants to stop: the undo would be stopped as well, and there is no resume once it was begun.
// Nor where this process was refused before it began anything: all that the run did is
// then of an earlier call, and perhaps of another operator.
func (a *app) takesBack(r *engine.Report, err error) bool {
	if err == nil || r == nil || errors.Is(err, engine.ErrStopped) {
		return false
	}
	select {
	case <-a.Stop:
		return false
	default:
	}
	switch fault.ClassOf(err) {
	case fault.Interrupted:
		return false
	case fault.Locked, fault.Refused:
		return r.Begun
	}
	return true
}

// undoFailed is --on-failure=undo.
func (a *app) undoFailed(ctx context.Context, s *session, r *engine.Report, cause error) error {
	if errors.Is(cause, engine.ErrCopyLeft) {
		return cause // nothing failed that was to be done
	}
	ctx, done := owed(ctx)
	defer done()
	f, err := s.Find(ctx, r.Run)
	if err != nil || !f.Open() || f.On != "" {
		// It failed before it did anything, or somebody else went on with it: what the copy
		// tells, and this machine does not know, is theirs.
		return cause
	}
	if _, err := s.Undo(ctx, f); err != nil {
		return notTakenBack(r.Run, cause, err)
	}
	return &fault.Error{Class: fault.Undone, Err: takenBack(r.Run, cause), State: "run " + r.Run + " was undone: everything is as it was before it"}
}

// takenBack is why a run failed that is undone by now: there is nothing to resume or
// undo, and what the failure had left is not so any more.
func takenBack(run string, cause error) error {
	walk(cause, func(f *fault.Error) {
		f.State = ""
		if strings.Contains(f.Hint, run) {
			f.Hint = ""
		}
	})
	return cause
}

// notTakenBack is why a run failed, and why its undo did: of that the hint is, for the
// run cannot be resumed any more, unless the undo was never begun.
func notTakenBack(run string, cause, err error) error {
	hinted := false
	walk(err, func(f *fault.Error) { hinted = hinted || strings.Contains(f.Hint, run) })
	if !hinted {
		err = &fault.Error{Class: fault.ClassOf(err), Err: err, State: "run " + run + " is taken back in part", Hint: "to go on: pgrepctl runs undo " + run}
	}
	return errors.Join(takenBack(run, cause), err)
}

// runList is the runs of a cluster, the oldest first.
type runList struct {
	Format string            `json:"format"`
	Runs   []journal.Summary `json:"runs"`
}

func (a *app) listRuns(ctx context.Context) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	runs, err := s.List(ctx)
	if err != nil {
		fmt.Fprintf(a.Err, "only the runs of this machine are listed: %v\n", err)
	}
	if a.set.Output() != "table" {
		return a.encode(runList{"pgrepctl.runs/v1", append([]journal.Summary{}, runs...)}) // none is [], not null
	}
	var rows [][]ui.Cell
	for _, r := range runs {
		vars := ""
		if v := r.Vars["standby"]; v != "" {
			vars = v
		}
		took, records := ui.Span(r.Ended.Sub(r.Started).Round(time.Millisecond)), strconv.Itoa(r.Records)
		if r.On != "" { // its first record is all that is known
			took, records = "", ""
		}
		rows = append(rows, ui.Row(r.ID, r.Plan, vars, string(r.Status), r.Operator, took, records, r.On))
	}
	return ui.Table(a.Out, []string{"RUN", "PLAN", "ON", "STATUS", "BY", "TOOK", "RECORDS", "FOUND ON"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
}

func (a *app) encode(v any) error { return a.encodeTo(a.Out, v) }

func (a *app) encodeTo(w io.Writer, v any) error {
	if a.set.Output() == "yaml" {
		return ui.YAML(w, v)
	}
	return ui.JSON(w, v)
}
