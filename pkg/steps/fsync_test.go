package steps

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
