package cli

import (
	"context"
	"errors"
	"fmt"
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
	cmd := &cobra.Command{Use: "runs", Short: "The journal of every run: look, resume, undo"}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List the runs of the inventory's cluster", Example: "  pgrepctl runs list", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return a.listRuns() }},
		&cobra.Command{Use: "show RUN", Short: "Show what a run intended, did and undid", Example: "  pgrepctl runs show 20260112T091500Z-7f3a", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error { return a.showRun(args[0]) }},
		a.goOn("resume RUN", "Go on with a run that was interrupted or failed", previewResume, (*engine.Engine).Resume),
		a.abandonCommand(),
		a.goOn("undo RUN", "Take a run back: its recorded inverses, last first", previewUndo, (*engine.Engine).Undo),
	)
	return cmd
}

func previewResume(ctx context.Context, s *session, path string) (*engine.Preview, error) {
	p, err := s.PlanOf(path)
	if err != nil {
		return nil, err
	}
	return s.Preview(ctx, p)
}

func previewUndo(_ context.Context, s *session, path string) (*engine.Preview, error) {
	return s.PreviewUndo(path)
}

func (a *app) goOn(use, short string, preview func(context.Context, *session, string) (*engine.Preview, error), do func(*engine.Engine, context.Context, string) (*engine.Report, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		Example: "  pgrepctl runs " + strings.Replace(use, "RUN", "20260112T091500Z-7f3a", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			r, err := find(s.Dir, args[0])
			if err != nil {
				return err
			}
			pre, err := preview(cmd.Context(), s, r.Path)
			if err != nil {
				return err
			}
			return a.confirmed(cmd.Context(), s, pre, func(ctx context.Context) (*engine.Report, error) { return do(s.Engine, ctx, r.Path) })
		},
	}
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
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
			r, err := find(s.Dir, args[0])
			if err != nil {
				return err
			}
			left, err := s.PreviewUndo(r.Path)
			if err != nil {
				return err
			}
			for _, l := range left.Lines {
				for _, d := range l.Effects {
					fmt.Fprintf(a.Err, "left to you: %s: %s\n", d.Host, d)
				}
			}
			if err := ui.Confirm(a.In, a.Err, ui.IsTerminal(a.In) && ui.IsTerminal(a.Err), a.set.Yes(), "Leave all that as it is, and end run "+r.ID+"?"); err != nil {
				return err
			}
			return s.Abandon(r.Path)
		},
	}
}

// undoFailed is --on-failure=undo.
func (a *app) undoFailed(ctx context.Context, s *session, r *engine.Report, cause error) error {
	run, err := find(s.Dir, r.Run)
	if err != nil {
		return cause // it failed before it did anything
	}
	if _, err := s.Undo(context.WithoutCancel(ctx), run.Path); err != nil {
		return errors.Join(cause, err)
	}
	return &fault.Error{Class: fault.Undone, Err: cause, State: "run " + r.Run + " was undone: everything is as it was before it"}
}

func find(dir, id string) (journal.Summary, error) {
	runs, err := journal.List(dir)
	if err != nil {
		return journal.Summary{}, err
	}
	for _, r := range runs {
		if r.ID == id {
			return r, nil
		}
	}
	return journal.Summary{}, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("no run %q of this cluster in %s", id, dir), Hint: "pgrepctl runs list"}
}

func (a *app) listRuns() error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(context.Background())
	runs, err := journal.List(s.Dir)
	if err != nil {
		return err
	}
	if a.set.Output() != "table" {
		return a.encode(append([]journal.Summary{}, runs...)) // none is [], not null
	}
	var rows [][]ui.Cell
	for _, r := range runs {
		vars := ""
		if v := r.Vars["standby"]; v != "" {
			vars = v
		}
		rows = append(rows, ui.Row(r.ID, r.Plan, vars, string(r.Status), r.Operator, ui.Span(r.Ended.Sub(r.Started).Round(time.Millisecond)), strconv.Itoa(r.Records)))
	}
	return ui.Table(a.Out, []string{"RUN", "PLAN", "ON", "STATUS", "BY", "TOOK", "RECORDS"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
}

func (a *app) showRun(id string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(context.Background())
	r, err := find(s.Dir, id)
	if err != nil {
		return err
	}
	recs, err := journal.Read(r.Path)
	if err != nil {
		return err
	}
	if a.set.Output() != "table" {
		return a.encode(recs)
	}
	var rows [][]ui.Cell
	for _, rec := range recs {
		text := rec.Text
		switch {
		case rec.Error != "":
			text = rec.Error
		case rec.Type == journal.Start:
			text = rec.Run.Plan + " by " + rec.Run.Operator
		case rec.Type == journal.End:
			text = string(rec.Status)
		case rec.Of > 0:
			text = "of " + strconv.Itoa(rec.Of)
		}
		rows = append(rows, ui.Row(strconv.Itoa(rec.Seq), rec.At.Format("15:04:05.000"), string(rec.Type), rec.Host, rec.Step, text))
	}
	return ui.Table(a.Out, []string{"#", "AT", "TYPE", "HOST", "STEP", "WHAT"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
}

func (a *app) encode(v any) error {
	if a.set.Output() == "yaml" {
		return ui.YAML(a.Out, v)
	}
	return ui.JSON(a.Out, v)
}
