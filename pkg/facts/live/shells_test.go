package live

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheScriptsSayTheSameInEveryShell(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	write(t, s.user, s.sock, map[string]string{"empty/": "", "home/.pgrepctl/r1/journal.jsonl": "{}\n"})
	// What is of one process, or of one moment.
	passing := []string{"clock", "df", "sshd_args"}
	for name, c := range map[string]struct {
		script string
		args   []string
	}{
		"a running server":    {scanScript, []string{s.data, s.data, "5432", "1538", s.major, s.bin, "", s.sock + "/home", "libraries", ""}},
		"home of the user":    {scanScript, []string{s.data, s.data, "5432", "1538", s.major, "", "", "", "libraries", ""}},
		"a server to be made": {scanScript, []string{s.sock + "/a/b", s.data, "1", "0001", s.major, s.bin, s.sock, "", "libraries", ""}},
		"nothing yet":         {scanScript, []string{s.sock + "/a/b", s.data, "1", "0001", s.major, "", s.sock, "", "glance", ""}},
		"an empty directory":  {scanScript, []string{s.sock + "/empty", s.data, "1", "0001", s.major, "", s.sock, "", "glance", ""}},
		"the machine":         {machineScript, []string{s.user, s.data}},
		"room":                {spaceScript, []string{s.data, "/nonexistent/a"}},
	} {
		var want map[string][]string
		for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
			if _, err := exec.LookPath(shell[0]); err != nil {
				continue // as a machine has them; that for the tests has all
			}
			cmd := exec.Command(shell[0], append(append(shell[1:], "-s", "--", "nonce"), c.args...)...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C"}
			cmd.Stdin = strings.NewReader(c.script)
			var errs strings.Builder
			cmd.Stderr = &errs
			if c.script != machineScript { // which runs as the one who logs in
				asUser(cmd, s.user)
			}
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s, %v: %v\n%s", name, shell, err, errs.String())
			}
			got, err := parseRecord(out, "nonce")
			if err != nil {
				t.Fatalf("%s, %v: %v\n%s", name, shell, err, out)
			}
			if errs.Len() > 0 {
				t.Errorf("%s, %v: %s", name, shell, errs.String())
			}
			for _, p := range passing {
				delete(got.values, p)
			}
			if want == nil {
				want = got.values
			}
			if diff := cmp.Diff(want, got.values); diff != "" {
				t.Errorf("%s: %v against dash:\n%s", name, shell, diff)
			}
		}
	}
}
