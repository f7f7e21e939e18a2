package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// tree is one directory tree of the copy.
type tree struct {
	what, source, target string
	of                   string // the tablespace's location, or the data directory
	excludes             []string
	link                 string // in the data directory, of a tablespace that moves
	size                 int64
	main                 bool // the data directory
}

// copyTrees are the tablespaces, then the data directory.
func copyTrees(ctx context.Context, to *inventory.Host, up *facts.Host) ([]tree, error) {
	v := up.Server.Version
	excludes := patterns(v.BackupExcludes())
	settings, err := up.Settings(ctx)
	if err != nil {
		return nil, err
	}
	// Where the server itself puts what belongs to the running server only.
	for _, name := range []string{"log_directory", "external_pid_file", "stats_temp_directory", "promote_trigger_file"} {
		p, ok := settings.Lookup(name)
		if !ok || p.Value == "" {
			continue
		}
		x, inside, err := postgres.ExcludePath(up.Server.DataDirectory, p.Value, "")
		if err != nil {
			return nil, err
		}
		if inside {
			excludes = append(excludes, x.Pattern)
		}
	}
	// Written by the standby-config step before the copy began.
	excludes = append(excludes, "/postgresql.auto.conf")
	if to.Postgres.ConfigDirectory != to.Postgres.DataDirectory {
		for _, f := range configFiles() {
			excludes = append(excludes, "/"+f)
		}
	}
	var out []tree
	rest := up.Server.SizeBytes
	for _, ts := range up.Server.Tablespaces {
		rest -= ts.SizeBytes
		if strings.HasPrefix(ts.Location, up.Server.DataDirectory+"/") {
			return nil, fault.Refuse(up.Name, "move it outside the data directory",
				fmt.Errorf("tablespace %s lies inside the data directory, in %s", ts.Name, ts.Location))
		}
		if up.Data.Control.CatalogVersion == 0 {
			return nil, errors.New("catalog version not known")
		}
		sub := fmt.Sprintf("PG_%s_%d", v.Major(), up.Data.Control.CatalogVersion)
		t := tree{what: "tablespace " + ts.Name, of: ts.Location, source: path.Join(ts.Location, sub), target: path.Join(movedTo(to, ts.Location), sub), excludes: patterns(v.TablespaceExcludes()), size: ts.SizeBytes}
		if t.source != t.target {
			// The link is the standby's own.
			t.link = path.Join("pg_tblspc", strconv.FormatInt(ts.OID, 10))
			excludes = append(excludes, "/"+t.link)
		}
		out = append(out, t)
	}
	return append(out, tree{what: "the data directory", of: up.Server.DataDirectory, source: up.Server.DataDirectory, target: to.Postgres.DataDirectory, excludes: excludes, size: max(0, rest), main: true}), nil
}

// movedTo is where a tablespace of the source goes on a host: to the same place, or
// where the inventory wants it.
func movedTo(to *inventory.Host, location string) string {
	return cmp.Or(to.Postgres.Tablespaces[location], location)
}

func patterns(list []postgres.Exclude) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.Pattern
	}
	return out
}

// wal is where the WAL goes that comes with the data directory, if it is elsewhere.
func (t tree) wal(to *inventory.Host) string {
	if !t.main {
		return ""
	}
	return to.Postgres.WALDirectory
}

// empty: nothing of any copy is in its target yet.
func (t tree) empty(ctx context.Context, as string, h *facts.Host) (bool, error) {
	if t.main {
		return !h.Data.HasData, nil
	}
	names, err := h.List(ctx, as, t.target)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return false, fmt.Errorf("list %s on %s: %w", t.target, h.Name, err)
	}
	return len(names) == 0, nil
}

// refuseOrphanLinks refuses a source with a link in pg_tblspc that no tablespace has, as a crash
// can leave it. The end of the backup names it as one, so that the copy would lack it, and the
// next one too.
func refuseOrphanLinks(ctx context.Context, up *inventory.Host, uf *facts.Host) error {
	dir := path.Join(uf.Server.DataDirectory, "pg_tblspc")
	names, err := uf.List(ctx, up.Postgres.OSUser, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s on %s: %w", dir, up.Name, err)
	}
	for _, n := range names {
		known := slices.ContainsFunc(uf.Server.Tablespaces, func(t facts.Tablespace) bool { return strconv.FormatInt(t.OID, 10) == n.Name })
		if n.Mode&fs.ModeSymlink != 0 && !known {
			return fault.Refuse(up.Name, "if a tablespace was made just now, type the same command again; if a crash has left the link: rm "+path.Join(dir, n.Name),
				fmt.Errorf("%s is a link that no tablespace has: a backup would name it as one", path.Join(dir, n.Name)))
		}
	}
	return nil
}
