package effect

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

func TestTheFlushAnswersEachSyncAndEndsWithOneThatFails(t *testing.T) {
	t.Parallel()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip(err)
	}
	for name, c := range map[string]struct {
		help, sync string
		code       int
		answers    int
		marks      bool
	}{
		"all can be written":     {"--file-system", "exit 0", 0, 3, false},
		"the second fails":       {"--file-system", `echo >>"$0.n"; [ "$(wc -l <"$0.n")" -ne 2 ]`, 1, 1, true},
		"it is killed":           {"--file-system", "kill -s KILL $$", 137, 0, true},
		"a sync that has no -f":  {"Usage: sync", "exit 1", 0, 0, false},
		"a sync that says where": {"--file-system", `[ "$*" = "-f /ts/fast" ]`, 0, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, data := t.TempDir(), t.TempDir()
			hosttest.Program(t, filepath.Join(dir, "sync"), "#!/bin/sh\n[ $1 = --help ] && echo '"+c.help+"' && exit\n"+c.sync+"\n")
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.TrimPrefix(flushScript, Lowly), "pgrepctl-flush", "/ts/fast", data)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			cmd.Stdin = strings.NewReader("\n\n\n")
			out, err := cmd.Output()
			if cmd.ProcessState.ExitCode() != c.code || string(out) != strings.Repeat("\n", c.answers) {
				t.Errorf("%v, answers %q", err, out)
			}
			got, err := os.ReadFile(filepath.Join(data, UnsyncedMark))
			if (err == nil) != c.marks || c.marks && string(got) != string(boot) {
				t.Errorf("the mark: %q, %v", got, err)
			}
		})
	}
}
