package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// session is an engine with its connections and its progress display.
type session struct {
	*engine.Engine
	conn  *connections
	sinks []io.Closer
	inv   *inventory.Cluster
}

func (s *session) close(ctx context.Context) {
	for _, c := range s.sinks {
		_ = c.Close()
	}
	closing, cancel := context.WithoutCancel(ctx), func() {}
	if ctx.Err() != nil { // connections are dropped: a host may not answer
		closing, cancel = context.WithTimeout(closing, time.Second)
	}
	defer cancel()
	_ = s.conn.Close(closing)
}

// display is the progress for eyes and, with --log-file, the same events as
// JSON lines.
func (a *app) display(names []string) (event.Sink, []io.Closer, error) {
	screen := ui.NewSink(a.Err, ui.SinkOptions{Mode: ui.Choose(ui.Options{Stderr: a.Err, Env: a.Env, Plain: a.set.Plain(), Output: a.set.Output()}),
		Color: a.colorOn(a.Err), Quiet: a.set.Quiet(), Verbose: a.set.Verbose(), Hosts: names})
	name := a.set.LogFile()
	if name == "" {
		return screen, []io.Closer{screen}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, &fault.Error{Class: fault.Invalid, Op: "open the log file", Err: err}
	}
	return ui.Tee{screen, ui.NewSink(f, ui.SinkOptions{Mode: ui.ModeJSON})}, []io.Closer{screen, f}, nil
}

// open loads the inventory and makes an engine for it. Nothing is dialed yet.
func (a *app) open() (*session, error) {
	inv, err := inventory.Load(a.expand(a.set.Inventory()))
	if err != nil {
		return nil, err
	}
	sink, sinks, err := a.display(inv.Names())
	if err != nil {
		return nil, err
	}
	conn := a.connect(inv, sink)
	e := &engine.Engine{Inventory: inv, Cluster: conn, Dir: filepath.Join(a.set.StateDir(), inv.Name), Sink: sink, Now: time.Now,
		Operator: operator(a.Env), Version: version(), NewID: newID, NewKey: newKey, Password: a.password(inv), Accept: a.accept, Stop: a.Stop}
	return &session{Engine: e, conn: conn, sinks: sinks, inv: inv}, nil
}

// password resolves the reference once a call, and only when a step asks.
func (a *app) password(inv *inventory.Cluster) func(context.Context) (secret.Value, error) {
	var once sync.Once
	var v secret.Value
	var err error
	return func(ctx context.Context) (secret.Value, error) {
		once.Do(func() { v, err = a.resolver().Resolve(ctx, inv.Replication.Password) })
		return v, err
	}
}

// operator is who acts, for the journal, the lock and the marker.
func operator(env func(string) string) string {
	name := env("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if sudo := env("SUDO_USER"); sudo != "" {
		name = sudo
	}
	h, err := os.Hostname()
	if err != nil {
		h = "unknown"
	}
	return name + "@" + h
}

func newID() string {
	b := make([]byte, 2)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return time.Now().UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b)
}

func newKey() (steps.Key, error) {
	pub, priv, err := remote.NewKey()
	return steps.Key{Public: pub, Private: priv}, err
}

// actFlags are the flags of every command that acts.
func (a *app) actFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().StringSliceVar(&a.accept, "accept", nil, "skip the check of pgrepctl doctor that has this `ID` (repeatable)")
}

// act previews a plan, asks, and applies it.
func (a *app) act(ctx context.Context, s *session, p *plan.Plan) error {
	pre, err := s.Preview(ctx, p)
	if err != nil {
		return err
	}
	_, err = a.applied(ctx, s, p, pre)
	return err
}

// applied shows a preview, asks, and applies the plan. There is no report of a dry run.
func (a *app) applied(ctx context.Context, s *session, p *plan.Plan, pre *engine.Preview) (r *engine.Report, err error) {
	err = a.confirmed(ctx, s, pre, func(ctx context.Context) (*engine.Report, error) {
		if pre.Effects() == 0 && pre.Run == "" {
			r = &engine.Report{Plan: pre.Plan, Status: journal.Succeeded, Done: []string{}, Noops: len(pre.Lines)}
			return r, nil
		}
		var err error
		r, err = s.ApplyAfter(ctx, p, pre)
		if a.set.OnFailure() == "undo" && a.takesBack(r, err) {
			return r, a.undoFailed(ctx, s, r, err)
		}
		return r, err
	})
	return r, err
}

// confirmed shows what would be done and, unless that is all, asks and does it.
func (a *app) confirmed(ctx context.Context, s *session, pre *engine.Preview, do func(context.Context) (*engine.Report, error)) error {
	return a.report(a.consented(ctx, s, pre, do))
}

// consented is confirmed without the report, for a command whose result is another one. A
// dry run has none.
func (a *app) consented(ctx context.Context, s *session, pre *engine.Preview, do func(context.Context) (*engine.Report, error)) (*engine.Report, error) {
	// The result of a dry run is the preview; that of a run is its report.
	out, format := a.Err, "table"
	if a.dryRun {
		out, format = a.Out, a.set.Output()
	}
	// With -o json the progress tells all of it, unless there is a question.
	told := a.set.Quiet() || a.set.Output() != "table" && a.set.Yes()
	if a.dryRun || !told {
		if err := ui.WritePreview(out, shown(s.inv, pre), ui.PreviewOptions{Output: format, Color: a.colorOn(out), Changes: a.brief}); err != nil {
			return nil, err
		}
	}
	if a.dryRun {
		return nil, nil
	}
	if pre.Effects() > 0 {
		if err := a.ask(ctx, "Do this?"); err != nil {
			return nil, err
		}
	}
	a.acting.Store(true)
	defer a.hear(s.Sink)()
	r, err := do(ctx)
	if r != nil {
		r.Connections = s.conn.counts()
	}
	return r, err
}

// ask ends with ctx: nothing acts yet, so the first Ctrl-C ends that. It may do so a moment
// after the answer is read, and whoever interrupts has answered.
func (a *app) ask(ctx context.Context, question string) error {
	if err := ui.Ask(ctx, a.In, a.Err, ui.IsTerminal(a.In) && ui.IsTerminal(a.Err), a.set.Yes(), question); err != nil {
		return err
	}
	select {
	case <-a.Stop:
		return &fault.Error{Class: fault.Interrupted, Err: errors.New("interrupted")}
	default:
		return nil
	}
}

func shown(inv *inventory.Cluster, p *engine.Preview) ui.Preview {
	out := ui.Preview{Plan: p.Plan, Cluster: inv.Name, Run: p.Run}
	for _, l := range p.Lines {
		out.Lines = append(out.Lines, ui.PreviewLine{Node: l.Node, Depth: l.Depth, Host: l.Host, Step: l.Step, Phase: string(l.Phase), Effects: l.Effects, Noop: l.Noop, Held: differences(l.Held)})
	}
	return out
}

func differences(list []steps.Held) []ui.Held {
	var out []ui.Held
	for _, h := range list {
		out = append(out, ui.Held(h))
	}
	return out
}

// runFormat names the JSON form of a reported.
const runFormat = "pgrepctl.run/v1"

// reported is the result of a run.
type reported struct {
	Format string `json:"format"`
	*engine.Report
}

func (a *app) report(r *engine.Report, err error) error {
	if err != nil || r == nil {
		return err
	}
	if a.set.Output() != "table" {
		return a.encode(reported{runFormat, r})
	}
	if len(r.Done) == 0 && r.Status == journal.UndoneRun {
		_, err = fmt.Fprintf(a.Out, "nothing to do: run %s is undone\n", r.Run)
		return err
	}
	if len(r.Done) == 0 {
		_, err = fmt.Fprintf(a.Out, "nothing to do: %d steps found everything in place\n", r.Noops)
		return err
	}
	_, err = fmt.Fprintf(a.Out, "%s: run %s, %d effects, %s\n", r.Status, r.Run, len(r.Done), ui.Span(time.Duration(r.Seconds*float64(time.Second))))
	return err
}
