package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// rollout is the flags of ddl plan and ddl deploy.
type rollout struct {
	database, mode, role  string
	first, from           int
	lockTimeout, lockWait time.Duration
	drainTimeout          time.Duration
	maxStale              time.Duration
	allowRewrite          bool
	acceptManager         bool
	cancelAfter           time.Duration
	terminateIdle         bool
	minServing            int
	// given are the flags that were given, as words, but for --database and --from.
	given []string
}

func (o *rollout) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.database, "database", "", "the `DATABASE` that is changed")
	f.StringVar(&o.mode, "mode", "auto", "auto, none, gate, roll or via-primary")
	f.StringVar(&o.role, "role", "", "the `ROLE` that runs it, and owns what it makes")
	f.IntVar(&o.first, "first", 0, "how many standbys replay first, without readers (default half of those that serve)")
	f.IntVar(&o.from, "from", 1, "begin with this part of the file: those before it are deployed")
	f.DurationVar(&o.lockTimeout, "lock-timeout", 200*time.Millisecond, "how long one lock is waited for on the primary")
	f.DurationVar(&o.lockWait, "lock-wait", 10*time.Minute, "for how long it is tried again")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 0, "how long to wait until nobody reads from a standby (default the inventory's)")
	f.DurationVar(&o.cancelAfter, "cancel-after", 0, "after this time, cancel statements that still run on a drained standby (default never)")
	f.BoolVar(&o.terminateIdle, "terminate-idle", false, "end idle sessions there as well; needs clients_retry in the inventory")
	f.IntVar(&o.minServing, "min-serving", 1, "how many servers must serve at any time")
	f.DurationVar(&o.maxStale, "max-stale", 10*time.Second, "how late the standbys that serve may be; also the longest time of the statements")
	f.BoolVar(&o.allowRewrite, "allow-rewrite", false, "allow a table rewrite that is expected to take less than --max-stale")
	f.BoolVar(&o.acceptManager, "accept-manager", false, "go on although Patroni or repmgrd is there, which may resume replay or promote a standby")
}

func (a *app) ddlPlanCommand() *cobra.Command {
	var o rollout
	cmd := &cobra.Command{
		Use: "plan FILE --database DATABASE", Short: "Show how a schema change would be rolled out, and do nothing", Args: cobra.ExactArgs(1),
		Long: `Show what "pgrepctl ddl deploy" would do now: the mode of each part of the file and why,
who serves reads at each moment, and what is waited for how long. Nothing is changed. With
-o json the same for programs: mode, why, first and second of each part beside the steps.`,
		Example: `  pgrepctl ddl plan add_note.sql --database shop
  pgrepctl ddl plan add_note.sql --database shop -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.dryRun = true
			return a.deployDDL(cmd, args[0], o)
		},
	}
	o.flags(cmd)
	return cmd
}

func (a *app) ddlDeployCommand() *cobra.Command {
	var o rollout
	cmd := &cobra.Command{
		Use: "deploy FILE --database DATABASE", Short: "Roll a schema change out: no read on a standby waits, fails or is cancelled", Args: cobra.ExactArgs(1),
		Long: `Run the statements of a file on the primary so that no read on a standby notices.
A schema change replays on a standby under a lock that shuts readers out, and waits there
behind the longest query while all others queue up. So some standbys get no reads first; the
others are paused, and serve; the change is made, and replayed where nobody reads; then
reads and replay change places.

Clients that do not leave a standby are waited for, and nobody is made to leave without
--cancel-after or --terminate-idle.

Until the COMMIT, whatever fails is taken back, and nothing is left (exit code 9). After it
the rollout only goes forward: "pgrepctl ddl resume". Statements that follow each other are
one transaction; one that can be in none, such as CREATE INDEX CONCURRENTLY, is a part of
its own. The old and the new schema are visible side by side for a while: what reads must
understand both.`,
		Example: `  pgrepctl ddl deploy add_note.sql --database shop --dry-run
  pgrepctl ddl deploy add_note.sql --database shop --lock-wait 5m --yes`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.deployDDL(cmd, args[0], o) },
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
	return cmd
}

func (a *app) deployDDL(cmd *cobra.Command, file string, o rollout) error {
	ctx := cmd.Context()
	if err := o.valid(cmd); err != nil {
		return err
	}
	text, err := os.ReadFile(a.expand(file))
	if err != nil {
		return &fault.Error{Class: fault.Invalid, Op: "read the schema change", Err: err}
	}
	o.given = givenFlags(cmd)
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	d, err := a.deployment(ctx, s, file, text, o)
	if err != nil {
		return err
	}
	whole, err := a.previewDeploy(ctx, s, d)
	if err != nil {
		return err
	}
	if a.dryRun && a.set.Output() != "table" {
		return a.encodeDeploy(s, d, whole)
	}
	return a.confirmed(ctx, s, whole, func(ctx context.Context) (*engine.Report, error) {
		return a.deployParts(ctx, s, d)
	})
}

func (o *rollout) valid(cmd *cobra.Command) error {
	switch {
	case o.database == "":
		return usage(cmd, errors.New("--database is missing"))
	case !slices.Contains(ddl.Modes(), ddl.Mode(o.mode)):
		return usage(cmd, fmt.Errorf("--mode %s: want auto, none, gate, roll or via-primary", o.mode))
	case o.first < 0, o.from < 1, o.minServing < 1:
		return usage(cmd, errors.New("--first, --from and --min-serving are numbers from 1 on"))
	case o.cancelAfter < 0:
		return usage(cmd, errors.New("--cancel-after: no time is negative"))
	case o.lockTimeout < time.Millisecond, o.lockWait < 0, o.maxStale < 100*time.Millisecond, o.drainTimeout < 0:
		return usage(cmd, errors.New("--lock-timeout is a millisecond at least, --max-stale 100ms, and no time is negative"))
	}
	return nil
}

// previewDeploy is the previews of all parts as one.
func (a *app) previewDeploy(ctx context.Context, s *session, d *deployment) (*engine.Preview, error) {
	whole := &engine.Preview{Plan: deployPlan}
	if a.set.Output() == "table" {
		for _, w := range d.warnings {
			fmt.Fprintln(a.Err, "warning: "+w)
		}
	}
	for i := d.o.from - 1; i < len(d.plans); i++ {
		if !a.set.Quiet() && a.set.Output() == "table" {
			a.sayRoute(d, i)
		}
		pre, err := s.PreviewFrom(ctx, d.plans[i], d.before)
		if err != nil {
			return nil, err
		}
		d.previews[d.plans[i]] = pre
		whole.Lines, whole.Run = append(whole.Lines, pre.Lines...), cmp.Or(whole.Run, pre.Run)
	}
	return whole, nil
}

func (a *app) sayRoute(d *deployment, i int) {
	r, out := d.routes[i], a.Err
	if a.dryRun {
		out = a.Out
	}
	count := fmt.Sprintf("%d statements", len(d.parts[i].Statements))
	if len(d.parts[i].Statements) == 1 {
		count = "1 statement"
	}
	fmt.Fprintf(out, "part %d of %d: %s, mode %s: %s\n", i+1, len(d.parts), count, r.Mode, r.Why)
	first, second := strings.Join(r.First, ", "), strings.Join(r.Second, ", ")
	then := first + " alone"
	if r.OneByOne {
		then = "all but one of " + second + " in turn"
	}
	switch r.Mode {
	case ddl.Roll:
		fmt.Fprintf(out, "  reads: %s, %s; then %s alone, paused: late by the statements (%s at most) and by the time that its sessions need to leave; then %s; then all\n", first, second, second, d.o.maxStale, then)
	case ddl.ViaPrimary:
		fmt.Fprintf(out, "  reads: %s; paused and late by at most %s; then the primary; then %s\n", second, d.o.maxStale, second)
	case ddl.Gate:
		if second != "" {
			fmt.Fprintf(out, "  reads: %s, paused until nobody holds a lock on what is changed, at most %s\n", second, d.o.maxStale)
		}
	}
}

// deployParts does one part after the other.
func (a *app) deployParts(ctx context.Context, s *session, d *deployment) (*engine.Report, error) {
	var last *engine.Report
	for i := d.o.from - 1; i < len(d.plans); i++ {
		r, end, err := a.deployPart(ctx, s, d.plans[i], d.previews[d.plans[i]])
		if r == nil && last == nil {
			end = partBack // it was not begun, and is the first
		}
		if err != nil {
			return r, d.goOn(i, end, d.locate(i, err))
		}
		a.sayDeployed(s, d, i, r)
		last = r
	}
	return last, nil
}

// locate says where in the file the statement is that the server refused. What has a
// remedy of its own, as a lock that was not obtained has, keeps that alone.
func (d *deployment) locate(part int, err error) error {
	var failed *effect.StatementError
	if !errors.As(err, &failed) || failed.Number > len(d.parts[part].Statements) {
		return err
	}
	other := false
	walk(err, func(e *fault.Error) { other = other || e.Hint != "" })
	if other {
		return err
	}
	hint := fmt.Sprintf("mend the statement at %s:%d", d.script.File, d.parts[part].Statements[failed.Number-1].Line)
	if part == d.o.from-1 { // else goOn says how
		hint += ", then type the same command again"
	}
	return &fault.Error{Class: fault.ClassOf(err), Err: err, Hint: hint}
}

// deployPart rolls one part out. Before its COMMIT a failure is taken back; after it the
// rollout goes forward once more by itself.
func (a *app) deployPart(ctx context.Context, s *session, p *plan.Plan, pre *engine.Preview) (*engine.Report, partEnd, error) {
	r, err := s.ApplyAfter(ctx, p, pre)
	if err == nil || r == nil || errors.Is(err, engine.ErrCopyLeft) {
		return r, partEndOf(r), err
	}
	f, ferr := s.Find(context.WithoutCancel(ctx), r.Run)
	if ferr != nil || f.On != "" { // or somebody else went on with it
		return r, partEndOf(r), err
	}
	_, committed := committedIn(f.Records)
	switch {
	case !f.Open() && committed: // somebody else went on with it, to its end
		return r, partForward, err
	case !f.Open():
		return r, partBack, undone(r.Run, err)
	case committed && errors.Is(err, engine.ErrStopped):
		return r, partForward, forward(r.Run, err)
	case committed:
		again, rerr := s.Resume(ctx, f)
		if rerr != nil {
			return cmp.Or(again, r), partForward, forward(r.Run, rerr)
		}
		return again, partForward, nil
	}
	// A Ctrl-C was heard. An engine of its own, for what the run left may still look at its Stop.
	back := *s.Engine
	back.Stop = nil
	ctx, done := owed(ctx)
	defer done()
	_, uerr := back.Undo(ctx, f)
	switch {
	case errors.Is(uerr, effect.ErrHappened):
		return r, partForward, noWayBack(r.Run, err)
	case uerr != nil:
		return r, partOpen, unended(r.Run, err, uerr)
	}
	return r, partBack, undone(r.Run, err)
}

// unended says of a failure that the run could not be taken back, for its lock cannot be
// had, say. Reads and replay came back when its brackets were closed.
func unended(run string, err, uerr error) error {
	out := &fault.Error{Class: fault.ClassOf(err), Err: errors.Join(err, fmt.Errorf("take it back: %w", uerr)), State: "run " + run + " is still open",
		Hint: "when that is mended: pgrepctl ddl abort " + run + "; if the server is gone for good: pgrepctl runs abandon " + run}
	if outer := outermost(err); outer != nil {
		out.Err = errors.Join(outer.Err, fmt.Errorf("take it back: %w", uerr))
		if outer.State != "" {
			out.State += "; " + outer.State
		}
	}
	return out
}

// undone says of a failure that it left nothing. A refusal is one also when something was done before it.
func undone(run string, err error) error {
	class := fault.Undone
	if c := fault.ClassOf(err); c == fault.Refused || c == fault.Locked || errors.Is(err, engine.ErrStopped) {
		class = c
	}
	// What it was to be gone on with, or taken back, counts no more; what an act says that it
	// did itself does.
	if outer := outermost(err); outer != nil {
		err = outer.Err
	}
	return &fault.Error{Class: class, Err: err, State: "run " + run + " is taken back: reads, replay and schema are as they were before it"}
}

// forward says of a failure after the COMMIT what the only way is. The engine's own hint
// would offer an undo that there is not.
func forward(run string, err error) error {
	out := &fault.Error{Class: fault.ClassOf(err), Err: err, State: "the change is committed on the primary: from there it only goes forward", Hint: "pgrepctl ddl resume " + run}
	if outer := outermost(err); outer != nil && outer.Host == "" && outer.Op == "" {
		out.Err = outer.Err
		if outer.State != "" {
			out.State += "; " + outer.State
		}
	}
	return out
}

// noWayBack says of a failure that the change has happened all the same, or is done by half
// where that cannot be taken back. The act that failed says which, and has a hint.
func noWayBack(run string, err error) error {
	out := &fault.Error{Class: fault.ClassOf(err), Err: err, State: "what is done of the change cannot be taken back: from there it only goes forward", Hint: "pgrepctl ddl resume " + run}
	if outer := outermost(err); outer != nil {
		out.Err = outer.Err
	}
	said := false
	walk(out.Err, func(e *fault.Error) { said = said || e.Hint != "" })
	if said {
		out.Hint = ""
	}
	return out
}

// outermost is err itself, if it is a fault: the engine's, around that of the act that
// failed. Nil if it is none.
func outermost(err error) *fault.Error {
	outer, _ := err.(*fault.Error) //nolint:errorlint // the outermost alone
	return outer
}

// committedIn is where a run's schema change is in the WAL, as far as its journal knows.
func committedIn(recs []journal.Record) (string, bool) {
	for _, r := range slices.Backward(recs) {
		if lsn, ok := r.Output[effect.DDLPosition]; ok {
			return lsn, true
		}
	}
	return "", false
}

// sayDeployed tells what a reader of the standbys might have noticed.
func (a *app) sayDeployed(s *session, d *deployment, i int, r *engine.Report) {
	if a.set.Output() != "table" || a.set.Quiet() {
		return
	}
	text := "committed at " + cmp.Or(r.Outputs[effect.DDLPosition], "-") + ", attempt " + cmp.Or(r.Outputs[effect.DDLAttempts], "-")
	if took := r.Outputs[effect.DDLSeconds]; took != "" { // of a transaction alone
		text += ", " + took + " s"
	}
	fmt.Fprintf(a.Out, "part %d of %d: %s\n", i+1, len(d.plans), text)
	for _, x := range s.inv.Standbys() {
		out := func(key string) string { // of one that was drained alone under its name
			return cmp.Or(r.Outputs[key+x.Name], r.Outputs[x.Name+"/"+key+x.Name])
		}
		if took := out(effect.DDLReplayed); took != "" {
			fmt.Fprintf(a.Out, "  %s replayed it %s s after it was let to\n", x.Name, took)
		}
		paused, err1 := time.Parse(time.RFC3339Nano, out(effect.DDLPaused))
		drained, err2 := time.Parse(time.RFC3339Nano, out(effect.DDLDrained))
		if err1 == nil && err2 == nil {
			fmt.Fprintf(a.Out, "  %s was read while it was paused, for %s at most\n", x.Name, ui.Span(drained.Sub(paused)))
		}
	}
}
