package engine_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The journal's copy is written by whatever shell the primary has.
func TestCopyOfTheJournalIsAddedToUntilSomebodyElseWritesHisOwn(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("mirror.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			continue // as a machine has them; that for the tests has all
		}
		t.Run(argv[0], func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "runs", "1")
			file := filepath.Join(dir, "journal.jsonl")
			cmd := exec.CommandContext(t.Context(), argv[0], append(argv[1:], script, dir)...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewScanner(out)
			answer := func() string { answers.Scan(); return answers.Text() }
			ask := func(request, want string) {
				t.Helper()
				if _, err := io.WriteString(in, request); err != nil {
					t.Fatal(err)
				}
				if got := answer(); got != want {
					t.Fatalf("%q: got %q", request, got)
				}
			}
			has := func(want string) {
				t.Helper()
				if b, err := os.ReadFile(file); err != nil || string(b) != want {
					t.Errorf("the copy has %q, %v", b, err)
				}
			}
			ask("", "ready")
			ask("new\n{1}\nend\n", "ok")
			ask("add\n{2 \\n '$x'}\n{3}\nend\n", "ok")
			has("{1}\n{2 \\n '$x'}\n{3}\n")

			// Another operator has the run now, with as many bytes.
			his := func() {
				t.Helper()
				if err := os.WriteFile(file+".his", []byte("{1}\n{2 \\n '$y'}\n{3}\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(file+".his", file); err != nil {
					t.Fatal(err)
				}
			}
			refused := fmt.Sprintf("somebody else has changed %s", file)
			his()
			ask("add\n{4}\nend\n", refused)
			ask("", "failed")
			has("{1}\n{2 \\n '$y'}\n{3}\n")

			ask("new\n{1}\nend\n", "ok")
			if _, err := io.WriteString(in, "add\n{2}\n"); err != nil {
				t.Fatal(err)
			}
			his()
			ask("end\n", refused)
			ask("", "failed")
			has("{1}\n{2 \\n '$y'}\n{3}\n")

			ask("new\n{5}\nend\n", "ok")
			ask("add\n{6}\nend\n", "ok")
			has("{5}\n{6}\n")
			ask("gone\n", "ok")
			if _, err := os.Stat(filepath.Dir(dir)); !os.IsNotExist(err) {
				t.Errorf("it left %s: %v", filepath.Dir(dir), err)
			}
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
