package effect

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rsync dies while the pipe to it is full, and the connection is there: nobody is left.
// So it is when the connection goes, and rsync waits.
func TestWhatCarriesARelayedCopyEndsWithEitherSide(t *testing.T) {
	t.Parallel()
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(shell[0]); err != nil {
			continue // as a machine has them; that for the tests has all
		}
		for _, first := range []string{"rsync", "connection"} {
			t.Run(shell[0]+": "+first, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
				for _, p := range []string{in, out} {
					if err := syscall.Mkfifo(p, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				carrier := exec.CommandContext(t.Context(), shell[0], append(shell[1:], "-c", joinPipes, "sh", in, out)...)
				carrier.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				stdin, err := carrier.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				var carried strings.Builder
				carrier.Stdout = &carried
				if err := carrier.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = syscall.Kill(-carrier.Process.Pid, syscall.SIGKILL) })
				ended := make(chan error, 1)
				go func() { ended <- carrier.Wait() }() // when all that has its output has ended

				// What rsync has: it reads one, and writes to the other.
				reads, err := os.OpenFile(in, os.O_RDONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer reads.Close()
				writes, err := os.OpenFile(out, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer writes.Close()
				if _, err := writes.WriteString("asked"); err != nil {
					t.Fatal(err)
				}
				filled := make(chan struct{})
				go func() {
					defer close(filled)
					_, _ = io.Copy(stdin, zeros{}) // until nothing goes on
				}()
				if _, err := io.CopyN(io.Discard, reads, 1<<20); err != nil {
					t.Fatal(err)
				}
				if first == "rsync" {
					_, _ = reads.Close(), writes.Close()
				} else {
					_ = stdin.Close()
					_, _ = io.Copy(io.Discard, reads) // what was on the way
				}
				select {
				case err := <-ended:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(30 * time.Second):
					t.Fatal("it goes on")
				}
				<-filled
				if carried.String() != "asked" {
					t.Errorf("to the source came %q", carried.String())
				}
				if err := syscall.Kill(-carrier.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("a process of it is left: %v", err)
				}
			})
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
