package plan_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/templates"
)

var update = flag.Bool("update", false, "rewrite golden files")

func load(t *testing.T, file string) *inventory.Cluster {
	t.Helper()
	inv, err := inventory.Load(filepath.Join("..", "..", "examples", "inventories", file))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// TestGolden runs testdata/load.txtar: NAME/plan.yaml against the full example,
// with the variables in NAME/vars.yaml if any, and NAME/want, which is the tree or
// the error.
func TestGolden(t *testing.T) {
	t.Parallel()
	file := filepath.Join("testdata", "load.txtar")
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inv := load(t, "full.yaml")
	have := map[string]string{}
	for _, f := range archive.Files {
		have[f.Name] = string(f.Data)
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for _, f := range archive.Files {
		name, ok := strings.CutSuffix(f.Name, "/plan.yaml")
		if !ok {
			continue
		}
		out.Files = append(out.Files, f)
		var vars map[string]string
		if text, ok := have[name+"/vars.yaml"]; ok {
			if err := yaml.Load([]byte(text), &vars); err != nil {
				t.Fatal(err)
			}
			out.Files = append(out.Files, txtar.File{Name: name + "/vars.yaml", Data: []byte(text)})
		}
		p, err := plan.Load("plan.yaml", f.Data, inv, vars)
		got := ""
		if err != nil {
			if c := fault.ClassOf(err); c != fault.Invalid {
				t.Errorf("%s: class %d", name, c)
			}
			got = err.Error() + "\n"
		} else {
			got = tree(p.Nodes, "")
		}
		if diff := cmp.Diff(have[name+"/want"], got); diff != "" && !*update {
			t.Errorf("%s differs; run with -update and read the change (-file +now):\n%s", name, diff)
		}
		out.Files = append(out.Files, txtar.File{Name: name + "/want", Data: []byte(got)})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func tree(nodes []plan.Node, indent string) string {
	var b strings.Builder
	for _, n := range nodes {
		params := any(n.Step)
		if n.Bracket != nil {
			params = n.Bracket
		}
		fmt.Fprintf(&b, "%s%s %s %+v\n", indent, n.ID, n.Kind, params)
		b.WriteString(tree(n.Body, indent+"  "))
	}
	return b.String()
}

// plans are the built-in plans and those of the examples.
func plans(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, dir := range []fs.FS{templates.Plans, os.DirFS(filepath.Join("..", "..", "examples"))} {
		names, err := fs.Glob(dir, "plans/*.yaml")
		if err != nil || len(names) == 0 {
			t.Fatalf("no plans: %v", err)
		}
		for _, n := range names {
			if out[n], err = fs.ReadFile(dir, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func TestBuiltInAndExamplePlansLoadForEveryStandby(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"minimal.yaml", "full.yaml"} {
		inv := load(t, file)
		for name, text := range plans(t) {
			head, err := plan.Describe(name, text)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(filepath.Base(name), ".yaml"); head.Name != want || head.Doc == "" {
				t.Errorf("%s is named %q, doc %q", name, head.Name, head.Doc)
			}
			for _, h := range inv.Standbys() {
				p, err := plan.Load(name, text, inv, about(t, name, text, h.Name))
				if err != nil {
					t.Errorf("%s, %s, %s: %v", file, name, h.Name, err)
					continue
				}
				if p.Vars["standby"] != "" && p.Standby != h || len(p.Nodes) == 0 {
					t.Errorf("%s, %s: %d nodes for %v", name, h.Name, len(p.Nodes), p.Standby)
				}
			}
		}
	}
}

// about gives the variable standby to a plan that has it, and to others that must
// be given what every plan understands.
func about(t *testing.T, name string, text []byte, standby string) map[string]string {
	t.Helper()
	head, err := plan.Describe(name, text)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, v := range head.Vars {
		switch {
		case v.Name == "standby":
			out["standby"] = standby
		case v.Required:
			out[v.Name] = map[string]string{"slot": "a", "size": "10GB", "target": "lsn 0/3000090", "database": "shop", "script": "ANALYZE", "statements": `["alter table items add column note text"]`}[v.Name]
		}
	}
	return out
}

func TestIDsAreUniqueAndStable(t *testing.T) {
	t.Parallel()
	inv := load(t, "full.yaml")
	for name, text := range plans(t) {
		seen := map[string]bool{}
		var walk func([]plan.Node)
		walk = func(nodes []plan.Node) {
			for _, n := range nodes {
				if seen[n.ID] {
					t.Errorf("%s: two nodes are %s", name, n.ID)
				}
				seen[n.ID] = true
				walk(n.Body)
			}
		}
		first, err := plan.Load(name, text, inv, about(t, name, text, "pg3"))
		if err != nil {
			t.Fatal(err)
		}
		walk(first.Nodes)
		again, err := plan.Load(name, text, inv, about(t, name, text, "pg3"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tree(first.Nodes, ""), tree(again.Nodes, "")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCascadedStandbyHasItsOwnUpstream(t *testing.T) {
	t.Parallel()
	inv := load(t, "full.yaml")
	p, err := plan.Load("x", []byte("name: x\nvars: {standby: {required: true}}\nsteps:\n- {at: upstream, slot: {name: \"{{slot .standby}}\"}}\n"), inv, map[string]string{"standby": "pg3"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Nodes[0].Host.Name; got != "pg2" {
		t.Errorf("upstream of pg3 is %s", got)
	}
	if got := p.Nodes[0].Step.(*steps.Slot).Name; got != "pg3" {
		t.Errorf("slot %s", got)
	}
}

func TestAHostThatIsLeftOutHasNoStep(t *testing.T) {
	t.Parallel()
	inv := load(t, "full.yaml")
	text := []byte("name: x\nvars: {without: {}}\nsteps:\n- {each: all, member: {}}\n- {each: upwards, do: [{at: standby, wait: {streaming: true}}]}\n- {each: downwards, wait: {streaming: true}}\n- {each: standbys, member: {}}\n")
	p, err := plan.Load("x", text, inv, map[string]string{"without": "pg2,pg3"})
	if err != nil {
		t.Fatal(err)
	}
	if got := tree(p.Nodes, ""); strings.Contains(got, "pg2") || strings.Contains(got, "pg3") || !strings.Contains(got, "pg4") || !strings.Contains(got, "pg1") {
		t.Errorf("without pg2 and pg3:\n%s", got)
	}
	if !slices.Equal(p.Without, []string{"pg2", "pg3"}) {
		t.Errorf("left out: %v", p.Without)
	}
	if _, err := plan.Load("x", text, inv, map[string]string{"without": "pg1"}); err == nil {
		t.Error("the primary can be left out")
	}
}
