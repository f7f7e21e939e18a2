package steps_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

func example(t *testing.T) *inventory.Cluster {
	t.Helper()
	inv, err := inventory.Load(filepath.Join("..", "..", "examples", "inventories", "minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestEveryKindHasADocAndAnExampleThatLoads(t *testing.T) {
	t.Parallel()
	inv, seen := example(t), map[string]bool{}
	for _, k := range steps.Kinds() {
		if seen[k.Name] {
			t.Errorf("%s is there twice", k.Name)
		}
		seen[k.Name] = true
		if !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: the doc is no sentence: %q", k.Name, k.Doc)
		}
		text := "name: example\nvars: {standby: {default: pg2}}\nsteps:\n- " + strings.ReplaceAll(k.Example, "\n", "\n  ") + "\n"
		p, err := plan.Load(k.Name+".yaml", []byte(text), inv, nil)
		if err != nil {
			t.Errorf("%s: %v", k.Name, err)
			continue
		}
		if len(p.Nodes) != 1 || p.Nodes[0].Kind != k.Name {
			t.Errorf("the example of %s is not one step of it", k.Name)
		}
		_, step := k.New().(steps.Step)
		_, bracket := k.New().(steps.Bracket)
		if step == bracket {
			t.Errorf("%s is a step: %v, a bracket: %v", k.Name, step, bracket)
		}
	}
}

func TestEveryGoldenFileIsOfAKind(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txtar")
		if !slices.ContainsFunc(steps.Kinds(), func(k steps.Kind) bool { return k.Name == name }) {
			t.Errorf("%s is of no kind", f)
		}
	}
}

// TestPlanningCannotReachAHost is what makes a dry run safe: nothing that plans
// imports anything that could act.
func TestPlanningCannotReachAHost(t *testing.T) {
	t.Parallel()
	module := "github.com/pgrepctl/pgrepctl/"
	var pkgs []string
	for _, p := range []string{"steps", "plan", "facts", "postgres/...", "inventory", "templates", "effect", "doctor"} {
		pkgs = append(pkgs, module+"pkg/"+p)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, pkgs...)...)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Fields(string(out))
	if !slices.Contains(list, module+"pkg/steps") {
		t.Fatalf("go list gave %d packages, and not these", len(list))
	}
	for _, p := range list {
		for _, acts := range []string{"net", "net/http", "os/exec", "golang.org/x/crypto/ssh", "github.com/pkg/sftp", "github.com/jackc/pgx", module + "pkg/remote", module + "pkg/engine", module + "pkg/facts/live"} {
			if p == acts || strings.HasPrefix(p, acts+"/v") {
				t.Errorf("planning imports %s", p)
			}
		}
	}
}

func TestStepReferenceIsUpToDate(t *testing.T) {
	t.Parallel()
	comments := fieldComments(t)
	var b strings.Builder
	b.WriteString("# Step kinds\n\nA plan file is an ordered, nested list of these; `pgrepctl plans show bootstrap-standby` shows the built-in one.\n" +
		"Each step may have `at:`, a host's name or `primary`, `standby`, `upstream` (default `primary`), and `each:`, `standbys`, `downwards` (each after its upstream), `upwards`, `all`, a host's name or, where the plan is about a standby, `others`, `downstreams` (of it) and `siblings` (the other standbys of the primary), delayed ones last.\n" +
		"With `each:` and `do:` alone, all of the list is done for one of them, then for the next.\n" +
		"A bracket has a body, `do:`. It is opened only if something in the body has to be done, and it is closed whatever happens.\n\n" +
		"This page is generated from the kinds themselves: `go test ./pkg/steps -update`.\n")
	for _, k := range steps.Kinds() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", k.Name, k.Doc)
		if _, ok := k.New().(steps.Bracket); ok {
			b.WriteString("\nA bracket.\n")
		}
		if rows := parameters(reflect.TypeOf(k.New()).Elem(), "", comments); len(rows) > 0 {
			b.WriteString("\n| parameter | type | meaning |\n|---|---|---|\n" + strings.Join(rows, ""))
		}
		fmt.Fprintf(&b, "\n```yaml\n- %s\n```\n", strings.ReplaceAll(k.Example, "\n", "\n  "))
	}
	file := filepath.Join("..", "..", "docs", "steps.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), b.String()); diff != "" {
		t.Errorf("run with -update (-file +now):\n%s", diff)
	}
}

// parameters are the rows of a kind's table, read off its yaml tags and comments.
func parameters(of reflect.Type, prefix string, comments map[string]string) []string {
	var out []string
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		if f.Type.Kind() == reflect.Struct {
			out = append(out, parameters(f.Type, prefix+name+".", comments)...)
			continue
		}
		out = append(out, fmt.Sprintf("| `%s` | %s | %s |\n", prefix+name, typeName(f.Type), meaning(of, f, comments)))
	}
	return out
}

// meaning is the comment of a field: without the name that it begins with, and with
// parameters where it speaks of fields. A field without one may be in that of another.
func meaning(of reflect.Type, f reflect.StructField, comments map[string]string) string {
	text := comments[of.Name()+"."+f.Name]
	for _, verb := range []string{": ", ", ", " is ", " are "} {
		text = strings.TrimPrefix(text, f.Name+verb)
	}
	see := ""
	for other := range of.Fields() {
		name, _, _ := strings.Cut(other.Tag.Get("yaml"), ",")
		text = regexp.MustCompile(`\b`+other.Name+`\b`).ReplaceAllString(text, "`"+name+"`")
		if regexp.MustCompile(`\b` + f.Name + `\b`).MatchString(comments[of.Name()+"."+other.Name]) {
			see = "see `" + name + "`"
		}
	}
	if text == "" {
		text = see
	}
	return strings.ReplaceAll(strings.TrimSuffix(text, "."), "|", `\|`)
}

// fieldComments are those of all structs of the package, as Type.Field.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, field := range f.Names {
						out[spec.Name.Name+"."+field.Name] = strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return out
}

func typeName(of reflect.Type) string {
	switch {
	case of == reflect.TypeFor[time.Duration]():
		return "duration: `90s`, `10m`, `24h`"
	case of.Kind() == reflect.Map:
		return "mapping of names to values, or to `{min: value}`"
	}
	return of.Kind().String()
}
