package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// piped is set for a process of the test itself whose output nobody reads.
const piped = "PGREPCTL_TEST_PIPED"

// attended is for a process that a hangup ends, though these tests may have been started by
// nohup: what ignores a signal passes that on, and no shell takes it back (POSIX, trap).
var attended = []string{"perl", "-e", `$SIG{HUP} = "DEFAULT"; exec @ARGV`}

// besides is the environment of a test that is started as a process of its own. What that leaves,
// for a signal ends it, goes with this test.
func besides(t *testing.T, setting string) []string {
	t.Helper()
	return append(os.Environ(), setting, "TMPDIR="+t.TempDir())
}

// childWith starts the named test as a process of its own, behind the words before.
func childWith(t *testing.T, before []string, env, mode string) (c *exec.Cmd, out io.ReadCloser, errs *os.File) {
	t.Helper()
	argv := append(slices.Clone(before), os.Args[0], "-test.run=^"+t.Name()+"$")
	c = exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	c.Env = besides(t, env+"="+mode)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = w
	if out, err = c.StdoutPipe(); err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	return c, out, r
}

// It writes to stderr, which a tee has read that died of the same Ctrl-C.
func TestARunOutlivesTheEndOfWhoReadsItsProgress(t *testing.T) {
	if os.Getenv(piped) != "" {
		_, stop, end := signals()
		defer end()
		fmt.Println("ready")
		<-stop
		// Any process that is being forked just now has the other end too, until its exec.
		for end := time.Now().Add(10 * time.Second); ; {
			_, err := fmt.Fprintln(os.Stderr, "progress")
			if err != nil || time.Now().After(end) {
				fmt.Println("epipe", errors.Is(err, syscall.EPIPE))
				return
			}
		}
	}
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		c, out, errs := childWith(t, attended, piped, "1")
		lines := bufio.NewScanner(out)
		lines.Scan()
		_ = errs.Close()
		for range map[bool]int{true: 3, false: 1}[sig == syscall.SIGHUP] { // a hangup comes from the kernel, and from the shell
			if err := c.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
		if lines.Scan(); lines.Text() != "epipe true" {
			t.Errorf("%s: it says %q", sig, lines.Text())
		}
		for lines.Scan() { // what the test says at its end
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", sig, err)
		}
	}
}

func TestAHangupIsIgnoredUnderNohup(t *testing.T) {
	if os.Getenv(piped) != "" {
		_, stop, end := signals()
		defer end()
		_ = syscall.Kill(os.Getpid(), syscall.SIGHUP)
		select {
		case <-stop:
			fmt.Println("stopped")
		case <-time.After(time.Second / 2):
			fmt.Println("goes on")
		}
		return
	}
	t.Parallel()
	for before, want := range map[string]string{"": "stopped", "trap '' HUP; ": "goes on"} {
		c, out, errs := childWith(t, append(slices.Clone(attended), "/bin/sh", "-c", before+`exec "$@"`, "sh"), piped, "1")
		lines := bufio.NewScanner(out)
		if lines.Scan(); lines.Text() != want {
			t.Errorf("%q: it says %q, want %q", before, lines.Text(), want)
		}
		for lines.Scan() { // what the test says at its end
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%q: %v", before, err)
		}
		_ = errs.Close()
	}
}

func TestACommandThatLooksEndsWithItsReaderAndOneThatActsGoesOn(t *testing.T) {
	switch os.Getenv(piped) {
	case "looks", "acts":
		_, _, end := signals()
		defer end()
		var acting atomic.Bool
		acting.Store(os.Getenv(piped) == "acts")
		out := &output{file: os.Stdout, acting: &acting}
		fmt.Fprintln(os.Stderr, "ready")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		for {
			if _, err := io.WriteString(out, "x\n"); err != nil {
				fmt.Fprintln(os.Stderr, "goes on:", err, fault.ClassOf(err))
				os.Exit(0)
			}
		}
	}
	t.Parallel()
	for mode, want := range map[string]string{"looks": "signal: broken pipe", "acts": ""} {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		c.Env = besides(t, piped+"="+mode)
		in, err := c.StdinPipe()
		out, oerr := c.StdoutPipe()
		errs, eerr := c.StderrPipe()
		if err := errors.Join(err, oerr, eerr, c.Start()); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(errs)
		lines.Scan()
		_ = out.Close()
		_, _ = io.WriteString(in, "\n")
		var said []string
		for lines.Scan() {
			said = append(said, lines.Text())
		}
		got := ""
		if err := c.Wait(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: it ended with %q, want %q", mode, got, want)
		}
		if text := strings.Join(said, "\n"); (mode == "acts") != strings.HasPrefix(text, "goes on: write the result: ") || mode == "looks" && text != "" {
			t.Errorf("%s: it says %q", mode, text)
		}
	}
}
