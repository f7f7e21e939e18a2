package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
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
// of its TLS, and its log. What cannot be read, or named, is an error.
func (in In) ownFiles(ctx context.Context, h *facts.Host) ([]string, error) {
	as, dir, config := in.Self.Postgres.OSUser, in.Self.Postgres.DataDirectory, in.Self.Postgres.ConfigDirectory
	main := path.Join(config, "postgresql.conf")
	f, err := h.File(ctx, as, main)
	if err != nil || !f.Exists {
		return nil, err
	}
	tree, included, err := loadTree(ctx, h, as, main)
	if err != nil {
		return nil, err
	}
	get, err := in.lookup(ctx, h, tree)
	if err != nil {
		return nil, err
	}
	own, err := in.ownByName(ctx, h)
	if err != nil {
		return nil, err
	}
	for _, p := range slices.Sorted(maps.Keys(included)) {
		if included[p].Exists {
			own = append(own, p)
		}
	}
	for _, name := range ownSettings() {
		if value := strings.TrimPrefix(get(name), "FILE:"); value != "" { // the type of a keytab
			own = append(own, value)
		}
	}
	for _, name := range []string{"hba", "ident"} {
		all, err := authFiles(ctx, h, as, within(dir, cmp.Or(get(name+"_file"), path.Join(config, "pg_"+name+".conf"))))
		if err != nil {
			return nil, err
		}
		own = append(own, all...)
	}
	return ownPatterns(own, dir, h.Data.Path)
}

// lookup gives the value that a server will start with, empty if no file says one: ALTER
// SYSTEM has the last word.
func (in In) lookup(ctx context.Context, h *facts.Host, tree *conf.Tree) (func(name string) string, error) {
	auto, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return nil, err
	}
	system := conf.Parse(auto.Data)
	return func(name string) string {
		if s, ok := system.Get(name); ok {
			return s.Value
		}
		value, _, _, _ := tree.Get(name)
		return value
	}, nil
}

// ownSettings name files, or directories, that no other server has a use for.
func ownSettings() []string {
	return []string{"log_directory", "ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "ssl_crl_dir", "ssl_dh_params_file", "krb_server_keyfile"}
}

// ownByName are the files that the server reads without being told of them, as far as
// they are there.
func (in In) ownByName(ctx context.Context, h *facts.Host) ([]string, error) {
	dir := in.Self.Postgres.DataDirectory
	entries, err := h.List(ctx, in.Self.Postgres.OSUser, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s on %s: %w", dir, h.Name, err)
	}
	names := append(configFiles(), "server.crt", "server.key") // what ssl = on means without a name
	var out []string
	for _, e := range entries {
		if slices.Contains(names, e.Name) {
			out = append(out, e.Name)
		}
	}
	return out, nil
}

// ownPatterns are the patterns of rsync for those of the files that lie in a data
// directory, which may be called by the name of its link, or by its own.
func ownPatterns(files []string, names ...string) ([]string, error) {
	var out []string
	for _, dir := range names {
		for _, p := range files {
			x, inside, err := postgres.ExcludePath(dir, p, "")
			if err != nil {
				return nil, err
			}
			if inside {
				out = append(out, x.Pattern)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// within is a path that is relative to a directory, unless it is absolute.
func within(dir, p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(dir, p)
}
