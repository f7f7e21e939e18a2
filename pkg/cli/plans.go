package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
	"github.com/pgrepctl/pgrepctl/templates"
)

// builtin returns a built-in plan's file, or the one that replaces it in
// --templates-dir.
func (a *app) builtin(name string) ([]byte, error) {
	b, _, err := a.lookup(name)
	return b, err
}

// lookup is builtin, and where in --templates-dir the file is: empty for one that is built in.
func (a *app) lookup(name string) (text []byte, file string, err error) {
	if dir := a.set.TemplatesDir(); dir != "" {
		file = filepath.Join(dir, "plans", filepath.Base(name)+".yaml")
		b, err := os.ReadFile(file)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return b, file, err
		}
	}
	b, err := templates.Plans.ReadFile("plans/" + name + ".yaml")
	if err != nil {
		return nil, "", &fault.Error{Class: fault.Usage, Err: fmt.Errorf("no built-in plan %q", name), Hint: "pgrepctl plans list"}
	}
	return b, "", nil
}

// planNames are the names that lookup finds, sorted.
func (a *app) planNames() ([]string, error) {
	entries, err := templates.Plans.ReadDir("plans")
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", err)
	}
	if dir := a.set.TemplatesDir(); dir != "" {
		own, err := os.ReadDir(filepath.Join(dir, "plans"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list plans: %w", err)
		}
		entries = append(entries, own...)
	}
	var names []string
	for _, e := range entries {
		// A name with a dot is a file's, to those who call a plan.
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok && !e.IsDir() && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// builtinPlan loads a built-in plan.
func (a *app) builtinPlan(inv *inventory.Cluster, name string, vars map[string]string) (*plan.Plan, error) {
	text, err := a.builtin(name)
	if err != nil {
		return nil, err
	}
	return plan.Load(name+".yaml", text, inv, vars)
}

func (a *app) plansCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "plans", Short: "The built-in plans, and the step kinds they are made of"}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List the built-in plans, and those of --templates-dir", Example: "  pgrepctl plans list", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return a.listPlans() }},
		&cobra.Command{Use: "show NAME", Short: "Print a built-in plan", Example: "  pgrepctl plans show bootstrap-standby", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			b, err := a.builtin(args[0])
			if err != nil {
				return err
			}
			return a.document(b)
		}},
		&cobra.Command{Use: "export NAME FILE", Short: "Write a built-in plan to a file of your own, to edit", Example: "  pgrepctl plans export bootstrap-standby my-standby.yaml\n  pgrepctl run my-standby.yaml --set standby=pg2 --dry-run", Args: cobra.ExactArgs(2), RunE: func(_ *cobra.Command, args []string) error {
			b, err := a.builtin(args[0])
			if err != nil {
				return err
			}
			f, err := os.OpenFile(args[1], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return &fault.Error{Class: fault.Refused, Op: "export the plan", Err: err, Hint: "name another file: pgrepctl plans export " + args[0] + " FILE"}
			}
			if _, err := f.Write(b); err != nil {
				return fmt.Errorf("export the plan: %w", err)
			}
			return f.Close()
		}},
		&cobra.Command{Use: "kinds", Short: "List the step kinds", Example: "  pgrepctl plans kinds", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			list := stepKinds{Format: "pgrepctl.step-kinds/v1"}
			var rows [][]ui.Cell
			for _, k := range steps.Kinds() {
				list.Kinds = append(list.Kinds, stepKind{k.Name, k.Doc, k.Example})
				rows = append(rows, ui.Row(k.Name, k.Doc))
			}
			if a.set.Output() != "table" {
				return a.encode(list)
			}
			return ui.Table(a.Out, []string{"KIND", "DOES"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
		}},
	)
	return cmd
}

type stepKinds struct {
	Format string     `json:"format"`
	Kinds  []stepKind `json:"kinds"`
}

type stepKind struct {
	Name    string `json:"name"`
	Doc     string `json:"doc"`
	Example string `json:"example"` // of a plan file
}

type planList struct {
	Format string       `json:"format"`
	Plans  []listedPlan `json:"plans"`
}

type listedPlan struct {
	plan.Header
	File string `json:"file,omitempty"` // of --templates-dir
}

func (a *app) listPlans() error {
	names, err := a.planNames()
	if err != nil {
		return err
	}
	list := planList{Format: "pgrepctl.plans/v1"}
	var rows [][]ui.Cell
	for _, name := range names {
		b, file, err := a.lookup(name)
		if err != nil {
			return fmt.Errorf("read plan: %w", err)
		}
		h, err := plan.Describe(cmp.Or(file, name+".yaml"), b)
		if err != nil {
			return err
		}
		h.Name = name // by which it is called
		list.Plans = append(list.Plans, listedPlan{h, file})
		if file != "" {
			h.Doc = strings.TrimSpace(h.Doc + " (" + file + ")")
		}
		rows = append(rows, ui.Row(name, h.Doc))
	}
	if a.set.Output() != "table" {
		return a.encode(list)
	}
	return ui.Table(a.Out, []string{"PLAN", "DOES"}, rows, ui.TableOptions{Color: a.colorOn(a.Out)})
}

func (a *app) runCommand() *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use:   "run PLAN",
		Short: "Run a plan: a file of your own, or a built-in one by name",
		Example: `  pgrepctl run my-standby.yaml --set standby=pg3 --dry-run
  pgrepctl run bootstrap-standby --set standby=pg3`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			vars := map[string]string{}
			for _, s := range set {
				k, v, ok := strings.Cut(s, "=")
				if !ok {
					return usage(cmd, fmt.Errorf("--set %q: want name=value", s))
				}
				vars[k] = v
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				if strings.ContainsAny(args[0], "/.") {
					return &fault.Error{Class: fault.Invalid, Op: "read plan", Err: err}
				}
				if text, err = a.builtin(args[0]); err != nil {
					return err
				}
			}
			s, err := a.open()
			if err != nil {
				return err
			}
			defer s.close(cmd.Context())
			p, err := plan.Load(args[0], text, s.inv, vars)
			if err != nil {
				return err
			}
			return a.act(cmd.Context(), s, p)
		},
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "a variable of the plan: name=value (repeatable)")
	a.actFlags(cmd)
	return cmd
}
