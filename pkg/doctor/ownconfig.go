package doctor

import (
	"context"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// own is the value that the standby's own files give a setting: ALTER SYSTEM's is read
// last.
func (p pair) own(name string) (value string, ok bool) {
	if p.auto != nil {
		if s, ok := p.auto.Get(name); ok {
			return s.Value, true
		}
	}
	if p.config != nil {
		value, _, _, ok = p.config.Get(name)
	}
	return value, ok
}

// readConfig reads all that postgresql.conf includes. Of a configuration that cannot be
// read as a whole nothing is known: what is missing may be in the rest.
func (p *pair) readConfig(ctx context.Context) error {
	pg, f := p.standby.inv.Postgres, p.standby.f
	if !f.Config.HasConfig || pg.ConfigDirectory == pg.DataDirectory {
		return nil
	}
	main := path.Join(pg.ConfigDirectory, "postgresql.conf")
	if _, err := f.File(ctx, pg.OSUser, main); err != nil {
		return err
	}
	read := func(p string) ([]byte, bool, error) {
		file, err := f.File(ctx, pg.OSUser, p)
		return file.Data, file.Exists, err
	}
	list := func(dir string) ([]string, error) { return facts.ConfigNames(ctx, f, pg.OSUser, dir) }
	if tree, err := conf.Load(main, read, list); err == nil {
		p.config = tree
	}
	return context.Cause(ctx)
}

// readAuto reads postgresql.auto.conf of a standby that does not run, or is seeded
// again: of another one the server tells its settings.
func (p *pair) readAuto(ctx context.Context) error {
	pg, f := p.standby.inv.Postgres, p.standby.f
	switch {
	case p.standby.f.Server.Running && !p.target(), p.target() && p.emptied:
		return nil
	case f.Data.State != facts.Cluster && f.Data.State != facts.Partial:
		return nil
	}
	file, err := f.File(ctx, pg.OSUser, path.Join(pg.DataDirectory, "postgresql.auto.conf"))
	if err == nil && file.Exists {
		p.auto = conf.Parse(file.Data)
	}
	return err
}
