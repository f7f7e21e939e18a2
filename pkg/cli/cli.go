// Package cli is the command line: cobra commands that wire the packages
// together. It decides exit codes, and prints through pkg/ui.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/settings"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// Stdio is what the tool talks through. Tests give their own.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(string) string
	// Stop is closed at the first Ctrl-C.
	Stop <-chan struct{}
}

// Main runs one call and returns its exit code.
func Main(args []string) int {
	ctx, stop, end := signals()
	defer end()
	return Run(ctx, args, Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv, Stop: stop})
}

// signals closes stop at the first SIGINT or SIGTERM, and cancels the context
// at the second: the first lets a run end in a proven state. A third ends the process, as
// it would without us: what drops the connections may hang, too.
//
// A terminal that is closed counts as the first one, and as no other: its hangup comes twice,
// from the kernel and from the shell. Under nohup it is ignored, and stays so.
//
// What reads our output may be gone before us: a tee behind a pipe dies of the same Ctrl-C.
// To ask for SIGPIPE makes that an error of the write, which a run survives; to ignore it
// would be inherited by every command that we start. See output.
func signals() (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := make(chan struct{})
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	hangup := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangup, syscall.SIGHUP)
	}
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGPIPE)
	go func() {
		select {
		case <-got:
		case <-hangup:
		}
		close(stop)
		<-got
		signal.Stop(got)
		cancel(&fault.Error{Class: fault.Interrupted, Err: errors.New("interrupted twice"), State: "connections were dropped; what they held open on the hosts ends by itself"})
	}()
	return ctx, stop, func() {
		for _, c := range []chan os.Signal{got, hangup, unread} {
			signal.Stop(c)
		}
		cancel(nil)
	}
}

// Run runs one call.
func Run(ctx context.Context, args []string, stdio Stdio) int {
	a := &app{Stdio: stdio}
	if f, ok := stdio.Out.(*os.File); ok {
		a.Out = &output{file: f, acting: &a.acting}
	}
	ctx, cancel := a.interruptible(ctx)
	defer cancel()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdio.In)
	root.SetOut(a.Out)
	root.SetErr(stdio.Err)
	err := root.ExecuteContext(ctx)
	if a.cancel != nil {
		a.cancel()
	}
	if cause := context.Cause(ctx); err != nil && !a.acting.Load() && fault.ClassOf(cause) == fault.Interrupted {
		err = cause // what it broke on the way is no news
	}
	if err == nil {
		return 0
	}
	var silent *exitError
	if errors.As(err, &silent) {
		return int(silent.class)
	}
	a.nameInventory(err)
	_ = ui.PrintError(stdio.Err, err, ui.ErrorOptions{Color: ui.UseColor(a.color(), stdio.Env, stdio.Err)})
	return int(fault.ClassOf(err))
}

// nameInventory puts the -i that was given into the commands that hints name:
// they are there to be pasted.
func (a *app) nameInventory(err error) {
	walk(err, func(f *fault.Error) { f.Hint = a.withInventory(f.Hint) })
}

// withInventory is a hint with the -i that was given.
func (a *app) withInventory(hint string) string {
	if a.set == nil || a.set.Origin("inventory").Source != settings.FromFlag {
		return hint
	}
	file, err := shell.Quote(a.set.Inventory())
	if err != nil {
		return hint
	}
	a.compile.Do(func() { // once: a status of a thousand hosts has as many hints, and hosts are asked side by side
		a.commands = regexp.MustCompile(`\bpgrepctl (apply|check|ddl|doctor|inventory|plan|replay|run|runs|slot|standby|status|topology|traffic)\b`)
	})
	return a.commands.ReplaceAllString(hint, "pgrepctl -i "+strings.ReplaceAll(file, "$", "$$")+" ${1}")
}

// walk visits every fault in an error's tree.
func walk(err error, visit func(*fault.Error)) {
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // each node by itself
		visit(f)
	}
	switch x := err.(type) { //nolint:errorlint // each node by itself
	case interface{ Unwrap() error }:
		walk(x.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			walk(e, visit)
		}
	}
}

// interruptible ends at the first Ctrl-C whatever only looks; a run that acts is
// stopped by the engine, at a place where it can be resumed.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-a.Stop:
			if !a.acting.Load() {
				cancel(&fault.Error{Class: fault.Interrupted, Err: errors.New("interrupted")})
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// exitError ends with an exit code whose reason is already printed.
type exitError struct{ class fault.Class }

func (e *exitError) Error() string { return fmt.Sprintf("exit %d", e.class) }

// incomplete is the exit code of a report of which some could not be read, or none.
func incomplete[T any](list []T, unread func(T) bool) error {
	n := 0
	for _, x := range list {
		if unread(x) {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case len(list):
		return &exitError{class: fault.Unreachable}
	}
	return &exitError{class: fault.Partial}
}

// app is one call.
type app struct {
	Stdio
	set    *settings.Settings
	cancel context.CancelFunc
	dryRun bool
	accept []string
	brief  bool        // a preview leaves out what is in place
	acting atomic.Bool // an engine runs: Stop is its to obey
	// commands are those of ours that hints name; compile makes it.
	compile  sync.Once
	commands *regexp.Regexp
}

func (a *app) color() string {
	if a.set == nil {
		return "auto"
	}
	return a.set.Color()
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgrepctl",
		Short: "PostgreSQL streaming replication over plain SSH",
		Long: `pgrepctl provisions and operates PostgreSQL streaming-replication clusters from one
inventory file, over plain SSH, with nothing installed on the database hosts.

No read fails, no step is lost, nothing is done that the plan did not show.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.prepare(cmd)
		},
	}
	settings.AddFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, err)
	})
	root.AddCommand(a.planCommand(), a.applyCommand(), a.standbyCommand(), a.replayCommand(), a.statusCommand(), a.topologyCommand(), a.checkCommand(), a.slotCommand(), a.ddlCommand(), a.doctorCommand(), a.trafficCommand(), a.runsCommand(), a.plansCommand(), a.runCommand(),
		a.inventoryCommand(), a.configCommand(), a.demoCommand(), a.labCommand(), a.versionCommand())
	strict(root)
	return root
}

// prepare loads the settings, once the flags are parsed.
func (a *app) prepare(cmd *cobra.Command) error {
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	if a.set, err = settings.Load(cmd.Flags(), a.Env, cwd); err != nil {
		return err
	}
	if d := a.set.Timeout(); d > 0 {
		var ctx context.Context
		ctx, a.cancel = context.WithTimeoutCause(cmd.Context(), d, fmt.Errorf("not done within %s (--timeout)", d))
		cmd.SetContext(ctx)
	}
	return nil
}

func usage(cmd *cobra.Command, err error) error {
	return &fault.Error{Class: fault.Usage, Err: err, Hint: cmd.CommandPath() + " --help"}
}

// strict gives every command's argument errors the usage exit code, and makes a
// command that only groups others complain about a word that it does not know.
func strict(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(c *cobra.Command, words []string) error {
			if err := args(c, words); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && cmd.RunE == nil && cmd.Run == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(c *cobra.Command, words []string) error {
			if len(words) == 0 {
				return c.Help()
			}
			var names []string
			for _, sub := range c.Commands() {
				names = append(names, sub.Name())
			}
			f := &fault.Error{Class: fault.Usage, Err: fmt.Errorf("unknown command %q for %s", words[0], c.CommandPath()), Hint: c.CommandPath() + " --help"}
			if near := fault.Nearest(words[0], names); near != "" {
				f.Hint = "did you mean " + c.CommandPath() + " " + near + "?"
			}
			return f
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

// colorOn decides for each stream by itself.
func (a *app) colorOn(stream any) bool { return ui.UseColor(a.set.Color(), a.Env, stream) }
