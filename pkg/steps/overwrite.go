package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// controlGone: data that are overwritten have no pg_control any more once they are
// fenced. Of a copy it may be there, and is looked for by nobody.
func (in In) controlGone(ctx context.Context, h *facts.Host) (bool, error) {
	if !h.Data.Overwrites() {
		return false, nil
	}
	f, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, postgres.ControlFile))
	return err == nil && !f.Exists, err
}

// clearStale is what must go before data are overwritten, for the copy leaves it out:
// excluded files of the target stay.
func clearStale(to *inventory.Host, uf *facts.Host) *effect.ClearStale {
	dir := to.Postgres.DataDirectory
	return &effect.ClearStale{Host: to.Name, As: to.Postgres.OSUser, Path: dir,
		Dirs: []string{uf.Server.Version.WALDir(), "pg_replslot"},
		Files: []string{"backup_label", "backup_label.old", "tablespace_map", "tablespace_map.old", "backup_manifest",
			"recovery.signal", "recovery.done", "promote", "fallback_promote", "current_logfiles"},
		Lost: "what " + dir + " held before is overwritten by what differs on " + uf.Name}
}

// ownFiles are patterns of what is the standby's own in its data directory, and stays
// when the rest is overwritten: its configuration, with what that includes, the files
// of its TLS, and its log.
func (in In) ownFiles(ctx context.Context, h *facts.Host) ([]string, error) {
	as, dir := in.Self.Postgres.OSUser, in.Self.Postgres.DataDirectory
	main := path.Join(in.Self.Postgres.ConfigDirectory, "postgresql.conf")
	f, err := h.File(ctx, as, main)
	if err != nil || !f.Exists {
		return nil, err
	}
	tree, included, err := loadTree(ctx, h, as, main)
	if err != nil {
		return nil, err
	}
	var out []string
	keep := func(p string) {
		if !path.IsAbs(p) {
			p = path.Join(dir, p)
		}
		rel, inside := strings.CutPrefix(path.Clean(p), dir+"/")
		x := "/" + rel
		if inside && !strings.ContainsAny(rel, "*?[\\\n") && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	entries, err := h.List(ctx, as, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s on %s: %w", dir, h.Name, err)
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name] = true
	}
	for _, name := range configFiles() {
		if there[name] {
			keep(name)
		}
	}
	for p := range included {
		if included[p].Exists {
			keep(p)
		}
	}
	for _, name := range []string{"log_directory", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "hba_file", "ident_file"} {
		if value, _, _, ok := tree.Get(name); ok && value != "" {
			keep(value)
		}
	}
	for _, name := range []string{"server.crt", "server.key"} { // what ssl = on means without a name
		if there[name] {
			keep(name)
		}
	}
	slices.Sort(out)
	return out, nil
}
