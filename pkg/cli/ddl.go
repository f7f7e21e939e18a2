package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/settings"
)

func (a *app) ddlCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ddl", Short: "Change the schema without a read that waits"}
	cmd.AddCommand(a.ddlCheckCommand(), a.ddlPlanCommand(), a.ddlDeployCommand(), a.ddlStatusCommand(), a.ddlResumeCommand(), a.ddlAbortCommand())
	return cmd
}

// ddlCheck is one call of ddl check.
type ddlCheck struct {
	file, database, pg string
	probe              bool
}

func (a *app) ddlCheckCommand() *cobra.Command {
	var c ddlCheck
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say of each statement of a script what it does to readers, and what a reviewer would",
		Long: `Check a script of schema changes (- is stdin), statement by statement:

  none     no lock that reaches a standby, or only on what the script itself makes
  new      a lock on something that new reads do not open any more
  lock     AccessExclusiveLock for a moment: replay waits for old reads, new reads for it
  rewrite  the same while the table is written anew; also all that is not known
  refuse   what a rollout cannot do

Without --database no host is asked: --pg or the inventory, if there is one, says which
version of PostgreSQL to judge by, and without either the worst of 10 and later counts.

  --database   ask the primary: its version, whether the relations exist, how large they
               are and how long a rewrite may take, who holds locks on them now
  --probe      run the script on the primary in a scratch database, which has the schema of
               --database and no rows and is dropped afterwards whatever happens, and tell
               what each statement really locks and rewrites. Where the two differ, the
               probe counts. It asks before; --dry-run shows what it would do

Ends with 3 when a statement is refused, by this tool or by the server, or names what is
not there, and with 65 when the file is no script of schema changes.`,
		Example: `  pgrepctl ddl check add-column.sql --pg 15
  pgrepctl ddl check add-column.sql --database shop
  pgrepctl ddl check add-column.sql --database shop --probe --yes -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.file = args[0]
			switch {
			case c.probe && c.database == "":
				return usage(cmd, errors.New("--probe wants --database, whose schema it copies"))
			case c.pg != "" && c.database != "":
				return usage(cmd, errors.New("--pg and --database: the server says its version itself"))
			case a.dryRun && !c.probe:
				return usage(cmd, errors.New("--dry-run is for --probe: a check without it changes nothing"))
			}
			return a.checkDDL(cmd, c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.database, "database", "", "the `DB` that the script is for: ask the primary about it")
	f.BoolVar(&c.probe, "probe", false, "run the script in a scratch copy of the schema")
	f.StringVar(&c.pg, "pg", "", "the `VERSION` of PostgreSQL to judge by, such as 15")
	a.actFlags(cmd)
	return cmd
}

// script reads the file.
func (a *app) script(name string) ([]byte, error) {
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(a.In)
	} else {
		text, err = os.ReadFile(name) //nolint:gosec // the user names it
	}
	if err != nil {
		return nil, &fault.Error{Class: fault.Invalid, Op: "read the script", Err: err}
	}
	return text, nil
}

// judgedBy is the version that --pg gives, or the inventory if there is one; else 0.
func (a *app) judgedBy(cmd *cobra.Command, pg string) (postgres.Version, error) {
	if pg == "" {
		file := a.expand(a.set.Inventory())
		if _, err := os.Stat(file); err != nil && a.set.Origin("inventory").Source == settings.FromDefault {
			return 0, nil
		}
		inv, err := inventory.Load(file)
		if err != nil {
			return 0, err
		}
		if pg = inv.Primary().Postgres.Version; pg == "" {
			return 0, nil
		}
	}
	v, err := postgres.ParseVersion(pg)
	if err == nil && v < postgres.Oldest {
		err = fmt.Errorf("version %s: the oldest known one is %s", pg, postgres.Oldest.Major())
	}
	if err != nil {
		return 0, usage(cmd, err)
	}
	return v, nil
}
