package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// rolled is a rollout of a schema change, as its journal has it.
type rolled struct {
	Run      string         `json:"run"`
	Started  string         `json:"started"`
	Database string         `json:"database"`
	File     string         `json:"file"`
	Part     string         `json:"part"`
	Mode     string         `json:"mode"`
	Status   journal.Status `json:"status"`
	// LSN is where it is in the WAL, once it is known to be committed.
	LSN   string `json:"lsn,omitempty"`
	State string `json:"state"`
	Next  string `json:"next,omitempty"`
}

func (a *app) ddlStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "The rollouts of schema changes: what is open, and how it goes on", Args: cobra.NoArgs,
		Long: `List the rollouts that the journals of this machine and of the primary know: which file
and part of it, whether it is committed, and what to type for one that did not come to its
end. As JSON or YAML it is a list of rollouts, without the format that other results have.`,
		Example: "  pgrepctl ddl status",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ddlStatus(cmd.Context()) },
	}
}

func (a *app) ddlStatus(ctx context.Context) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	runs, err := s.List(ctx)
	if err != nil {
		fmt.Fprintf(a.Err, "only the runs of this machine are listed: %v\n", err)
	}
	list := []rolled{}
	for _, r := range runs {
		if r.Run.Plan != deployPlan {
			continue
		}
		list = append(list, s.rolled(ctx, r))
	}
	if a.set.Output() != "table" {
		return a.encode(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.Out, "no schema change was rolled out")
		return err
	}
	var rows [][]ui.Cell
	for _, l := range list {
		rows = append(rows, ui.Row(l.Run, l.Database, l.File, l.Part, l.Mode, string(l.Status), l.State))
	}
	if err := ui.Table(a.Out, []string{"RUN", "DATABASE", "FILE", "PART", "MODE", "STATUS", "STATE"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)}); err != nil {
		return err
	}
	for _, l := range list {
		if l.Next != "" {
			fmt.Fprintf(a.Out, "%s: %s\n", l.Run, a.withInventory(l.Next))
		}
	}
	return nil
}

// rolled reads a run's journal.
func (s *session) rolled(ctx context.Context, r journal.Summary) rolled {
	out := rolled{Run: r.ID, Started: r.Started.UTC().Format("2006-01-02 15:04:05Z"), Database: r.Vars["database"], File: r.Vars["file"], Part: r.Vars["part"], Mode: r.Vars["mode"], Status: r.Status, State: "not known"}
	f, err := s.Find(ctx, r.ID)
	if err != nil {
		out.State = "its journal cannot be read: " + err.Error()
		return out
	}
	xid, alone := "", false // alone: a statement that is in no transaction has begun
	for _, rec := range f.Records {
		if x := rec.Output[effect.DDLXid]; x != "" {
			xid = x
		}
		alone = alone || rec.Type == journal.Intent && rec.Effect == (&effect.LoneDDL{}).Kind()
	}
	lsn, committed := committedIn(f.Records)
	switch {
	case committed:
		out.LSN, out.State = lsn, "committed at "+lsn
	case xid != "" && r.Open():
		out.State = "about to be committed, as transaction " + xid + ": the primary knows"
	case alone && r.Open():
		out.State = "begun, in no transaction, and perhaps done: the primary knows"
	default:
		out.State = "not committed"
	}
	switch {
	case r.Status == journal.Going || !f.Open():
	case committed:
		out.Next = "pgrepctl ddl resume " + r.ID
	default:
		out.Next = "pgrepctl ddl resume " + r.ID + ", or pgrepctl ddl abort " + r.ID
	}
	return out
}

func (a *app) ddlResumeCommand() *cobra.Command {
	return a.ddlGoOn("resume [RUN]", "Go on with a rollout that did not come to its end",
		`Go on with a rollout that was interrupted or failed, with the statements that its journal
has. Whether it was committed is asked of the primary. What was paused when the tool died has
been resumed by its leash; what is not done is done, and what is done is not done twice.`,
		func(f *engine.Found) error { return nil }, (*engine.Engine).PreviewResume, (*engine.Engine).Resume)
}

func (a *app) ddlAbortCommand() *cobra.Command {
	return a.ddlGoOn("abort [RUN]", "Take a rollout back that is not committed",
		`Take back what an interrupted rollout did before its COMMIT: reads and replay are as they
were before. A change that is committed cannot be taken back: "pgrepctl ddl resume".`,
		func(f *engine.Found) error {
			if lsn, ok := committedIn(f.Records); ok {
				return fault.Refuse("", "go forward instead: pgrepctl ddl resume "+f.ID, fmt.Errorf("it is committed, at %s: from there it only goes forward", lsn))
			}
			return nil
		}, previewUndo, (*engine.Engine).Undo)
}

func (a *app) ddlGoOn(use, short, long string, refuse func(*engine.Found) error, preview func(*engine.Engine, context.Context, *engine.Found) (*engine.Preview, error), do func(*engine.Engine, context.Context, *engine.Found) (*engine.Report, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(ctx)
			f, err := s.openRollout(ctx, args)
			if err != nil {
				return err
			}
			if err := refuse(f); err != nil {
				return err
			}
			pre, err := preview(s.Engine, ctx, f)
			if err != nil {
				return err
			}
			return a.confirmed(ctx, s, pre, func(ctx context.Context) (*engine.Report, error) { return do(s.Engine, ctx, f) })
		},
	}
	cmd.Example = "  pgrepctl ddl " + cmd.Name()
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
	return cmd
}

// openRollout finds the run that is named, else the one that is open.
func (s *session) openRollout(ctx context.Context, args []string) (*engine.Found, error) {
	if len(args) == 1 {
		f, err := s.Find(ctx, args[0])
		if err == nil && f.Run.Plan != deployPlan {
			err = &fault.Error{Class: fault.Usage, Err: fmt.Errorf("run %s is no rollout of a schema change, but %s", f.ID, f.Run.Plan), Hint: "pgrepctl ddl status"}
		}
		return f, err
	}
	runs, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Backward(runs) {
		if r.Run.Plan == deployPlan && r.Open() {
			return s.Find(ctx, r.ID)
		}
	}
	return nil, fault.Refuse("", "pgrepctl ddl status", errors.New("no rollout is open"))
}
