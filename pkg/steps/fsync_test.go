package steps

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

func TestACopyIsSyncedByFileSystemWhereThatTellsOfErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		uname, sync string // what they do
		want        string
		fails       bool
	}{
		"Linux 6.1":           {uname: "echo Linux 6.1.0-18-amd64", want: "sync -f /data /ts/fast\n"},
		"Linux 5.10":          {uname: "echo Linux 5.10.0", want: "sync -f /data /ts/fast\n"},
		"Linux 5.8":           {uname: "echo Linux 5.8-rc1", want: "sync -f /data /ts/fast\n"},
		"Linux 5.7":           {uname: "echo Linux 5.7.19", want: "initdb --sync-only -D /data\n"},
		"Linux 4.18":          {uname: "echo Linux 4.18.0-553.el8.x86_64", want: "initdb --sync-only -D /data\n"},
		"another kernel":      {uname: "echo FreeBSD 14.0", want: "initdb --sync-only -D /data\n"},
		"a sync without -f":   {uname: "echo Linux 6.1.0", sync: "echo 'Usage: sync'", want: "initdb --sync-only -D /data\n"},
		"what was not synced": {uname: "echo Linux 6.1.0", sync: `case $1 in --help) echo --file-system ;; *) exit 1 ;; esac`, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.sync == "" {
				c.sync = `case $1 in --help) echo "-f, --file-system" ;; *) echo "sync $*" ;; esac`
			}
			for tool, does := range map[string]string{"uname": c.uname, "sync": c.sync, "initdb": `echo "initdb $*"`} {
				if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\n"+does+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", syncScript, "sh", filepath.Join(dir, "initdb"), "/data", "/ts/fast")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.Output()
			if string(out) != c.want || (err != nil) != c.fails {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

// It may be that nobody is there any more to be told: see pkg/effect/copysynced.go.
func TestASyncThatFailsLeavesAMarkWithTheBoot(t *testing.T) {
	t.Parallel()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip(err)
	}
	for name, c := range map[string]struct {
		kernel, sync, initdb string
		code                 int
		marks                bool
	}{
		"sync fails":           {"6.1.0", "exit 1", "exit 0", 1, true},
		"sync is killed":       {"6.1.0", "kill -s KILL $$", "exit 0", 137, true},
		"initdb fails":         {"5.7.1", "exit 0", "exit 1", 1, true},
		"there is no initdb":   {"5.7.1", "exit 0", "", 127, false},
		"all could be written": {"6.1.0", "exit 0", "exit 1", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, data := t.TempDir(), t.TempDir()
			for tool, does := range map[string]string{"uname": "echo Linux " + c.kernel, "sync": "[ $1 = --help ] && echo --file-system && exit\n" + c.sync, "initdb": c.initdb} {
				if does != "" {
					hosttest.Program(t, filepath.Join(dir, tool), "#!/bin/sh\n"+does+"\n")
				}
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", syncScript, "sh", filepath.Join(dir, "initdb"), data, "/ts/fast")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			if err := cmd.Run(); cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("got %v", err)
			}
			got, err := os.ReadFile(filepath.Join(data, effect.UnsyncedMark))
			if (err == nil) != c.marks || c.marks && string(got) != string(boot) {
				t.Errorf("the mark: %q, %v", got, err)
			}
		})
	}
}
