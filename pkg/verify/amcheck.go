package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// amcheckVersion is the first that checks heaps; an extension keeps its version
// until somebody updates it, whatever release the server is of.
const amcheckVersion = "1.3"

// amcheck runs pg_amcheck on the standby's host. Of indexes it uses bt_index_check:
// bt_index_parent_check takes a lock that no standby gives.
func (r *run) amcheck(ctx context.Context) error {
	if !r.running(r.Standby) {
		return nil
	}
	f := r.Standby.Facts
	program := f.Server.Version.AmcheckProgram()
	if program == "" {
		r.add(Check{Name: "amcheck", Result: NotPossible, Detail: "the server is of " + f.Server.Version.Major() + ", and pg_amcheck came with 14"})
		return nil
	}
	h, err := r.hosts.Host(ctx, r.Standby.Name)
	if err != nil {
		return err
	}
	db, err := r.hosts.Database(ctx, r.Standby.Name)
	if err != nil {
		return err
	}
	program = path.Join(f.Machine.BinDirectory, program)
	switch _, err := h.Files(db.As).Stat(ctx, program); {
	case errors.Is(err, fs.ErrNotExist):
		r.add(Check{Name: "amcheck", Result: NotPossible, Detail: "there is no " + program, Hint: "install the package of " + r.Standby.Name + " that has pg_amcheck of PostgreSQL " + f.Server.Version.Major()})
		return nil
	case err != nil:
		return fmt.Errorf("look for %s on %s: %w", program, r.Standby.Name, err)
	}
	names, err := r.chosen(ctx, r.Standby)
	if err != nil {
		return err
	}
	for _, name := range names {
		c, err := r.amcheckOf(ctx, h, db, program, name)
		if err != nil {
			return err
		}
		c.Name, c.Database = "amcheck", name
		r.add(c)
	}
	return nil
}

func (r *run) amcheckOf(ctx context.Context, h host.Host, db host.Database, program, name string) (Check, error) {
	s, err := r.open(ctx, r.Standby, name)
	if err != nil {
		return Check{}, err
	}
	var rows []struct {
		Version string `json:"version"`
	}
	err = s.Query(ctx, &rows, "select extversion as version from pg_extension where extname = 'amcheck'")
	closing(ctx, s)
	if err != nil {
		return Check{}, fmt.Errorf("look for the extension amcheck in %s of %s: %w", name, r.Standby.Name, err)
	}
	on := "on " + r.Primary.Name + ", in this database: "
	switch {
	case len(rows) == 0:
		return Check{Result: NotPossible, Detail: "the database has no extension amcheck", Hint: on + "create extension amcheck"}, nil
	case older(rows[0].Version, amcheckVersion):
		return Check{Result: NotPossible, Detail: "its extension amcheck is of " + rows[0].Version + ", and heaps are checked from " + amcheckVersion + " on",
			Hint: on + "alter extension amcheck update"}, nil
	}
	// It takes a pattern; within double quotes a name is a name.
	pattern, err := postgres.QuoteIdent(name)
	if err != nil {
		return Check{}, err
	}
	user := db.User
	if user == "" {
		user = db.As
	}
	// Roles and databases carry time-outs that are meant for people.
	argv := []string{"env", "LC_ALL=C", "PGOPTIONS=-c statement_timeout=0 -c lock_timeout=0", program, "--no-password", "--host=" + db.SocketDir,
		"--port=" + strconv.Itoa(db.Port), "--username=" + user, "--heapallindexed", "--database=" + pattern}
	var out head
	err = h.Run(ctx, host.Cmd{Argv: argv, As: db.As, Leash: true}, host.Stdio{Out: &out})
	var exit *host.ExitError
	switch {
	case err == nil:
		return Check{Result: OK, Detail: "heaps and B-tree indexes are sound"}, nil
	case !errors.As(err, &exit):
		return Check{}, fmt.Errorf("run pg_amcheck on %s: %w", r.Standby.Name, err)
	}
	said := strings.TrimSpace(out.String() + "\n" + host.Tail(exit.Stderr, 3))
	if said == "" {
		said = exit.Error()
	}
	return Check{Result: Failed, Detail: oneLine(said, 4),
		Hint: "whole: sudo -u " + db.As + " " + program + " --heapallindexed --database=" + pattern + "; a query that recovery cancelled is no damage, run it again"}, nil
}

// older compares versions of an extension, number by number.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, err1 := strconv.Atoi(x[i])
		n, err2 := strconv.Atoi(y[i])
		if err1 != nil || err2 != nil {
			return false
		}
		if m != n {
			return m < n
		}
	}
	return len(x) < len(y)
}

// head keeps the beginning of an output that may be long.
type head struct{ strings.Builder }

func (h *head) Write(p []byte) (int, error) {
	if room := 64<<10 - h.Len(); room > 0 {
		_, _ = h.Builder.Write(p[:min(room, len(p))]) // never fails
	}
	return len(p), nil
}

// oneLine joins the first lines of a text, for a table.
func oneLine(s string, n int) string {
	var out []string
	for l := range strings.Lines(s) {
		if l = strings.Join(strings.Fields(l), " "); l != "" {
			out = append(out, l)
		}
	}
	if more := len(out) - n; more > 0 {
		out = append(out[:n], fmt.Sprintf("and %d lines more", more))
	}
	return strings.Join(out, "; ")
}
