package effect

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// leashed arms the leash with a psql that writes down what it is asked.
func leashed(t *testing.T, seconds string) (cmd *exec.Cmd, asked string) {
	t.Helper()
	dir := t.TempDir()
	asked = filepath.Join(dir, "asked")
	psql := filepath.Join(dir, "psql")
	hosttest.Program(t, psql, "#!/bin/sh\n[ \"$1\" = --version ] || printf '%s\\n' \"$*\" >"+asked+"\n")
	cmd = exec.Command("/bin/sh", "-c", leashScript, "pgrepctl-leash", seconds, psql, "-h", "/run/postgresql", "-p", "5432")
	cmd.Stdin = strings.NewReader(postgres.MakeVersion(15).ResumeReplayUnlessTargeted() + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	if _, err := os.Stat(asked); err == nil {
		t.Error("it resumes before it is ended")
	}
	// Nobody listens any more, as when the connection is gone.
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return cmd, asked
}

func resumed(t *testing.T, cmd *exec.Cmd, asked string) {
	t.Helper()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	b, err := os.ReadFile(asked)
	if err != nil || !strings.HasPrefix(string(b), "-XAtq -h /run/postgresql -p 5432 -c select case when pg_is_in_recovery()") || !strings.Contains(string(b), "pg_wal_replay_resume()") {
		t.Errorf("psql was asked %q, %v", b, err)
	}
}

func TestTheLeashResumesReplayWhenItIsEnded(t *testing.T) {
	t.Parallel()
	cmd, asked := leashed(t, "3600")
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	resumed(t, cmd, asked)
}

func TestTheLeashResumesReplayWhenItIsOver(t *testing.T) {
	t.Parallel()
	cmd, asked := leashed(t, "1")
	resumed(t, cmd, asked)
}

func TestTheLeashIsNotArmedWithoutPSQL(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/sh", "-c", leashScript, "pgrepctl-leash", "3600", "/none/psql")
	cmd.Stdin = strings.NewReader("select 1\n")
	if out, err := cmd.Output(); err == nil || len(out) > 0 {
		t.Errorf("it said %q, %v", out, err)
	}
}
