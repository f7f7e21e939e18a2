package cli

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/templates"
)

func TestExampleInventoriesLoad(t *testing.T) {
	t.Parallel()
	for _, file := range files(t, "../../examples/inventories/*.yaml") {
		if _, err := inventory.Load(file); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A plan is bound to every standby of every example inventory: what is wrong
// with one of them shows without a host.
func TestExamplePlansBindToEveryExampleInventory(t *testing.T) {
	t.Parallel()
	plans := map[string][]byte{}
	for _, file := range files(t, "../../examples/plans/*.yaml") {
		plans[file] = read(t, file)
	}
	builtin, err := fs.Glob(templates.Plans, "plans/*.yaml")
	if err != nil || len(builtin) == 0 {
		t.Fatalf("built-in plans: %v, %v", builtin, err)
	}
	for _, name := range builtin {
		if plans[name], err = templates.Plans.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files(t, "../../examples/inventories/*.yaml") {
		c, err := inventory.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range plans {
			for _, vars := range variables(t, name, text, c) {
				p, err := plan.Load(name, text, c, vars)
				if err != nil {
					t.Errorf("%s on %s with %v: %v", name, file, vars, err)
					continue
				}
				if len(p.Nodes) == 0 || p.Doc == "" {
					t.Errorf("%s: %d nodes, doc %q", name, len(p.Nodes), p.Doc)
				}
			}
		}
	}
}

// variables is one set of values for each standby, if the plan asks for one.
func variables(t *testing.T, name string, text []byte, c *inventory.Cluster) []map[string]string {
	t.Helper()
	h, err := plan.Describe(name, text)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, sb := range c.Standbys() {
		vars := map[string]string{}
		for _, v := range h.Vars {
			switch {
			case v.Name == "standby":
				vars[v.Name] = sb.Name
			case v.Name == "target":
				vars[v.Name] = "lsn 0/3000090"
			case v.Name == "slot":
				vars[v.Name] = sb.Slot
			case v.Name == "database":
				vars[v.Name] = "shop"
			case v.Name == "script":
				vars[v.Name] = "ANALYZE"
			case v.Name == "statements":
				vars[v.Name] = `["ANALYZE"]`
			case v.Name == "size":
				vars[v.Name] = "10GB"
			case v.Required:
				t.Errorf("%s: the test knows no value for the variable %s", name, v.Name)
			}
		}
		out = append(out, vars)
	}
	return out
}

// Every step kind shows itself in a plan of the examples or a built-in one, or
// in its own Example, and each of those loads.
func TestEveryStepKindsExampleLoads(t *testing.T) {
	t.Parallel()
	c, err := inventory.Load("../../examples/inventories/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range steps.Kinds() {
		item := strings.ReplaceAll(k.Example, "\n", "\n  ")
		text := "name: example\nvars: {standby: {required: true}}\nsteps:\n- " + item + "\n"
		p, err := plan.Load(k.Name, []byte(text), c, map[string]string{"standby": "pg2"})
		if err != nil {
			t.Errorf("%s: %v\n%s", k.Name, err, text)
			continue
		}
		if len(p.Nodes) != 1 || p.Nodes[0].Kind != k.Name {
			t.Errorf("%s: its example is of kind %s", k.Name, p.Nodes[0].Kind)
		}
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: Doc is no sentence: %q", k.Name, k.Doc)
		}
	}
}

var fence = regexp.MustCompile("(?ms)^```(yaml|console)\n(.*?)^```$")

// What the README and the docs show is what the tool takes: inventories and
// plans load, commands and flags exist.
func TestSnippetsOfTheDocsAreTrue(t *testing.T) {
	t.Parallel()
	c, err := inventory.Load("../../examples/inventories/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := append(files(t, "../../docs/*.md"), "../../README.md", "../../CONTRIBUTING.md")
	var inventories, plans, lines int
	for _, file := range all {
		for _, m := range fence.FindAllStringSubmatch(string(read(t, file)), -1) {
			switch text := m[2]; {
			case m[1] == "console":
				lines += consoleCommands(t, file, text)
			case hasKey(t, file, text, "hosts"):
				inventories++
				name := filepath.Join(t.TempDir(), "inventory.yaml")
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := inventory.Load(name); err != nil {
					t.Errorf("%s: %v\n%s", file, err, text)
				}
			case hasKey(t, file, text, "steps"):
				plans++
				for _, vars := range variables(t, file, []byte(text), c) {
					if _, err := plan.Load(file, []byte(text), c, vars); err != nil {
						t.Errorf("%s: %v\n%s", file, err, text)
					}
				}
			}
		}
	}
	if inventories == 0 || plans == 0 || lines == 0 {
		t.Errorf("found %d inventories, %d plans and %d command lines: the test looks at nothing", inventories, plans, lines)
	}
}

func hasKey(t *testing.T, file, text, key string) bool {
	t.Helper()
	var m map[string]any
	if err := yaml.Load([]byte(text), &m); err != nil {
		var list []any
		if yaml.Load([]byte(text), &list) != nil {
			t.Errorf("%s: a yaml snippet that is none: %v\n%s", file, err, text)
		}
		return false
	}
	_, ok := m[key]
	return ok
}

// consoleCommands checks every line that begins with "$ pgrepctl".
func consoleCommands(t *testing.T, file, text string) int {
	t.Helper()
	n := 0
	for _, line := range strings.Split(text, "\n") {
		rest, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		words, ok := exampleWords(rest)
		if !ok {
			continue
		}
		n++
		root := everyCommand()[0]
		found, args, err := root.Find(words)
		if err != nil || found == root {
			t.Errorf("%s: %q: no such command (%v)", file, line, err)
			continue
		}
		if found.HasSubCommands() && !strings.Contains(found.Use, " ") { // check takes hosts as well
			t.Errorf("%s: %q: %s has no command %v", file, line, found.CommandPath(), args)
		}
		if err := found.ParseFlags(args); err != nil {
			t.Errorf("%s: %q: %v", file, line, err)
		}
	}
	return n
}

var link = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)

func TestLinksOfTheDocsLeadToFiles(t *testing.T) {
	t.Parallel()
	for _, file := range append(files(t, "../../docs/*.md"), "../../README.md", "../../CONTRIBUTING.md") {
		for _, m := range link.FindAllStringSubmatch(string(read(t, file)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", file, m[1], err)
			}
		}
	}
}

var exitRow = regexp.MustCompile("(?m)^\\| `([0-9]+)` \\|")

// docs/exit-codes.md is the contract: it has every class, and no other code.
func TestExitCodesOfTheDocsAreTheFaultClasses(t *testing.T) {
	t.Parallel()
	documented := []int{}
	for _, m := range exitRow.FindAllStringSubmatch(string(read(t, "../../docs/exit-codes.md")), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		documented = append(documented, n)
	}
	want := append([]int{0}, classes(t)...)
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("docs/exit-codes.md (-pkg/fault +docs):\n%s", diff)
	}
}

// classes reads the constants of type Class off the source of pkg/fault.
func classes(t *testing.T) []int {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../fault/fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Class" {
			return true
		}
		for _, x := range v.Values {
			lit, ok := x.(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is not a plain number", v.Names[0].Name)
			}
			n, _ := constant.Int64Val(constant.MakeFromLiteral(lit.Value, lit.Kind, 0))
			out = append(out, int(n))
		}
		return true
	})
	slices.Sort(out)
	if len(out) < 10 {
		t.Fatalf("found only %v", out)
	}
	return out
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) == 0 {
		t.Fatalf("no file is %s (%v)", pattern, err)
	}
	return list
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
