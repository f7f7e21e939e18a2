package live

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

func TestAccessIsThatOfTheServersUser(t *testing.T) {
	t.Parallel()
	u := serverUser(t)
	dir := scratch(t, u)
	write(t, u, dir, map[string]string{"it's $(here)/": "", "file": "x"})
	ours := filepath.Join(dir, "root's")
	if err := os.Mkdir(ours, 0o755); err != nil {
		t.Fatal(err)
	}
	hidden := filepath.Join(dir, "hidden")
	if err := os.Mkdir(hidden, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "root's file")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, data: filepath.Join(dir, "data"), user: u, major: "15", port: freePort(t)}
	g, h := s.gatherer()
	dirs := []string{filepath.Join(dir, "it's $(here)"), ours, hidden, filepath.Join(dir, "new\none"), filepath.Join(dir, "no/parent"), filepath.Join(ours, "new"), filepath.Join(dir, "file"), secret}
	got, err := g.Access(contextOf(t), u, dirs)
	if err != nil {
		t.Fatal(err)
	}
	want := []facts.Access{
		{Exists: true, Read: true, Write: true, Owner: u},
		{Exists: true, Read: true, Owner: "root"},
		{Exists: true, Owner: "root"},
		{Make: true},
		{},
		{},
		{File: true, Read: true, Owner: u, Mode: 0o644},
		{File: true, Owner: "root", Mode: 0o600},
	}
	for i := range want {
		want[i].Path = dirs[i]
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := h.runs.Load(); n != 1 {
		t.Errorf("%d commands", n)
	}
}
