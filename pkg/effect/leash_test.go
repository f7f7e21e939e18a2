package effect

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// leashed is a host with a leash, whose psql writes down what it is asked.
type leashed struct {
	t   *testing.T
	dir string // of the server's socket, and of all the rest
	// script is the leash.
	script string
}

// newLeashed has a psql that then does what a shell script says: $n is how often it was asked.
func newLeashed(t *testing.T, does string) *leashed {
	t.Helper()
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	l := &leashed{t: t, dir: t.TempDir(), script: strings.Replace(leashScript, "&& sleep 1 &&", "&& sleep 0.1 &&", 1)}
	hosttest.Program(t, l.file("psql"), `#!/bin/sh
[ "$1" != --version ] || exit 0
cd `+l.dir+` || exit
cut -d' ' -f5 /proc/self/stat >>groups
printf '%s\n' "$*" >>asked
n=$(wc -l <asked)
`+does+"\n")
	l.serve(os.Getpid())
	t.Cleanup(func() {
		for _, g := range l.groups() {
			_ = syscall.Kill(-g, syscall.SIGKILL)
		}
	})
	return l
}

func (l *leashed) file(name string) string { return filepath.Join(l.dir, name) }

// lines are those of a file, none if it is not there.
func (l *leashed) lines(name string) []string {
	b, err := os.ReadFile(l.file(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		l.t.Fatal(err)
	}
	return strings.Split(string(b), "\n")[:strings.Count(string(b), "\n")]
}

// groups are the process groups that psql was run in.
func (l *leashed) groups() []int {
	var out []int
	for _, line := range l.lines("groups") {
		g, err := strconv.Atoi(line)
		if err != nil {
			l.t.Fatal(err)
		}
		out = append(out, g)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// serve makes a process the server.
func (l *leashed) serve(pid int) {
	l.t.Helper()
	lock := fmt.Sprintf("%d\n/var/lib/postgresql/15/main\n1790000000\n5432\n%s\n", pid, l.dir)
	if err := os.WriteFile(l.file(".s.PGSQL.5432.lock"), []byte(lock), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// arm starts a leash, in a group as its own leash does, and waits until it is ready.
func (l *leashed) arm(seconds string) *exec.Cmd {
	l.t.Helper()
	before := len(l.lines("asked"))
	cmd := exec.Command("/bin/sh", "-c", l.script, "pgrepctl-leash", seconds, l.file("psql"), "-h", l.dir, "-p", "5432")
	cmd.Stdin = strings.NewReader(postgres.MakeVersion(15).ResumeReplayUnlessTargeted() + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, w, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if cmd.ProcessState == nil { // the test has failed
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	_ = w.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		l.t.Fatalf("it says %q, %v", line, err)
	}
	if before == 0 && len(l.lines("asked")) > 0 {
		l.t.Error("it resumes before it is ended")
	}
	// Nobody listens any more, as when the connection is gone.
	if err := out.Close(); err != nil {
		l.t.Fatal(err)
	}
	return cmd
}

// signal is what the leash around does to the group.
func (l *leashed) signal(cmd *exec.Cmd, s syscall.Signal) {
	l.t.Helper()
	if err := syscall.Kill(-cmd.Process.Pid, s); err != nil {
		l.t.Fatal(err)
	}
}

func (l *leashed) wait(cmd *exec.Cmd) {
	l.t.Helper()
	if err := cmd.Wait(); err != nil {
		l.t.Errorf("it ended with %v", err)
	}
}

func (l *leashed) eventually(what string, is func() bool) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("not so: %s; psql was asked %d times", what, len(l.lines("asked")))
		}
	}
}

// runs reports whether a process group has a process that runs. Who is dead, and has not
// been asked for by init yet, counts for nothing.
func runs(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			continue // it has just ended
		}
		_, after, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(after); len(f) > 2 && f[0] != "Z" && f[2] == strconv.Itoa(group) {
			return true
		}
	}
	return false
}

// askedTimes is how often psql was asked to resume replay, in the end, and that nothing is
// left by then.
func (l *leashed) askedTimes(want int) {
	l.t.Helper()
	l.eventually("no process is left", func() bool {
		return !slices.ContainsFunc(l.groups(), runs)
	})
	list := l.lines("asked")
	if len(list) != want {
		l.t.Errorf("psql was asked %d times, want %d", len(list), want)
	}
	for _, line := range list {
		if !strings.HasPrefix(line, "-XAtq -h "+l.dir+" -p 5432 -c select case when pg_is_in_recovery()") || !strings.Contains(line, "pg_wal_replay_resume()") {
			l.t.Errorf("psql was asked %q", line)
		}
	}
}

// full is a psql to which the server gives a connection the third time.
const full = `[ "$n" -ge 3 ]`

func TestTheLeashResumesReplayWhenItIsEnded(t *testing.T) {
	t.Parallel()
	l := newLeashed(t, "")
	cmd := l.arm("3600")
	l.signal(cmd, syscall.SIGTERM)
	l.wait(cmd)
	l.askedTimes(1)
}

func TestTheLeashResumesReplayWhenItIsOver(t *testing.T) {
	t.Parallel()
	l := newLeashed(t, "")
	l.wait(l.arm("1"))
	l.askedTimes(1)
}

// TestTheLeashTriesAgainUntilTheServerHasAConnectionToGive: what ended it does not wait for
// that, and whoever is left of its group is killed.
func TestTheLeashTriesAgainUntilTheServerHasAConnectionToGive(t *testing.T) {
	t.Parallel()
	l := newLeashed(t, full)
	cmd := l.arm("3600")
	l.signal(cmd, syscall.SIGTERM)
	l.wait(cmd)
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("its group is not empty: %v", err)
	}
	l.eventually("it is tried three times", func() bool { return len(l.lines("asked")) == 3 })
	l.askedTimes(3)
}

// TestTheLeashIsNotKilledInTheMiddleOfATry: a server with all its connections in use may be
// slow to say so.
func TestTheLeashIsNotKilledInTheMiddleOfATry(t *testing.T) {
	t.Parallel()
	l := newLeashed(t, `[ "$n" -gt 1 ] || { sleep 1; exit 2; }`)
	cmd := l.arm("3600")
	l.signal(cmd, syscall.SIGTERM)
	l.eventually("it is tried", func() bool { return len(l.lines("asked")) == 1 })
	l.signal(cmd, syscall.SIGKILL)
	_ = cmd.Wait()
	l.eventually("it is tried again", func() bool { return len(l.lines("asked")) == 2 })
	l.askedTimes(2)
}

// TestTheLeashLeavesTheNextServerAlone: the pause was of the one that is gone, and replay of
// another may stand at its recovery target.
func TestTheLeashLeavesTheNextServerAlone(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(*leashed, *exec.Cmd){
		"it is stopped": func(l *leashed, _ *exec.Cmd) {
			if err := os.Remove(l.file(".s.PGSQL.5432.lock")); err != nil {
				l.t.Fatal(err)
			}
		},
		"another is started": func(l *leashed, _ *exec.Cmd) { l.serve(os.Getppid()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLeashed(t, "exit 2")
			server := exec.Command("sleep", "60")
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = server.Process.Kill() }()
			l.serve(server.Process.Pid)
			cmd := l.arm("3600")
			l.signal(cmd, syscall.SIGTERM)
			l.wait(cmd)
			l.eventually("it goes on trying", func() bool { return len(l.lines("asked")) >= 2 })
			ends(l, server)
			time.Sleep(50 * time.Millisecond) // a try that goes on
			l.askedTimes(len(l.lines("asked")))
		})
	}
}

func TestTheLeashDoesNotTryForEver(t *testing.T) {
	t.Parallel()
	for _, own := range []string{"command -v setsid", "false"} { // it may be without a session of its own
		l := newLeashed(t, "exit 2")
		l.script = strings.NewReplacer("command -v setsid", own, "longest=600", "longest=2").Replace(l.script)
		cmd := l.arm("3600")
		l.signal(cmd, syscall.SIGTERM)
		_ = cmd.Wait()
		l.askedTimes(3)
	}
}

func TestTheLeashIsNotArmedWithoutPSQL(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/sh", "-c", leashScript, "pgrepctl-leash", "3600", "/none/psql", "-h", t.TempDir(), "-p", "5432")
	cmd.Stdin = strings.NewReader("select 1\n")
	if out, err := cmd.Output(); err == nil || len(out) > 0 {
		t.Errorf("it said %q, %v", out, err)
	}
}
