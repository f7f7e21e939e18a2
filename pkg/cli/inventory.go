package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/settings"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) inventoryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "inventory", Short: "Look at the inventory file; no host is touched"}
	load := func() (*inventory.Cluster, error) { return inventory.Load(a.expand(a.set.Inventory())) }
	cmd.AddCommand(
		&cobra.Command{Use: "init [FILE]", Short: "Write an example inventory (default: the file that -i names)", Example: "  pgrepctl inventory init shop.yaml", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			name := a.expand(a.set.Inventory())
			if len(args) == 1 {
				name = args[0]
			}
			f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return &fault.Error{Class: fault.Refused, Op: "write an example inventory", Err: err, Hint: "name another file: pgrepctl inventory init FILE"}
			}
			_, err = f.Write(inventory.Example())
			if err = errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(name)))
			}
			_, err = fmt.Fprintf(a.Err, "wrote %s; edit it, then: pgrepctl -i %s inventory validate\n", name, name)
			return err
		}},
		&cobra.Command{Use: "validate", Short: "Check the file; all mistakes at once, with line and column", Example: "  pgrepctl -i shop.yaml inventory validate", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			c, err := load()
			if err != nil {
				return err
			}
			if a.set.Output() != "table" {
				return a.encode(validInventory{"pgrepctl.inventory/v1", c.File, c.Name, len(c.Hosts)})
			}
			_, err = fmt.Fprintf(a.Out, "%s: cluster %s, %d hosts, no mistakes\n", c.File, c.Name, len(c.Hosts))
			return err
		}},
		&cobra.Command{Use: "show", Short: "Print what the file means for each host, defaults filled in", Example: "  pgrepctl -i shop.yaml inventory show\n  pgrepctl -i shop.yaml inventory show -o json", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			c, err := load()
			if err != nil {
				return err
			}
			text, err := c.YAML()
			if err != nil {
				return err
			}
			return a.document(text)
		}},
		&cobra.Command{Use: "graph", Short: "Print who streams from whom", Example: "  pgrepctl -i shop.yaml inventory graph", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			c, err := load()
			if err != nil {
				return err
			}
			if a.set.Output() != "table" {
				return a.encode(graphOf(c))
			}
			_, err = fmt.Fprint(a.Out, c.Graph())
			return err
		}},
		&cobra.Command{Use: "schema", Short: "Print the JSON schema, for editors", Example: "  pgrepctl inventory schema > shop.schema.json", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, err := a.Out.Write(inventory.Schema())
			return err
		}},
	)
	return cmd
}

// document prints a YAML document as it is, or as JSON.
func (a *app) document(text []byte) error {
	if a.set.Output() != "json" {
		_, err := a.Out.Write(text)
		return err
	}
	var v any
	if err := yaml.Load(text, &v); err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	return ui.JSON(a.Out, v)
}

// validInventory is what is known of a file without mistakes.
type validInventory struct {
	Format  string `json:"format"`
	File    string `json:"file"`
	Cluster string `json:"cluster"`
	Hosts   int    `json:"hosts"`
}

// inventoryGraph says who streams from whom.
type inventoryGraph struct {
	Format  string      `json:"format"`
	Cluster string      `json:"cluster"`
	Hosts   []graphHost `json:"hosts"`
}

type graphHost struct {
	Name     string `json:"name"`
	Upstream string `json:"upstream"` // empty for the primary
}

func graphOf(c *inventory.Cluster) inventoryGraph {
	g := inventoryGraph{Format: "pgrepctl.inventory-graph/v1", Cluster: c.Name}
	for _, h := range c.Hosts {
		g.Hosts = append(g.Hosts, graphHost{h.Name, h.UpstreamName})
	}
	return g
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "The tool's own settings"}
	cmd.AddCommand(&cobra.Command{Use: "show", Short: "Print each setting and where its value comes from",
		Long: `Print each setting, its value, and which of flag, environment, file and default it comes
from. As JSON or YAML it is a list of the settings, without the format that other results
have.`,
		Example: "  pgrepctl config show", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			if a.set.Output() != "table" {
				return a.encode(a.set.All())
			}
			return ui.Table(a.Out, []string{"SETTING", "VALUE", "FROM"}, settingRows(a.set.All()), ui.TableOptions{Color: a.colorOn(a.Out)})
		}})
	return cmd
}

func settingRows(all []settings.Setting) [][]ui.Cell {
	var rows [][]ui.Cell
	for _, s := range all {
		rows = append(rows, ui.Row(s.Key, s.Value, s.Origin.String()))
	}
	return rows
}
