package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// While it does not run only its files tell by which slot a standby will stream.
func TestGatherTellsTheSlotOfAStandbyThatDoesNotRun(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if v, err := postgres.ParseVersion(s.major); err != nil || !v.UsesSignalFiles() {
		t.Skip("the scan tells it of " + s.major)
	}
	main, err := os.ReadFile(filepath.Join(s.data, "postgresql.conf"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(files map[string]string) {
		for _, name := range []string{"postgresql.auto.conf", "postgresql.conf", "conf.d/slot.conf", "standby.signal"} {
			_ = os.Remove(filepath.Join(s.data, name))
		}
		write(t, s.user, s.data, files)
	}
	with := func(line string) string { return string(main) + line }
	for name, c := range map[string]struct {
		files        map[string]string
		want, unread string
		reads        int64 // of files, but for the first link
	}{
		"no standby":                   {files: map[string]string{"postgresql.conf": with(""), "postgresql.auto.conf": "primary_slot_name = 'a'\n"}},
		"in postgresql.auto.conf":      {files: map[string]string{"standby.signal": "", "postgresql.conf": with("primary_slot_name = 'b'\n"), "postgresql.auto.conf": "primary_slot_name = 'a'\n"}, want: "a", reads: 1},
		"taken away by ALTER SYSTEM":   {files: map[string]string{"standby.signal": "", "postgresql.conf": with("primary_slot_name = 'b'\n"), "postgresql.auto.conf": "primary_slot_name = ''\n"}, reads: 1},
		"in postgresql.conf":           {files: map[string]string{"standby.signal": "", "postgresql.conf": with("primary_slot_name = 'b'\n"), "postgresql.auto.conf": ""}, want: "b", reads: 2},
		"in a file of a directory":     {files: map[string]string{"standby.signal": "", "postgresql.conf": with("include_dir 'conf.d'\n"), "conf.d/slot.conf": "primary_slot_name = c\n"}, want: "c", reads: 4},
		"none":                         {files: map[string]string{"standby.signal": "", "postgresql.conf": with("")}, reads: 2},
		"a configuration that is gone": {files: map[string]string{"standby.signal": ""}, unread: "postgresql.conf: no such file", reads: 2},
		"an include that is gone":      {files: map[string]string{"standby.signal": "", "postgresql.conf": with("include 'x.conf'\n")}, unread: "x.conf", reads: 3},
	} {
		put(c.files)
		g, h := s.gatherer()
		d := gather(t, g).Data
		if d.PrimarySlotName != c.want || (c.unread == "") != (d.PrimarySlotUnread == "") || !strings.Contains(d.PrimarySlotUnread, c.unread) {
			t.Errorf("%s: %q, unread %q", name, d.PrimarySlotName, d.PrimarySlotUnread)
		}
		first := h.files.Load()
		gather(t, g)
		if n := h.files.Load() - first; n != c.reads {
			t.Errorf("%s: %d files were read, want %d", name, n, c.reads)
		}
	}
}

// One that runs says it itself, and no file is read for it.
func TestGatherReadsNoFileOfAStandbyThatRuns(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if v, err := postgres.ParseVersion(s.major); err != nil || !v.UsesSignalFiles() {
		t.Skip("recovery.conf is read with the scan")
	}
	s.set("primary_slot_name", "'a'")
	write(t, s.user, s.data, map[string]string{"standby.signal": ""})
	s.start()
	g, h := s.gatherer()
	f := gather(t, g)
	first := h.files.Load()
	if f = gather(t, g); !f.Server.Running || f.Server.Replay.ConfiguredSlot != "a" || f.Data.PrimarySlotName != "" {
		t.Errorf("%+v, %+v", f.Server.Replay, f.Data)
	}
	if n := h.files.Load() - first; n != 0 {
		t.Errorf("%d files were read", n)
	}
}
