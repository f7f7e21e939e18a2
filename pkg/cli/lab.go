package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

// labFlags are the flags of every lab command.
type labFlags struct {
	name, state string
}

func (f *labFlags) open() (*lab.Lab, error) { return lab.Open(f.state, f.name) }

// labCommand is `pgrepctl lab …`.
func (a *app) labCommand() *cobra.Command {
	f, stdout, stderr := &labFlags{}, a.Out, a.Err
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Throw-away database hosts on this Linux machine",
		Long: `A lab is a handful of throw-away hosts on this machine, each with its own address,
disk, sshd, sudo, rsync and PostgreSQL, for trying things out. The hosts can lose
their power, their cable or each other. As root, or as a plain user where user
namespaces are allowed. Nothing of a lab is left after "lab down".`,
		Example: `  pgrepctl lab up --hosts 3
  pgrepctl -i $(pgrepctl lab inventory) standby bootstrap h2
  pgrepctl lab ssh h2 -- sudo pg_lsclusters
  pgrepctl lab cut h2
  pgrepctl lab down`,
		Args: cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&f.name, "name", lab.DefaultName, "name of the lab")
	cmd.PersistentFlags().StringVar(&f.state, "state", "", "directory of all labs (default $XDG_STATE_HOME/pgrepctl/lab)")
	cmd.AddCommand(
		labUp(f, stdout, stderr), labDown(f, stderr, func() string { return a.set.StateDir() }), a.labStatus(f), a.labList(f),
		a.labInventory(f), labExec(f, terminal(stdout), stderr), labSSH(f, terminal(stdout), stderr), labDial(f, stdout),
		labPart(f), labSlow(f),
		&cobra.Command{Use: "join", Short: "Undo all parts", Example: "  pgrepctl lab join", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			return l.Join(cmd.Context())
		}},
	)
	cmd.AddCommand(labHostCommands(f)...)
	for _, c := range cmd.Commands() {
		if c.Name() != "dial" {
			endAtSignal(c)
		}
	}
	return cmd
}

// endAtSignal has the first Ctrl-C end the command: unlike a run on a cluster it
// has nothing to finish.
func endAtSignal(cmd *cobra.Command) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		cmd.SetContext(ctx)
		err := run(cmd, args)
		if err != nil && ctx.Err() != nil {
			return &fault.Error{Class: fault.Interrupted, Err: err}
		}
		return err
	}
}

func labUp(f *labFlags, stdout, stderr io.Writer) *cobra.Command {
	o := lab.Options{Notify: func(text string) { fmt.Fprintln(stderr, text) }}
	var bare bool
	var layout string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make a lab",
		Long: `Make a lab: the first host runs a primary, the others have PostgreSQL installed and
wait for "standby bootstrap". The first lab of a PostgreSQL version builds the root
file system of its hosts with mmdebstrap, which takes a few minutes. PostgreSQL 13, 15
and 17 are those of Debian bullseye, bookworm and trixie; the others are server
binaries from npm on bookworm.

With --systemd a real systemd is PID 1 of each host, sshd and PostgreSQL are its
units, and the inventory says so. That needs root, and builds a root file system
of its own the first time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Name, o.State, o.Cluster, o.Layout = f.name, f.state, !bare, lab.Layout(layout)
			l, err := lab.Up(cmd.Context(), o)
			if err != nil {
				return err
			}
			for _, h := range l.Hosts() {
				fmt.Fprintf(stdout, "%s\t%s\n", h.Name, h.Address)
			}
			fmt.Fprintf(stderr, "next: pgrepctl -i %s status\n", l.InventoryPath())
			return nil
		},
	}
	cmd.Flags().IntVar(&o.Hosts, "hosts", 2, "number of hosts")
	cmd.Flags().StringVar(&o.Postgres, "postgres", "", "PostgreSQL major version, 10 to 18 (default 15)")
	cmd.Flags().StringVar(&o.Build, "build", "", "directory of a build of PostgreSQL of your own, with its bin, lib and share")
	cmd.Flags().StringVar(&layout, "layout", string(lab.DebianEtc), "where PostgreSQL keeps its files: debian-etc or data-directory")
	cmd.Flags().StringVar(&o.Disks, "dir", "", "directory for the hosts' disks, /dev/shm for instance (default with the lab's other files)")
	cmd.Flags().BoolVar(&o.Systemd, "systemd", false, "hosts that a real systemd boots and runs PostgreSQL on (root only)")
	cmd.Flags().BoolVar(&bare, "bare", false, "hosts only, without any PostgreSQL cluster")
	return cmd
}

// labDown also forgets the runs on the lab's hosts: nobody can go on with them.
func labDown(f *labFlags, stderr io.Writer, runs func() string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "Remove a lab and everything of it",
		Example: "  pgrepctl lab down\n  pgrepctl lab down --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{f.name}
			if all {
				var err error
				if names, err = lab.List(f.state); err != nil {
					return err
				}
			}
			var errs []error
			for _, name := range names {
				if err := takeDown(cmd.Context(), f.state, name, runs()); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(stderr, "lab %s is gone\n", name)
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all labs of this user")
	return cmd
}

func takeDown(ctx context.Context, state, name, runs string) error {
	l, err := lab.Open(state, name)
	if derr := lab.Down(ctx, state, name); derr != nil || err != nil {
		return derr
	}
	return journal.Forget(filepath.Join(runs, name), l.InventoryPath())
}

func labExec(f *labFlags, stdout, stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "exec HOST -- COMMAND…",
		Short:   "Run a command as root on a host, without ssh",
		Example: "  pgrepctl lab exec h1 -- runuser -u postgres -- psql -c 'table pg_stat_replication'",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			err = l.Run(cmd.Context(), args[0], args[1:], host.Stdio{In: cmd.InOrStdin(), Out: stdout, Err: stderr})
			var exit *host.ExitError
			if errors.As(err, &exit) && exit.Code > 0 {
				return &exitError{class: fault.Class(exit.Code)}
			}
			return err
		},
	}
}

func labSSH(f *labFlags, stdout, stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "ssh HOST [-- COMMAND…]",
		Short:   "Log in to a host, as user admin who may sudo",
		Example: "  pgrepctl lab ssh h1\n  pgrepctl lab ssh h1 -- sudo pg_lsclusters",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			ssh := exec.CommandContext(cmd.Context(), "ssh", append([]string{"-F", l.SSHConfigPath(), "--"}, args...)...)
			ssh.Stdin, ssh.Stdout, ssh.Stderr = cmd.InOrStdin(), stdout, stderr
			err = ssh.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.Exited() {
				return &exitError{class: fault.Class(exit.ExitCode())}
			}
			if err != nil {
				return fmt.Errorf("ssh to %s: %w", args[0], err)
			}
			return nil
		},
	}
}

// labDial is the ProxyCommand of the generated inventory and ssh_config.
func labDial(f *labFlags, stdout io.Writer) *cobra.Command {
	var here string
	var connectedFD int
	cmd := &cobra.Command{
		Use:    "dial HOST PORT",
		Short:  "Connect stdin and stdout with a port of a host",
		Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if here != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(2)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := labConn(cmd, f, here, args)
			if err != nil {
				return &fault.Error{Class: fault.Failed, Err: err}
			}
			// Not at Ctrl-C, which the terminal sends to the whole process group:
			// the program that we connect decides what it means.
			ctx, stop := signal.NotifyContext(context.WithoutCancel(cmd.Context()), syscall.SIGTERM)
			defer stop()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if connectedFD >= 0 {
				return lab.SpliceInside(os.NewFile(uintptr(connectedFD), "connected"), conn, cmd.InOrStdin(), stdout)
			}
			return lab.Splice(conn, cmd.InOrStdin(), stdout)
		},
	}
	cmd.Flags().StringVar(&here, "here", "", "dial ADDRESS:PORT from where this process is")
	cmd.Flags().IntVar(&connectedFD, "connected-fd", -1, "file descriptor to tell when connected")
	return cmd
}

func labConn(cmd *cobra.Command, f *labFlags, here string, args []string) (net.Conn, error) {
	if here != "" {
		return lab.DialHere(cmd.Context(), here)
	}
	l, err := f.open()
	if err != nil {
		return nil, err
	}
	return l.DialContext(cmd.Context(), "tcp", net.JoinHostPort(args[0], args[1]))
}

func labPart(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "part HOST HOST",
		Example: "  pgrepctl lab part h1 h2\n  pgrepctl lab join",
		Short:   "Drop all packets between two hosts",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			return l.Part(cmd.Context(), args[0], args[1])
		},
	}
}

func labSlow(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "slow HOST [RATE]",
		Short:   "Limit a host's network, or end the limit",
		Example: "  pgrepctl lab slow h2 1mbit\n  pgrepctl lab slow h2",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			return l.Slow(cmd.Context(), args[0], strings.Join(args[1:], ""))
		},
	}
}

// labHostCommands are the acts that take hosts and nothing else.
func labHostCommands(f *labFlags) []*cobra.Command {
	acts := []struct {
		verb, short string
		do          func(l *lab.Lab, ctx context.Context, host string) error
	}{
		{"kill", "Switch hosts off, as a power cut does", (*lab.Lab).Kill},
		{"start", "Switch hosts on, with the disks they had", (*lab.Lab).Start},
		{"cut", "Pull the network cable of hosts", (*lab.Lab).Cut},
		{"heal", "Plug the network cable of hosts in again", (*lab.Lab).Heal},
		{"freeze", "Stop all processes of hosts: they accept connections, and hang", (*lab.Lab).Freeze},
		{"thaw", "Let frozen hosts go on", (*lab.Lab).Thaw},
	}
	var cmds []*cobra.Command
	for _, a := range acts {
		cmds = append(cmds, &cobra.Command{
			Use:     a.verb + " HOST…",
			Example: "  pgrepctl lab " + a.verb + " h2",
			Short:   a.short,
			Args:    cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				l, err := f.open()
				if err != nil {
					return err
				}
				for _, h := range args {
					if err := a.do(l, cmd.Context(), h); err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	return cmds
}
