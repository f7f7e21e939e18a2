package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// pseudoTerminal is one: what is typed on it, and what a command has of it.
func pseudoTerminal(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(tty.Close(), keys.Close()) })
	return keys, tty
}

// interruptsAndSaysYes reads until the question is asked, interrupts there, and answers it
// all the same.
func interruptsAndSaysYes(keys *os.File, interrupt func()) {
	var shown []byte
	buf := make([]byte, 1024)
	for !bytes.Contains(shown, []byte(`type "yes" to go on: `)) {
		n, err := keys.Read(buf)
		if err != nil {
			return
		}
		shown = append(shown, buf[:n]...)
	}
	interrupt()
	_, _ = keys.WriteString("yes\n")
}

// TestARunIsNotAbandonedByTheAnswerAfterAnInterrupt: the first Ctrl-C at a question
// ends the command.
func TestARunIsNotAbandonedByTheAnswerAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	keys, tty := pseudoTerminal(t)
	dir := t.TempDir()
	inv := filepath.Join(dir, "inventory.yaml")
	// No host can be reached: a run can be abandoned all the same.
	text := "cluster: shop\npostgres: {version: 15, data_directory: /srv/pg}\nssh: {user: nobody, proxy_command: [/bin/false]}\nhosts:\n  pg1: {address: 127.0.0.1, role: primary}\n"
	if err := os.WriteFile(inv, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	runs := filepath.Join(dir, "state", "pgrepctl", "shop")
	j, err := journal.Create(runs, journal.Run{ID: "r1", Cluster: "shop", Plan: "bootstrap-standby", Operator: "anna@desk"}, time.Now)
	if err == nil {
		_, _, err = j.Append(journal.Record{Type: journal.Intent, Host: "pg1", Effect: "make-dir"})
	}
	if err = errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string {
		return map[string]string{"HOME": dir, "XDG_STATE_HOME": filepath.Join(dir, "state")}[name]
	}
	stop := make(chan struct{})
	go interruptsAndSaysYes(keys, func() { close(stop) })
	if code := Run(t.Context(), []string{"-i", inv, "runs", "abandon", "r1"}, Stdio{In: tty, Out: tty, Err: tty, Env: env, Stop: stop}); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if list, err := journal.List(runs); err != nil || len(list) != 1 || !list[0].Open() {
		t.Errorf("the run is over: %+v, %v", list, err)
	}
}

// TestNothingIsDoneAfterAnInterruptAtTheQuestion: nor is an answer waited for.
func TestNothingIsDoneAfterAnInterruptAtTheQuestion(t *testing.T) {
	t.Parallel()
	keys, tty := pseudoTerminal(t)
	a := &app{Stdio: Stdio{In: tty, Out: tty, Err: tty, Env: func(string) string { return "" }}}
	root := a.root()
	root.SetArgs([]string{"-q", "version"})
	root.SetOut(tty)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go interruptsAndSaysYes(keys, func() { cancel(&fault.Error{Class: fault.Interrupted, Err: errors.New("interrupted")}) })
	pre := &engine.Preview{Lines: []engine.Line{{Host: "pg2", Effects: []effect.Description{{Host: "pg2", Verb: "make", Subject: "directory /a"}}}}}
	_, err := a.consented(ctx, &session{Engine: &engine.Engine{Sink: event.Discard{}}, inv: cluster(t, cascade)}, pre, func(context.Context) (*engine.Report, error) {
		t.Error("it is done")
		return nil, nil
	})
	if fault.ClassOf(err) != fault.Interrupted || !strings.Contains(fmt.Sprint(err), "interrupted") {
		t.Error(err)
	}
}
