package live

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// File reads a file as OS user as.
func (g *Gatherer) File(ctx context.Context, as, path string) (host.File, error) {
	return g.h.Files(as).Read(ctx, path)
}

// List reads a directory as OS user as.
func (g *Gatherer) List(ctx context.Context, as, dir string) ([]host.Entry, error) {
	return g.h.Files(as).List(ctx, dir)
}

// ReadLink reads a symlink as OS user as.
func (g *Gatherer) ReadLink(ctx context.Context, as, path string) (string, error) {
	return g.h.Files(as).ReadLink(ctx, path)
}

// ReplicationLogin logs in from the host, over TCP.
func (g *Gatherer) ReplicationLogin(ctx context.Context, l host.Login) (host.System, error) {
	return g.h.ReplicationLogin(ctx, l)
}

// Settings reads all of pg_settings.
func (g *Gatherer) Settings(ctx context.Context) (postgres.Settings, error) {
	var rows []postgres.Setting
	err := g.ask(ctx, func(sql host.SQL, v postgres.Version) error {
		return sql.Query(ctx, &rows, v.SettingsQuery())
	})
	if err != nil {
		return nil, err
	}
	return postgres.NewSettings(rows), nil
}

type roleRow struct {
	Name        string  `json:"name"`
	Login       bool    `json:"login"`
	Replication bool    `json:"replication"`
	Superuser   bool    `json:"superuser"`
	Becomes     bool    `json:"becomes"`
	Verifier    *string `json:"verifier"`
	Expired     bool    `json:"expired"`
}

// roleQuery reads one role.
func roleQuery(table, verifier string, v postgres.Version) string {
	become := "MEMBER"
	if v.AtLeast(16) { // where a membership may be without it
		become = "SET"
	}
	return "select rolname as name, rolcanlogin as login, rolreplication as replication, rolsuper as superuser, pg_has_role(oid, '" + become + "') as becomes, " +
		verifier + " as verifier, coalesce(rolvaliduntil < now(), false) as expired from " + table + " where rolname = $1"
}

// Role reads a role with its password verifier; without the verifier when the
// session may not read pg_authid.
func (g *Gatherer) Role(ctx context.Context, name string) (facts.Role, error) {
	var rows []roleRow
	err := g.ask(ctx, func(sql host.SQL, v postgres.Version) error {
		err := sql.Query(ctx, &rows, roleQuery("pg_authid", "rolpassword", v), name)
		if host.SQLState(err) == postgres.InsufficientPrivilege {
			return sql.Query(ctx, &rows, roleQuery("pg_roles", "null::text", v), name)
		}
		return err
	})
	if err != nil {
		return facts.Role{}, err
	}
	if len(rows) == 0 {
		return facts.Role{Name: name}, nil
	}
	r := rows[0]
	out := facts.Role{Name: r.Name, Exists: true, Login: r.Login, Replication: r.Replication,
		Superuser: r.Superuser, Becomes: r.Becomes, Expired: r.Expired}
	if r.Verifier != nil {
		out.Verifier = secret.New(*r.Verifier)
	}
	return out, nil
}

// setForQuery is pg_db_role_setting, whose elements are "name=value".
const setForQuery = `select coalesce(r.rolname, '')::text as role, coalesce(d.datname, '')::text as database, substr(c, length($1::text) + 2) as value
	from pg_db_role_setting s cross join lateral unnest(s.setconfig) c
	left join pg_roles r on r.oid = s.setrole left join pg_database d on d.oid = s.setdatabase
	where left(c, length($1::text) + 1) = $1::text || '=' order by 1, 2`

// SetFor reads what ALTER ROLE and ALTER DATABASE have set.
func (g *Gatherer) SetFor(ctx context.Context, setting string) ([]facts.SetFor, error) {
	var rows []facts.SetFor
	err := g.ask(ctx, func(sql host.SQL, _ postgres.Version) error {
		return sql.Query(ctx, &rows, setForQuery, setting)
	})
	return rows, err
}

// ConfigErrors asks the server about its files as they are on disk: none before
// 9.5, none of pg_hba.conf before 10.
func (g *Gatherer) ConfigErrors(ctx context.Context) ([]facts.ConfigError, error) {
	var rows []facts.ConfigError
	err := g.ask(ctx, func(sql host.SQL, v postgres.Version) error {
		q, ok := v.ConfigErrorsQuery()
		if !ok {
			return nil
		}
		return sql.Query(ctx, &rows, q)
	})
	return rows, err
}

// ask runs fn in the session, once more in a new one when it was lost.
func (g *Gatherer) ask(ctx context.Context, fn func(host.SQL, postgres.Version) error) error {
	for try := 0; ; try++ {
		sql, err := g.SQL(ctx)
		if err != nil {
			return fmt.Errorf("open session on %s: %w", g.h.Name(), err)
		}
		v, err := g.versionOf(ctx, sql, whole)
		if err == nil {
			err = fn(sql, v)
		}
		if err != nil && try == 0 && ctx.Err() == nil && host.Lost(sql) {
			continue
		}
		return err
	}
}
