package effect

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// fakePsql keeps what it is told in a file beside it.
const fakePsql = `#!/bin/sh
here=$(dirname "$0")
echo "args $*" >>"$here/told"
cat >>"$here/told"
[ ! -e "$here/refuse" ] || { echo "psql: no" >&2; exit 2; }
`

func armed(t *testing.T, bin string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", backupSwitchScript, "pgrepctl-backup-switch", "select 'end it'", bin, "-h", "/run/post gresql", "-p", "5432")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func TestBackupSwitchEndsTheBackupWhenItIsEnded(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	hosttest.Program(t, filepath.Join(bin, "psql"), fakePsql)
	cmd := armed(t, bin)
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
	if err := out.Close(); err != nil { // nobody listens any more
		t.Fatal(err)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	told, err := os.ReadFile(filepath.Join(bin, "told"))
	if err != nil {
		t.Fatal(err)
	}
	const args = "args -X -q -A -t -w -v ON_ERROR_STOP=1 -h /run/post gresql -p 5432\nset statement_timeout = '60s';\n"
	if want := args + "select 1;\n" + args + "select 'end it';\n"; string(told) != want {
		t.Errorf("psql was told:\n%s", told)
	}
}

func TestBackupSwitchThatCannotEndABackupIsNotReady(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for name, text := range map[string]string{"psql": fakePsql, "refuse": ""} {
		hosttest.Program(t, filepath.Join(bin, name), text)
	}
	if out, err := armed(t, bin).CombinedOutput(); err == nil || strings.Contains(string(out), "ready") {
		t.Errorf("it says %q, %v", out, err)
	}
	cmd := armed(t, "/nowhere")
	cmd.Path, cmd.Env = "/bin/sh", []string{"PATH=/nowhere"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != noPsql || !strings.Contains(string(out), "no psql, neither in /nowhere nor on the PATH") {
		t.Errorf("it says %q, %v", out, err)
	}
}
