package live

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRsyncServerAsksTheRealRsync(t *testing.T) {
	t.Parallel()
	h := &local{}
	s := &server{t: t, data: "/nonexistent/data", user: serverUser(t), major: "15", port: 5432}
	g := New(h, s.inventory())
	flags := []string{"-rlpt", "--inplace", "--timeout=300", "--exclude=/a b"}
	for _, path := range []string{"/srv/data/", "/srv/my data/", "/srv/it's/", `/srv/a"b/`, `/srv/back\slash/`, "/srv/$(id)/", "/srv/a;b&c|d/", "/srv/~x#y/"} {
		got, err := g.RsyncServer(contextOf(t), flags, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if diff := cmp.Diff([]string{"rsync", "--server", "--sender"}, got[:3]); diff != "" {
			t.Error(diff)
		}
		if got[len(got)-1] != path || got[len(got)-2] != "." || !slices.Contains(got, "--inplace") || !slices.Contains(got, "--timeout=300") {
			t.Errorf("%s: %q", path, got)
		}
	}
	for name, c := range map[string]struct {
		flags []string
		path  string
	}{
		"glob":             {flags, "/srv/a*b/"},
		"secluded":         {append(flags, "-s"), "/srv/data/"},
		"option not known": {append(flags, "--no-such-option"), "/srv/data/"},
	} {
		if got, err := g.RsyncServer(contextOf(t), c.flags, c.path); err == nil {
			t.Errorf("%s: accepted: %q", name, got)
		}
	}
}

// What leaves no trace in the flags changes the command all the same, so a
// caller must ask with the flags that it will copy with.
func TestRsyncServerDependsOnAllFlags(t *testing.T) {
	t.Parallel()
	s := &server{t: t, data: "/nonexistent/data", user: serverUser(t), major: "15", port: 5432}
	g := New(&local{}, s.inventory())
	with, err := g.RsyncServer(contextOf(t), []string{"-r"}, "/d/")
	if err != nil {
		t.Fatal(err)
	}
	without, err := g.RsyncServer(contextOf(t), []string{"-r", "--no-inc-recursive"}, "/d/")
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(with, without) {
		t.Errorf("same command: %q", with)
	}
}

func TestParseRsyncServerRefusesWhatAShellWouldRun(t *testing.T) {
	t.Parallel()
	answer := func(words ...string) string {
		return "Warning: banner\nn\x00source\x00" + strings.Join(words, "\x00") + "\x00rsync: connection unexpectedly closed"
	}
	for name, stderr := range map[string]string{
		"no answer":     "rsync: not found",
		"cut off":       "n\x00source\x00rsync",
		"another host":  "n\x00elsewhere\x00rsync\x00--server\x00--sender\x00.\x00/d/\x00",
		"not a server":  answer("cat", "/etc/shadow", "--sender", "/d/"),
		"another path":  answer("rsync", "--server", "--sender", ".", "/etc/"),
		"command":       answer("rsync", "--server", "--sender", ".", "$(id)", "/d/"),
		"pipe":          answer("rsync", "--server", "--sender", ".|id", "/d/"),
		"line break":    answer("rsync", "--server", "--sender", "a\nid", "/d/"),
		"comment":       answer("rsync", "--server", "--sender", "#", "/d/"),
		"no quotes":     answer("rsync", "--server", "--sender", ".", "/my data/"),
		"nothing there": answer(),
	} {
		path := "/d/"
		if name == "no quotes" {
			path = "/my data/"
		}
		if got, err := parseRsyncServer([]byte(stderr), "n", path); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	got, err := parseRsyncServer([]byte(answer("rsync", "--server", "--sender", "-le.LsfxC", ".", `/my\ data/`)), "n", "/my data/")
	if diff := cmp.Diff([]string{"rsync", "--server", "--sender", "-le.LsfxC", ".", "/my data/"}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}
