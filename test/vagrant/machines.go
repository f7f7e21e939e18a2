package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

// Time-outs. An emulated machine is far slower than a host of the lab: a call
// gets ten times what a call of test/e2e gets.
const (
	callTimeout  = 10 * 150 * time.Second
	upTimeout    = 40 * time.Minute
	downTimeout  = 2 * time.Minute
	readyTimeout = 2 * time.Minute
)

// machines are the virtual machines h1 (the primary) and h2, by the Vagrantfile.
type machines struct {
	*figures.Report
	here      string // the working directory
	dir       string // everything of this run
	contained bool

	// The libvirtd of our own, when contained: it ends when stdin is closed.
	daemon *exec.Cmd
	stdin  io.Closer
}

func newMachines(contained bool, r *figures.Report) (*machines, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	base := filepath.Join(here, "build/vagrant")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(base, "run-")
	if err != nil {
		return nil, err
	}
	return &machines{Report: r, here: here, dir: dir, contained: contained}, nil
}

func (m *machines) up(ctx context.Context) error {
	if m.contained {
		if err := m.startDaemon(ctx); err != nil {
			return err
		}
	}
	err := m.timed("two machines made and booted", upTimeout, func(t time.Duration) error {
		return m.vagrant(ctx, t, "up", "--no-provision")
	})
	if err != nil {
		return err
	}
	return m.timed("PostgreSQL prepared on both", upTimeout, func(t time.Duration) error {
		return m.vagrant(ctx, t, "provision")
	})
}

// startDaemon starts contained.sh and waits until its libvirtd answers.
func (m *machines) startDaemon(ctx context.Context) error {
	c := exec.Command("test/vagrant/contained.sh", m.dir)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for us
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start libvirtd: %w", err)
	}
	m.daemon, m.stdin = c, stdin
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(stdout).ReadString('\n')
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(readyTimeout):
		err = errors.New("it does not answer")
	}
	if err != nil {
		return fmt.Errorf("start libvirtd: %w", err)
	}
	return nil
}

// down takes everything down, and looks whether anything is left.
func (m *machines) down(ctx context.Context) error {
	var errs []error
	if !m.contained {
		errs = append(errs, m.vagrant(ctx, downTimeout, "destroy", "--force"))
	}
	if m.daemon != nil {
		m.stdin.Close()
		kill := time.AfterFunc(downTimeout, func() { _ = m.daemon.Process.Kill() }) // the kernel ends the rest
		errs = append(errs, m.daemon.Wait())
		kill.Stop()
	}
	errs = append(errs, os.RemoveAll(m.dir))
	if m.contained {
		processes, mounts, err := left(m.dir)
		errs = append(errs, err)
		m.None("processes left behind", processes, "count")
		m.None("mounts left behind", mounts, "count")
	}
	return errors.Join(errs...)
}

// left counts the processes of this machine that have dir on their command line,
// as the emulators and dnsmasq do, and the mounts of files in it.
func left(dir string) (processes, mounts float64, err error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range lines {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(dir)) {
			processes++
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	return processes, float64(bytes.Count(b, []byte(dir))), err
}

// timed does something that has a time-out and adds how long it took.
func (m *machines) timed(name string, timeout time.Duration, do func(time.Duration) error) error {
	fmt.Printf("== %s\n", name)
	began := time.Now()
	err := do(timeout)
	m.AtMost(name, time.Since(began).Seconds(), "s", timeout.Seconds())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (m *machines) vagrant(ctx context.Context, timeout time.Duration, args ...string) error {
	c, cancel := m.command(ctx, timeout, append([]string{"vagrant"}, args...)...)
	defer cancel()
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

// command is a command that sees the machines and the libvirtd.
func (m *machines) command(ctx context.Context, timeout time.Duration, argv ...string) (*exec.Cmd, context.CancelFunc) {
	argv = append(m.enter(), argv...)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "LANG=C.UTF-8", "VAGRANT_CWD=test/vagrant", "VAGRANT_DEFAULT_PROVIDER=libvirt", "VAGRANT_CHECKPOINT_DISABLE=1",
		"VAGRANT_DOTFILE_PATH="+filepath.Join(m.dir, "vagrant"),
		"XDG_STATE_HOME="+filepath.Join(m.dir, "state"), "PGREPCTL_CONNECT_TIMEOUT=100s")
	if m.contained {
		c.Env = append(c.Env, "HOME="+m.dir, "VAGRANT_HOME="+filepath.Join(m.dir, "boxes"))
	}
	// Vagrant ends on a SIGINT in good order, if it gets the time.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGINT) }
	c.WaitDelay = 20 * time.Second
	return c, cancel
}

// enter is the beginning of a command line that is to see the machines.
func (m *machines) enter() []string {
	if m.daemon == nil {
		return nil
	}
	ns := fmt.Sprintf("/proc/%d/ns/", m.daemon.Process.Pid)
	return []string{"nsenter", "--mount=" + ns + "mnt", "--uts=" + ns + "uts", "--ipc=" + ns + "ipc", "--net=" + ns + "net",
		"--pid=" + ns + "pid_for_children", "--wd=" + m.here}
}

// how says how a person logs in.
func (m *machines) how() string {
	return strings.Join(append(m.enter(), "ssh", "-F", m.sshConfig(), "h1"), " ")
}

// ask runs a shell script as root on a machine and returns what it says.
func (m *machines) ask(ctx context.Context, host, script string) (string, error) {
	c, cancel := m.command(ctx, callTimeout, "ssh", "-F", m.sshConfig(), host, "sudo -n sh -eu")
	defer cancel()
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(script), &out, &errs
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %s: %w: %s", host, script, err, bytes.TrimSpace(errs.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}

func (m *machines) sshConfig() string { return filepath.Join(m.dir, "ssh_config") }
