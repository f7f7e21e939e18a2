package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

func mustLose(t *testing.T, err error) {
	t.Helper()
	var exit *host.ExitError
	if !errors.Is(err, remote.ErrLost) || errors.As(err, &exit) || fault.ClassOf(err) != fault.Unreachable {
		t.Errorf("got %v", err)
	}
}

func TestCutConnectionIsNotTheEndOfTheOutput(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	s.SetFaults(remotetest.Faults{CutAfter: 100 << 10})
	var out bytes.Buffer
	mustLose(t, c.Run(limited(t), host.Cmd{Argv: []string{"head", "-c", "1000000", "/dev/zero"}}, host.Stdio{Out: &out}))
	if out.Len() == 0 || out.Len() >= 1000000 {
		t.Errorf("got %d bytes", out.Len())
	}
	// And it stays lost.
	mustLose(t, c.Run(limited(t), host.Cmd{Argv: []string{"true"}}, host.Stdio{}))
	_, err := c.Files("").Read(limited(t), "/etc/hostname")
	mustLose(t, err)
	select {
	case <-c.Lost():
	case <-limited(t).Done():
		t.Error("not lost")
	}
}

func TestCutDuringAFileCallIsALostConnection(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	file := filepath.Join(t.TempDir(), "f")
	remotetest.WriteFile(t, file, make([]byte, 1<<20))
	if _, err := c.Files("").Stat(limited(t), file); err != nil {
		t.Fatal(err)
	}
	s.SetFaults(remotetest.Faults{CutAfter: 100 << 10})
	_, err := c.Files("").Read(limited(t), file)
	mustLose(t, err)
}

func TestStalledConnectionIsFoundByKeepalive(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.KeepAlive = 100 * time.Millisecond
	c := dial(t, to)
	pid := filepath.Join(t.TempDir(), "pid")
	done := make(chan error, 1)
	go func() {
		done <- c.Run(limited(t), host.Cmd{Argv: []string{"sh", "-c", `echo $$ >"$0"; exec cat`, pid}}, host.Stdio{In: blockedUntil(t.Context())})
	}()
	if !remotetest.Await(t, 30*time.Second, func() bool { _, err := os.Stat(pid); return err == nil }) {
		t.Fatal("the command did not start")
	}
	s.SetFaults(remotetest.Faults{Stall: true})
	start := time.Now()
	mustLose(t, <-done)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestContextEndsACallOverAStalledConnection(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	works(t, c)
	s.SetFaults(remotetest.Faults{Stall: true})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := c.Run(ctx, host.Cmd{Argv: []string{"true"}}, host.Stdio{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

// blockedUntil is an input that neither gives nor ends before ctx does.
func blockedUntil(ctx context.Context) io.Reader {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = w.Close() })
	return r
}

func TestRefusedSessionNamesMaxSessions(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	s.SetFaults(remotetest.Faults{RefuseSessions: true})
	mustHint(t, c.Run(limited(t), host.Cmd{Argv: []string{"true"}}, host.Stdio{}), fault.Unreachable, "MaxSessions")
	s.SetFaults(remotetest.Faults{})
	works(t, c)
}

func TestAConnectionHasNineSessionsAndMoreTakeAnother(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{MaxSessions: 9})
	c := dial(t, target(s))
	gate, end := context.WithCancel(limited(t))
	defer end()
	results := make(chan error, 9)
	for range cap(results) {
		go func() {
			results <- c.Run(limited(t), host.Cmd{Argv: []string{"cat"}}, host.Stdio{In: blockedUntil(gate)})
		}()
	}
	if !remotetest.Await(t, 30*time.Second, func() bool { return s.Sessions() == 9 }) {
		t.Fatalf("%d sessions", s.Sessions())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Run(ctx, host.Cmd{Argv: []string{"true"}}, host.Stdio{}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "free SSH session") {
		t.Errorf("got %v", err)
	}
	// Those nine stay: what comes now does not wait for their end.
	works(t, c)
	works(t, c)
	if n := s.Accepted(); n != 2 {
		t.Errorf("%d connections", n)
	}
	end()
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if !remotetest.Await(t, 30*time.Second, func() bool { return s.Sessions() == 0 }) {
		t.Errorf("%d sessions are left", s.Sessions())
	}
}

// What ends a silent connection is a session of it, or it is none: on another connection
// it would outlive its own, and whoever closes that would wait for it.
func TestAConnectionWithoutAFreeSessionIsClosedAtOnce(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	gate, end := context.WithCancel(limited(t))
	defer end()
	for range 9 {
		go func() {
			_ = c.Run(limited(t), host.Cmd{Argv: []string{"cat"}}, host.Stdio{In: blockedUntil(gate)})
		}()
	}
	if !remotetest.Await(t, 30*time.Second, func() bool { return s.Sessions() == 9 }) {
		t.Fatalf("%d sessions", s.Sessions())
	}
	c.Guard()
	if remotetest.Await(t, 3*time.Second, func() bool { return s.Sessions() > 9 }) {
		t.Errorf("%d sessions", s.Sessions())
	}
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-limited(t).Done():
		t.Fatal("it is not closed")
	}
}

func TestStderrIsBoundedAndItsEndKept(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	err := c.Run(limited(t), host.Cmd{Argv: []string{"sh", "-c", "head -c 5000000 /dev/zero >&2; echo the cause >&2; exit 1"}}, host.Stdio{})
	if got := host.StderrOf(err); len(got) != 64<<10 || !strings.HasSuffix(got, "the cause\n") {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	s.SetFaults(remotetest.Faults{Stderr: 1 << 20})
	works(t, c)
}

func TestNoiseOfTheLoginShellIsSkipped(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{Noise: strings.Repeat("Authorized users only!\n", 1000) + "no newline"})
	c := dial(t, target(s))
	works(t, c)
	if _, err := c.Files("").Read(limited(t), "/etc/hostname"); err != nil {
		t.Error(err)
	}
}

func TestUselessLoginShellIsExplained(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{Shell: "/usr/sbin/nologin"})
	mustHint(t, dial(t, target(s)).Run(limited(t), host.Cmd{Argv: []string{"true"}}, host.Stdio{}), fault.Auth, "login shell", "nologin")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestFailingWriterEndsTheCommand(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	err := c.Run(limited(t), host.Cmd{Argv: []string{"yes"}}, host.Stdio{Out: brokenWriter{}})
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
	works(t, c)
}

func TestPoolDialsEachHostOnceAndAgainWhenLost(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	pool := remote.NewPool([]remote.Target{target(s)})
	defer func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}()
	if s.Accepted() != 0 {
		t.Error("dialed too early")
	}
	hosts := make(chan host.Host, 20)
	for range cap(hosts) {
		go func() {
			h, err := pool.Dial(limited(t), "pg1")
			if err != nil {
				t.Error(err)
			}
			hosts <- h
		}()
	}
	first := <-hosts
	for range cap(hosts) - 1 {
		if h := <-hosts; h != first {
			t.Error("another connection")
		}
	}
	if s.Accepted() != 1 || pool.Connections("pg1") != 1 {
		t.Errorf("%d connections, counted %d", s.Accepted(), pool.Connections("pg1"))
	}
	s.CutAll()
	<-first.(*remote.Conn).Lost()
	h, err := pool.Dial(limited(t), "pg1")
	if err != nil {
		t.Fatal(err)
	}
	works(t, h)
	mustLose(t, first.Run(limited(t), host.Cmd{Argv: []string{"true"}}, host.Stdio{}))
	if pool.Connections("pg1") != 2 {
		t.Errorf("counted %d", pool.Connections("pg1"))
	}
	if _, err := pool.Dial(limited(t), "pg9"); err == nil {
		t.Error("an unknown host was dialed")
	}
}

func TestPoolDoesNotRepeatARefusedLogin(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.IdentityFiles = []string{remotetest.NewKey(t).File}
	pool := remote.NewPool([]remote.Target{to})
	for range 3 {
		if _, err := pool.Dial(limited(t), "pg1"); fault.ClassOf(err) != fault.Auth {
			t.Errorf("got %v", err)
		}
	}
	if s.Accepted() != 1 {
		t.Errorf("%d connections", s.Accepted())
	}
	// Whoever lives for days may ask for it.
	pool.Forgive("pg1")
	pool.Forgive("nobody")
	for range 3 {
		if _, err := pool.Dial(limited(t), "pg1"); fault.ClassOf(err) != fault.Auth {
			t.Errorf("forgiven: got %v", err)
		}
	}
	if s.Accepted() != 2 {
		t.Errorf("forgiven once: %d connections", s.Accepted())
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if _, err := remote.NewPool(nil).Dial(t.Context(), "pg1"); err == nil {
		t.Error("dialed")
	}
}

type recorder struct{ events []event.Event }

func (r *recorder) Emit(e event.Event) { r.events = append(r.events, e) }

func TestPoolWarnsAboutKnownHosts(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	good, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	to := target(s)
	file := filepath.Join(t.TempDir(), "known_hosts")
	remotetest.WriteFile(t, file, append([]byte("corrupt\n"), good...))
	to.KnownHosts = []string{file}
	var sink recorder
	pool := remote.NewPool([]remote.Target{to}, remote.WithEvents(&sink))
	if _, err := pool.Dial(limited(t), "pg1"); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if len(sink.events) != 1 || sink.events[0].Type != event.Warning || !strings.Contains(sink.events[0].Text, file+":1") {
		t.Errorf("got %+v", sink.events)
	}
}
