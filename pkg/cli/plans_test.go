package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// listedPlans is what `plans list -o json` says, by name: the file, and the sentence.
func listedPlans(t *testing.T, args ...string) map[string][2]string {
	t.Helper()
	code, out, errs := call(t, append([]string{"plans", "list", "-o", "json"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var doc struct {
		Plans []struct{ Name, Doc, File string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	list := map[string][2]string{}
	last := ""
	for _, p := range doc.Plans {
		if p.Name <= last {
			t.Errorf("%s comes after %s", p.Name, last)
		}
		last = p.Name
		list[p.Name] = [2]string{p.File, p.Doc}
	}
	return list
}

// What `plans list` lists is what `plans show` and `run` find: a plan of
// --templates-dir too, and in the place of a built-in one.
func TestPlansOfTheTemplatesDirAreListed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	builtin := listedPlans(t)
	if got := listedPlans(t, "--templates-dir", dir); len(got) != len(builtin) || len(got) == 0 {
		t.Errorf("a directory without plans: %d listed, of %d", len(got), len(builtin))
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, "plans", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const steps = "\nsteps:\n- {at: primary, server: {state: running}}\n"
	// It is called by the name of its file, whatever name it gives itself.
	mine := write("start-primary.yaml", "name: start\ndoc: Starts the primary."+steps)
	instead := write("converge.yaml", "name: converge\ndoc: Does nothing of it."+steps)
	write("README.md", "no plan")
	write("nightly.v2.yaml", "which run takes for a file")
	if err := os.Symlink("nobody@nowhere", filepath.Join(dir, "plans", ".#converge.yaml")); err != nil { // an editor's lock
		t.Fatal(err)
	}
	write("old.yaml/plan.yaml", "no plan")

	got := listedPlans(t, "--templates-dir", dir)
	if len(got) != len(builtin)+1 {
		t.Errorf("%d plans, want one more than %d", len(got), len(builtin))
	}
	for name, was := range builtin {
		want := was
		if name == "converge" {
			want = [2]string{instead, "Does nothing of it."}
		}
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if want := [2]string{mine, "Starts the primary."}; got["start-primary"] != want {
		t.Errorf("start-primary: %q, want %q", got["start-primary"], want)
	}
	for name := range got {
		if code, _, errs := call(t, "--templates-dir", dir, "plans", "show", name); code != 0 {
			t.Errorf("%s is listed and not shown: %s", name, errs)
		}
	}
	_, table, _ := call(t, "--templates-dir", dir, "plans", "list")
	if n := strings.Count(table, "("+dir); n != 2 || !strings.Contains(table, "Starts the primary. ("+mine+")\n") {
		t.Errorf("%d plans are marked as the directory's, want 2:\n%s", n, table)
	}

	bad := write("bad.yaml", "steps: []\n")
	if code, _, errs := call(t, "--templates-dir", dir, "plans", "list"); code != 65 || !strings.Contains(errs, bad) {
		t.Errorf("a file that is no plan: exit code %d: %s", code, errs)
	}
}
