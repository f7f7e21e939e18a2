package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func supported() error { return nil }

// mayRootless reports whether this process has no right to make namespaces
// other than inside a user namespace.
func mayRootless() bool { return os.Geteuid() != 0 }

// machine is the PID 1 of a lab while `up` works on it.
type machine struct {
	stdin *os.File
}

// startMachine starts scripts/machine.sh in its namespaces. Until stands is
// called the machine ends with this process, however that ends.
func (l *Lab) startMachine(ctx context.Context) (*machine, error) {
	console, err := os.OpenFile(filepath.Join(l.dir, "console.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start machine: %w", err)
	}
	defer console.Close()
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start machine: %w", err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, fmt.Errorf("start machine: %w", err)
	}
	defer outR.Close()

	var argv []string
	if l.Rootless {
		argv = append(argv, "--user", "--map-root-user", "--map-auto")
	}
	argv = append(argv, "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--mount-proc", "--kill-child",
		"sh", l.machineScript(), controller)
	// Not CommandContext: the machine outlives ctx.
	cmd := exec.Command("unshare", argv...)
	cmd.Env = l.environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	outW.Close()
	if err != nil {
		inW.Close()
		return nil, fmt.Errorf("start machine: %w", err)
	}
	go func() { _ = cmd.Wait() }()

	stop := context.AfterFunc(ctx, func() { _ = outR.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// Not to the end of the file: unshare, which waits for its child, has it
	// open as long as the lab stands.
	answer := make([]byte, len("ready\n"))
	if _, err = io.ReadFull(outR, answer); err == nil {
		return &machine{stdin: inW}, nil
	}
	inW.Close()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("start machine: %w", ctx.Err())
	}
	log, _ := os.ReadFile(console.Name())
	e := &fault.Error{Class: fault.Failed, Op: "start machine", Err: errors.Join(errors.New("it did not get ready"), err), Stderr: strings.TrimSpace(string(log))}
	if l.Rootless {
		e.Hint = "allow unprivileged user namespaces (and give this user a range in /etc/subuid and /etc/subgid), or run as root"
	}
	return nil, e
}

// stands cuts the leash: from here on the lab lives until Down.
func (m *machine) stands() error {
	if _, err := io.WriteString(m.stdin, "stands\n"); err != nil {
		return fmt.Errorf("detach machine: %w", err)
	}
	return m.stdin.Close()
}

func (m *machine) abandon() { _ = m.stdin.Close() }

func (l *Lab) machineScript() string { return filepath.Join(l.dir, "machine.sh") }

// pid1 finds the process that holds the lab. It is known by its command line,
// which names a file in the lab's own directory, and by being PID 1 of its
// namespace: there is no pid file that could point at somebody else.
func (l *Lab) pid1() (int, error) {
	pids, err := processes(func(argv []string) bool {
		return len(argv) == 3 && argv[0] == "sh" && argv[1] == l.machineScript()
	})
	if err != nil {
		return 0, fmt.Errorf("find machine: %w", err)
	}
	for _, pid := range pids {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			// Two numbers: the pid here and the pid in the machine. (More if
			// this process itself is in a pid namespace that sees less.)
			if f := strings.Fields(line); len(f) >= 3 && f[0] == "NSpid:" && f[len(f)-1] == "1" {
				return pid, nil
			}
		}
	}
	return 0, &fault.Error{Class: fault.Refused, Err: fmt.Errorf("lab %s is not running", l.Name), State: "only its files are left", Hint: "pgrepctl lab down --name " + l.Name}
}

// processes returns the live processes of this user whose argv is wanted.
func processes(want func(argv []string) bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(b) == 0 { // gone, or a zombie
			continue
		}
		if !want(strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")) {
			continue
		}
		info, err := os.Stat(filepath.Join("/proc", e.Name()))
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
			continue
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// enter is the command that runs argv inside the machine.
func (l *Lab) enter(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	pid, err := l.pid1()
	if err != nil {
		return nil, err
	}
	args := []string{"-t", strconv.Itoa(pid)}
	if l.Rootless {
		args = append(args, "-U", "--preserve-credentials")
	}
	// pdeathsig: when ctx ends nsenter, which cannot pass that on, what it
	// started ends too.
	args = append(args, "-m", "-n", "-p", "--", "setpriv", "--pdeathsig", "KILL")
	cmd := exec.CommandContext(ctx, "nsenter", append(args, argv...)...)
	cmd.Env = l.environ()
	return cmd, nil
}

// dial connects from inside the machine's network namespace.
func (l *Lab) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	pid, err := l.pid1()
	if err != nil {
		return nil, err
	}
	if l.Rootless {
		// A process with threads cannot enter a user namespace (setns(2)), so
		// another program has to make the connection.
		return dialThrough(ctx, addr, "nsenter", "-t", strconv.Itoa(pid), "-U", "-n", "--preserve-credentials", "--",
			l.Binary, "lab", "dial", "--connected-fd", "3", "--here", addr)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread is in the wrong network namespace for
		// everybody else, and ends with this goroutine.
		runtime.LockOSThread()
		ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns", "net"))
		if err != nil {
			done <- result{err: fmt.Errorf("enter lab network: %w", err)}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("enter lab network: %w", err)}
			return
		}
		// addr is one numeric address, for which net.Dialer makes its socket
		// on the calling thread.
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

const lockGrace = 2 * time.Second

// lock holds a lab's directory against other Up and Down. It refuses rather
// than waits, except for lockGrace: when a holder is killed while it starts a
// program, the child between fork and exec still has the lock.
func lock(dir string) (release func(), err error) {
	path := filepath.Join(dir, "lock")
	for deadline := time.Now().Add(lockGrace); ; {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock lab: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			f.Close()
			if time.Now().Before(deadline) {
				time.Sleep(lockGrace / 100)
				continue
			}
			return nil, &fault.Error{Class: fault.Locked, Op: "lock " + dir, Err: errors.New("another lab command is at work on it"), Hint: "wait for it, or end it"}
		}
		// Down removes the file while it holds it: what we locked may be
		// nobody's file any more.
		ours, err1 := f.Stat()
		current, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(ours, current) {
			return func() { _ = f.Close() }, nil
		}
		f.Close()
		if err2 != nil && !errors.Is(err2, fs.ErrNotExist) {
			return nil, fmt.Errorf("lock lab: %w", err2)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("lock lab: %w", err)
		}
	}
}

// kill ends all processes of a lab and returns when they are gone.
func kill(ctx context.Context, dir string) error {
	mark := []byte(dir + string(filepath.Separator))
	for {
		pids, err := processes(func(argv []string) bool {
			for _, a := range argv {
				if bytes.HasPrefix([]byte(a), mark) && (filepath.Base(a) == "machine.sh" || filepath.Base(a) == "host.sh") {
					return true
				}
			}
			return false
		})
		if err != nil {
			return fmt.Errorf("find processes of the lab: %w", err)
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := killAndWait(ctx, pid); err != nil {
				return fmt.Errorf("end process %d of the lab: %w", pid, err)
			}
		}
	}
}

func killAndWait(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func newSocketPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// endWithParent has the command ended when this process is, however that comes.
// The caller must lock its goroutine to the thread: the signal comes when the
// thread ends (prctl(2)).
func endWithParent(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// lockWait takes a lock that others hold for minutes.
func lockWait(ctx context.Context, path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return func() { _ = f.Close() }, nil
	case <-ctx.Done():
		// flock(2) cannot be cancelled; when it returns nobody wants it.
		go func() { <-locked; f.Close() }()
		return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
	}
}

// signalOf is the name, without SIG, of the signal that ended a process: nsenter
// ends by the same one as its child.
func signalOf(p *os.ProcessState) string {
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG")
	}
	return ""
}
