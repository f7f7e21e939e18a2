package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// callTimeout ends a call that hangs. It is no expectation of how long one may
// take.
const callTimeout = 5 * time.Minute

// operator is a user of the tool with a home and journals of his own.
type operator struct {
	t         *testing.T
	s         *site
	home      string
	inventory string
	env       []string // more of it
	binary    string   // empty is the one of all
}

func newOperator(t *testing.T, s *site) *operator {
	return &operator{t: t, s: s, home: t.TempDir(), inventory: s.lab.InventoryPath()}
}

// with gives the operator an inventory of his own: the lab's with pieces of its
// text replaced. Each old piece must occur.
func (o *operator) with(oldnew ...string) *operator {
	o.t.Helper()
	b, err := os.ReadFile(o.inventory)
	if err != nil {
		o.t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			o.t.Fatalf("the inventory has no %q", oldnew[i])
		}
		text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
	}
	o.inventory = filepath.Join(o.t.TempDir(), "inventory.yaml")
	if err := os.WriteFile(o.inventory, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return o
}

// answer is what a call said.
type answer struct {
	t              *testing.T
	args           []string
	code           int
	stdout, stderr string
	took           time.Duration
}

// call runs the tool to its end.
func (o *operator) call(args ...string) *answer {
	o.t.Helper()
	return o.start(args...).wait()
}

// calling is a call under way.
type calling struct {
	o              *operator
	args           []string
	cmd            *exec.Cmd
	cancel         context.CancelFunc
	stdout, stderr *buffer
	began          time.Time
}

func (o *operator) start(args ...string) *calling {
	o.t.Helper()
	// Tests slow a link down to find a copy in its midst, and pgbench's tables
	// compress to nothing. Other tests make commits slow, and each copy would wait for them.
	if len(args) > 1 && args[0] == "standby" {
		if args[1] == "bootstrap" && !slices.Contains(args, "--compress") {
			args = append(slices.Clone(args), "--compress", "none")
		}
		if (args[1] == "bootstrap" || args[1] == "reseed") && !slices.Contains(args, "--commit-limit") {
			args = append(slices.Clone(args), "--commit-limit", "none")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	c := &calling{o: o, args: args, cancel: cancel, stdout: &buffer{}, stderr: &buffer{}, began: time.Now()}
	c.cmd = exec.CommandContext(ctx, cmp.Or(o.binary, shared.binary), append([]string{"-i", o.inventory}, args...)...)
	c.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.home, "XDG_STATE_HOME=" + o.journals(), "GORACE=exitcode=66"}, o.env...)
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	c.cmd.WaitDelay = 5 * time.Second
	// Of its own group: a signal to it is for it alone.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		cancel()
		o.t.Fatal(err)
	}
	return c
}

func (c *calling) wait() *answer {
	c.o.t.Helper()
	defer c.cancel()
	err := c.cmd.Wait()
	a := &answer{t: c.o.t, args: c.args, code: c.cmd.ProcessState.ExitCode(), stdout: c.stdout.String(), stderr: c.stderr.String(), took: time.Since(c.began)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		c.o.t.Fatalf("%v: %v", c.args, err)
	}
	if strings.Contains(a.stderr, "DATA RACE") || strings.Contains(a.stderr, "goroutine ") {
		c.o.t.Errorf("%v:\n%s", c.args, a.stderr)
	}
	return a
}

// kill is SIGKILL: the tool gets no chance to clean up.
func (c *calling) kill() *answer {
	c.o.t.Helper()
	_ = c.cmd.Process.Kill()
	return c.wait()
}

// freeze keeps the tool from going on until it is thawed.
func (c *calling) freeze() (thaw func()) {
	_ = c.cmd.Process.Signal(syscall.SIGSTOP)
	return func() { _ = c.cmd.Process.Signal(syscall.SIGCONT) }
}

func (c *calling) interrupt() { _ = c.cmd.Process.Signal(os.Interrupt) }

// interruptHeard returns when the tool has said so: two signals at once are one.
func (c *calling) interruptHeard() {
	c.o.t.Helper()
	c.interrupt()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(c.stderr.String(), "interrupted once more"); pause(time.Millisecond) {
		if time.Now().After(deadline) {
			c.o.t.Fatalf("%v says nothing of an interrupt:\n%s", c.args, c.stderr.String())
		}
	}
}

// exits asserts the exit code.
func (a *answer) exits(code int) *answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("%v: exit code %d, want %d\n%s%s", a.args, a.code, code, a.stdout, a.stderr)
	}
	return a
}

// says asserts that each of words is in what the user reads.
func (a *answer) says(words ...string) *answer {
	a.t.Helper()
	for _, w := range words {
		if !strings.Contains(a.stdout+a.stderr, w) {
			a.t.Errorf("%v does not say %q:\n%s%s", a.args, w, a.stdout, a.stderr)
		}
	}
	return a
}

// decode reads stdout as JSON, strictly.
func (a *answer) decode(dst any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.stdout), dst); err != nil {
		a.t.Fatalf("%v: %v\n%s", a.args, err, a.stdout)
	}
}

func (o *operator) journals() string { return filepath.Join(o.home, "state") }

// records reads the journal of the operator's only open run, or of the only run
// at all; none if there is none yet.
func (o *operator) records() (journal.Summary, []journal.Record) {
	o.t.Helper()
	paths, err := filepath.Glob(filepath.Join(o.journals(), "pgrepctl", "*", "*.jsonl"))
	if err != nil {
		o.t.Fatal(err)
	}
	var found journal.Summary
	var recs []journal.Record
	for _, p := range paths {
		r, err := journal.Read(p)
		if err != nil {
			continue // its first record is being written
		}
		if s := journal.Summarize(p, r); recs == nil || s.Open() {
			found, recs = s, r
		}
	}
	return found, recs
}

// runID of the operator's run.
func (o *operator) runID() string {
	o.t.Helper()
	s, recs := o.records()
	if recs == nil {
		o.t.Fatal("there is no run")
	}
	return s.ID
}

// awaitRecord returns when the journal of the run has a record that is wanted.
func (o *operator) awaitRecord(c *calling, wanted func(journal.Record) bool) journal.Record {
	o.t.Helper()
	var got journal.Record
	o.await(c, "the journal record", time.Millisecond, func() bool {
		_, recs := o.records()
		for _, r := range recs {
			if wanted(r) {
				got = r
				return true
			}
		}
		return false
	})
	return got
}

// await polls until done, and fails when the call ends before.
func (o *operator) await(c *calling, what string, every time.Duration, done func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(callTimeout); time.Now().Before(deadline); {
		if done() {
			return
		}
		if c != nil && !alive(c.cmd.Process.Pid) {
			a := c.wait()
			o.t.Fatalf("%v ended (exit %d) before %s:\n%s%s", a.args, a.code, what, a.stdout, a.stderr)
		}
		pause(every)
	}
	o.t.Fatalf("no %s within %s", what, callTimeout)
}

// alive: a zombie, whose end nobody has waited for yet, is not.
func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// buffer is a bytes.Buffer that may be read while a process writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
