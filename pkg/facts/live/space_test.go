package live

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSpaceTellsFileSystemsApart(t *testing.T) {
	t.Parallel()
	u := serverUser(t)
	dir := scratch(t, u)
	write(t, u, dir, map[string]string{"it's here/": ""})
	if err := os.Symlink("/proc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, data: filepath.Join(dir, "data"), user: u, major: "15", port: freePort(t)}
	g, h := s.gatherer()
	dirs := []string{filepath.Join(dir, "it's here"), filepath.Join(dir, "not/yet\nthere"), filepath.Join(dir, "link")}
	got, err := g.Space(contextOf(t), u, dirs)
	if err != nil || len(got) != 3 {
		t.Fatalf("%v %v", got, err)
	}
	for i, want := range []bool{true, false, true} {
		if got[i].Exists != want || got[i].Path != dirs[i] || got[i].Device == "" {
			t.Errorf("%+v", got[i])
		}
	}
	if got[0].Device != got[1].Device || got[0].Device == got[2].Device {
		t.Errorf("devices: %+v", got)
	}
	if got[0].FreeBytes <= 0 || got[0].TotalBytes < got[0].FreeBytes || got[1].TotalBytes != got[0].TotalBytes || got[2].TotalBytes != 0 {
		t.Errorf("bytes: %+v", got)
	}
	if n := h.runs.Load(); n != 1 {
		t.Errorf("%d commands", n)
	}
}

func TestGatherTellsHowLargeATablespaceIs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	location := filepath.Join(filepath.Dir(s.data), "fast")
	write(t, s.user, filepath.Dir(s.data), map[string]string{"fast/": ""})
	g, _ := s.gatherer()
	g.exec(t, "create tablespace fast location '"+location+"'",
		"create table t tablespace fast as select generate_series(1, 10000) as n")
	f := gather(t, g)
	if n := len(f.Server.Tablespaces); n != 1 {
		t.Fatalf("%d tablespaces", n)
	}
	if ts := f.Server.Tablespaces[0]; ts.Location != location || ts.SizeBytes < 300<<10 || ts.SizeBytes >= f.Server.SizeBytes {
		t.Errorf("of %d bytes: %+v", f.Server.SizeBytes, ts)
	}
}
