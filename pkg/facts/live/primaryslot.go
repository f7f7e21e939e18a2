package live

import (
	"context"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// slotSetting is primary_slot_name of one file, empty when it sets none.
func slotSetting(f *conf.File) string {
	s, _ := f.Get("primary_slot_name")
	return strings.TrimSpace(s.Value)
}

// readPrimarySlot reads from the files of a standby whose server tells nothing, for it does
// not run, by which slot it streams once it runs again: that slot keeps the WAL that it needs
// then. Before 12 the scan has brought it. Files that do not tell are no error: most of what
// is asked of a host has nothing to do with its slot.
func (g *Gatherer) readPrimarySlot(ctx context.Context, h *facts.Host) error {
	d := &h.Data
	if h.Server.Running || d.State != facts.Cluster || !d.Standby {
		return nil
	}
	if v, err := postgres.ParseVersion(d.Version); err != nil || !v.UsesSignalFiles() {
		return nil
	}
	name, err := g.primarySlot(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		d.PrimarySlotUnread = err.Error()
	}
	d.PrimarySlotName = name
	return nil
}

// primarySlot asks for as few files as will do: pg_basebackup -R and this tool write into
// postgresql.auto.conf, which the server reads last.
func (g *Gatherer) primarySlot(ctx context.Context) (string, error) {
	pg := g.inv.Postgres
	auto, err := g.File(ctx, pg.OSUser, path.Join(pg.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return "", err
	}
	if s, ok := conf.Parse(auto.Data).Get("primary_slot_name"); ok {
		return strings.TrimSpace(s.Value), nil
	}
	read := func(p string) ([]byte, bool, error) {
		f, err := g.File(ctx, pg.OSUser, p)
		return f.Data, f.Exists, err
	}
	list := func(dir string) ([]string, error) { return facts.ConfigNames(ctx, g, pg.OSUser, dir) }
	tree, err := conf.Load(path.Join(pg.ConfigDirectory, "postgresql.conf"), read, list)
	if err != nil {
		return "", err
	}
	name, _, _, _ := tree.Get("primary_slot_name")
	return strings.TrimSpace(name), nil
}
