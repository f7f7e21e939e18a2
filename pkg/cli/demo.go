package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

const demoLab = "demo"

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on this machine: a primary under load, two standbys made and proven",
		Long: `Make a lab of three real hosts on this machine, fill a primary and keep pgbench
writing on it, bootstrap two standbys with the commands that you would type, show the
status, and compare the rows of all three. The lab stays for you to play with.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{app: a}
			return d.run(cmd.Context())
		},
	}
}

type demo struct {
	*app
	lab *lab.Lab
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Out, "\n== "+format+"\n", args...) }

func (d *demo) run(ctx context.Context) error {
	if err := takeDown(ctx, "", demoLab, d.set.StateDir()); err != nil {
		return err
	}
	d.say("three hosts, a primary on the first")
	l, err := lab.Up(ctx, lab.Options{Name: demoLab, Hosts: 3, Cluster: true, Notify: func(s string) { fmt.Fprintln(d.Err, s) }})
	if err != nil {
		return err
	}
	d.lab = l
	d.say("pgbench fills it, and goes on writing")
	if err := d.load(ctx); err != nil {
		return err
	}
	for _, h := range []string{"h2", "h3"} {
		if err := d.pgrepctl(ctx, "standby", "bootstrap", h, "--yes"); err != nil {
			return err
		}
	}
	if err := d.pgrepctl(ctx, "status"); err != nil {
		return err
	}
	d.say("pgbench stops; every host counts its rows")
	if err := d.compare(ctx); err != nil {
		return err
	}
	inv := l.InventoryPath()
	d.say("what to try next")
	if exe, err := os.Executable(); err == nil {
		fmt.Fprintf(d.Out, "export PATH=%s:$PATH\n", filepath.Dir(exe))
	}
	fmt.Fprintf(d.Out, `export PGREPCTL_INVENTORY=%s
pgrepctl standby bootstrap h2      # nothing to do, and why, step by step
pgrepctl lab cut h3 --name demo && pgrepctl status
pgrepctl runs list
pgrepctl lab ssh h1 --name demo
pgrepctl lab down --name demo      # nothing is left behind
`, inv)
	return nil
}

// pgrepctl runs a command as the user would type it.
func (d *demo) pgrepctl(ctx context.Context, args ...string) error {
	d.say("pgrepctl %s", strings.Join(args, " "))
	args = append([]string{"-i", d.lab.InventoryPath()}, args...)
	if code := Run(ctx, args, d.Stdio); code != 0 {
		return &exitError{class: fault.Class(code)}
	}
	return nil
}

func (d *demo) asPostgres(ctx context.Context, host, command string) (string, error) {
	out, err := d.lab.Exec(ctx, host, []string{"su", "postgres", "-c", command}, "")
	return strings.TrimSpace(out), err
}

func (d *demo) load(ctx context.Context) error {
	if _, err := d.asPostgres(ctx, "h1", "createdb shop && pgbench -q -i -s 10 shop >/dev/null 2>&1"); err != nil {
		return fmt.Errorf("fill the primary: %w", err)
	}
	// setsid: it must outlive this command, and end with the host. A shell starts
	// it with SIGINT ignored, so it is ended by SIGTERM.
	_, err := d.asPostgres(ctx, "h1", "setsid pgbench -n -c 2 -R 100 -T 3600 shop >/tmp/pgbench.log 2>&1 </dev/null & echo $! >/tmp/pgbench.pid")
	if err != nil {
		return fmt.Errorf("start pgbench: %w", err)
	}
	return nil
}

const countRows = `psql -XAtq -d shop -c "select (select count(*) from pgbench_accounts) || ' ' || (select count(*) from pgbench_history) || ' ' || (select sum(abalance) from pgbench_accounts)"`

func (d *demo) compare(ctx context.Context) error {
	if _, err := d.asPostgres(ctx, "h1", "pkill -TERM -s $(cat /tmp/pgbench.pid); while pgrep -s $(cat /tmp/pgbench.pid) >/dev/null; do sleep 0.1; done"); err != nil {
		return fmt.Errorf("stop pgbench: %w", err)
	}
	lsn, err := d.asPostgres(ctx, "h1", `psql -XAtq -c "select pg_current_wal_lsn()"`)
	if err != nil {
		return err
	}
	var first string
	for _, h := range []string{"h1", "h2", "h3"} {
		if h != "h1" {
			if err := d.await(ctx, h, lsn); err != nil {
				return err
			}
		}
		rows, err := d.asPostgres(ctx, h, countRows)
		if err != nil {
			return fmt.Errorf("count rows on %s: %w", h, err)
		}
		fmt.Fprintf(d.Out, "%s  accounts, history, sum of balances: %s\n", h, rows)
		if first == "" {
			first = rows
		}
		if rows != first {
			return fmt.Errorf("%s differs from h1: %s, not %s", h, rows, first)
		}
	}
	fmt.Fprintln(d.Out, "equal on all three, at "+lsn)
	return nil
}

// await polls until a standby has replayed lsn; the last writes before it were
// made a moment ago.
func (d *demo) await(ctx context.Context, h, lsn string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, err := d.asPostgres(ctx, h, fmt.Sprintf(`psql -XAtq -c "select pg_last_wal_replay_lsn() >= '%s'"`, lsn))
		if err != nil {
			return err
		}
		if out == "t" {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New(h + " did not replay " + lsn + " within 30 s")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
