package remotetest

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

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Contract is what every transport must keep to be a host.Runner and
// host.Files. dial connects to this machine.
func Contract(t *testing.T, dial func(t *testing.T) host.Host) {
	t.Helper()
	h := dial(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, host.Host)
	}{
		{"argv arrives as it is", argvArrives},
		{"output and stderr are whole and apart", outputIsWhole},
		{"a status other than 0 is an ExitError", statusIsExitError},
		{"a signal is named", signalIsNamed},
		{"a missing program is status 127", missingProgram},
		{"input arrives and ends", inputArrives},
		{"an early end of the reader is no error", earlyReaderEnd},
		{"a failing input ends the command", failingInput},
		{"commands run in / with LC_ALL=C", environment},
		{"NUL is refused", nulRefused},
		{"an ended context ends the command", contextEndsCommand},
		{"TERM comes before KILL", termComesFirst},
		{"a leash passes input, output and status", leashPasses},
		{"a leash ends the process tree with its context", leashEnds},
		{"many commands run at once", manyCommands},
		{"a file is read as it is", fileIsRead},
		{"a write replaces in one step", writeReplaces},
		{"a write refuses what has changed", writeComparesAndSwaps},
		{"a symlink is edited at its target", writeFollowsLinks},
		{"a failed write leaves nothing", failedWriteLeavesNothing},
		{"directories", directories},
		{"names and links", namesAndLinks},
		{"relative paths are refused", relativeRefused},
		{"names with a NUL are refused", nulInNamesRefused},
		{"a cancelled file call does not spoil the next", cancelledFileCall},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func argvArrives(t *testing.T, h host.Host) {
	args := []string{"", " ", "a b", "'", `"`, `\`, `\\`, `\'`, "$HOME", "`id`", "$(id)", "*", "~", "!", "!!", "#", "a\nb", "\t", "-n", "ä", "\xff\xfe", "%s", "&&", ";", "|", "<>", "{a,b}"}
	got, err := host.Output(within(t), h, host.Cmd{Argv: append([]string{"printf", `[%s]\n`}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	want := "[" + strings.Join(args, "]\n[") + "]\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func outputIsWhole(t *testing.T, h host.Host) {
	var out, errOut bytes.Buffer
	err := h.Run(within(t), host.Cmd{Argv: []string{"sh", "-c", "head -c 3000000 /dev/zero; head -c 200000 /dev/zero >&2"}}, host.Stdio{Out: &out, Err: &errOut})
	if err != nil {
		t.Fatal(err)
	}
	if out.Len() != 3000000 || errOut.Len() != 200000 {
		t.Errorf("got %d and %d bytes", out.Len(), errOut.Len())
	}
}

func statusIsExitError(t *testing.T, h host.Host) {
	err := h.Run(within(t), host.Cmd{Argv: []string{"sh", "-c", "echo one >&2; echo two >&2; exit 3"}}, host.Stdio{})
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("got %v", err)
	}
	if exit.Code != 3 || exit.Signal != "" || exit.Stderr != "one\ntwo\n" || exit.Host != h.Name() || exit.Cmd.Argv[0] != "sh" {
		t.Errorf("got %+v", exit)
	}
}

func signalIsNamed(t *testing.T, h host.Host) {
	err := h.Run(within(t), host.Cmd{Argv: []string{"sh", "-c", "kill -TERM $$"}}, host.Stdio{})
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Signal != "TERM" {
		t.Errorf("got %v", err)
	}
}

func missingProgram(t *testing.T, h host.Host) {
	err := h.Run(within(t), host.Cmd{Argv: []string{"/no/such/program"}}, host.Stdio{})
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Code != 127 {
		t.Errorf("got %v", err)
	}
}

func inputArrives(t *testing.T, h host.Host) {
	want := bytes.Repeat([]byte("0123456789abcdef\x00\n"), 100000)
	var got bytes.Buffer
	if err := h.Run(within(t), host.Cmd{Argv: []string{"cat"}}, host.Stdio{In: bytes.NewReader(want), Out: &got}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got %d bytes of %d", got.Len(), len(want))
	}
	if err := h.Run(within(t), host.Cmd{Argv: []string{"cat"}}, host.Stdio{}); err != nil {
		t.Errorf("no input: %v", err)
	}
}

func earlyReaderEnd(t *testing.T, h host.Host) {
	got := new(bytes.Buffer)
	err := h.Run(within(t), host.Cmd{Argv: []string{"head", "-c", "3"}}, host.Stdio{In: strings.NewReader(strings.Repeat("abc", 1<<20)), Out: got})
	if err != nil || got.String() != "abc" {
		t.Errorf("got %q, %v", got, err)
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func failingInput(t *testing.T, h host.Host) {
	broken := errors.New("disk on fire")
	in := io.MultiReader(strings.NewReader("half"), failingReader{broken})
	for _, leash := range []bool{false, true} {
		if err := h.Run(within(t), host.Cmd{Argv: []string{"cat"}, Leash: leash}, host.Stdio{In: in}); !errors.Is(err, broken) {
			t.Errorf("leash %v: got %v", leash, err)
		}
	}
}

func environment(t *testing.T, h host.Host) {
	got, err := host.Output(within(t), h, host.Cmd{Argv: []string{"sh", "-c", "pwd; echo $LC_ALL"}})
	if err != nil || string(got) != "/\nC\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func nulRefused(t *testing.T, h host.Host) {
	if err := h.Run(within(t), host.Cmd{Argv: []string{"echo", "a\x00b"}}, host.Stdio{}); err == nil {
		t.Error("NUL was let through")
	}
}

// pidOf reads the pid that a command wrote to file.
func pidOf(t *testing.T, file string) string {
	t.Helper()
	var pid string
	if !Await(t, 30*time.Second, func() bool {
		b, err := os.ReadFile(file)
		pid = strings.TrimSpace(string(b))
		return err == nil && strings.HasSuffix(string(b), "\n")
	}) {
		t.Fatal("the command did not start")
	}
	return pid
}

// running tells whether a process runs; a zombie does not.
func running(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func mustEnd(t *testing.T, pid string) {
	t.Helper()
	if !Await(t, 30*time.Second, func() bool { return !running(pid) }) {
		t.Errorf("process %s still runs", pid)
	}
}

func contextEndsCommand(t *testing.T, h host.Host) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() {
		done <- h.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", `echo $$ >"$0"; exec sleep 300`, file}}, host.Stdio{})
	}()
	pid := pidOf(t, file)
	start := time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	mustEnd(t, pid)
}

func termComesFirst(t *testing.T, h host.Host) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() {
		done <- h.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", `trap 'echo term >"$0/term"; exit' TERM; echo $$ >"$0/pid"; while :; do sleep 0.1; done`, dir}}, host.Stdio{})
	}()
	pid := pidOf(t, filepath.Join(dir, "pid"))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	mustEnd(t, pid)
	if _, err := os.Stat(filepath.Join(dir, "term")); err != nil {
		t.Errorf("it was not asked to end: %v", err)
	}
}

func leashPasses(t *testing.T, h host.Host) {
	in := bytes.Repeat([]byte("line\n"), 200000)
	var out bytes.Buffer
	err := h.Run(within(t), host.Cmd{Argv: []string{"sh", "-c", "cat; echo done >&2; exit 5"}, Leash: true}, host.Stdio{In: bytes.NewReader(in), Out: &out})
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Code != 5 || exit.Stderr != "done\n" {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(out.Bytes(), in) {
		t.Errorf("got %d bytes of %d", out.Len(), len(in))
	}
	start := time.Now()
	if err := h.Run(within(t), host.Cmd{Argv: []string{"cat"}, Leash: true}, host.Stdio{}); err != nil {
		t.Errorf("no input: %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("a short leashed command took %s", took)
	}
}

func leashEnds(t *testing.T, h host.Host) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() {
		// The child is deaf to TERM, its own child is not its shell's.
		done <- h.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", `trap "" TERM; sleep 300 & echo $! >"$0/child"; echo $$ >"$0/pid"; while :; do sleep 300; done`, dir}, Leash: true}, host.Stdio{})
	}()
	child, pid := pidOf(t, filepath.Join(dir, "child")), pidOf(t, filepath.Join(dir, "pid"))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	mustEnd(t, pid)
	mustEnd(t, child)
}

func manyCommands(t *testing.T, h host.Host) {
	errs := make(chan error, 24)
	for range cap(errs) {
		go func() {
			out, err := host.Output(within(t), h, host.Cmd{Argv: []string{"echo", "hello"}})
			if err == nil && string(out) != "hello\n" {
				err = errors.New(string(out))
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
