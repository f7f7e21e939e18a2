package live

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// insufficientPrivilege is the SQLSTATE of a denied table.
const insufficientPrivilege = "42501"

type roleRow struct {
	Name        string     `json:"name"`
	Login       bool       `json:"login"`
	Replication bool       `json:"replication"`
	Superuser   bool       `json:"superuser"`
	Verifier    *string    `json:"verifier"`
	ValidUntil  *time.Time `json:"valid_until"`
	Expired     bool       `json:"expired"`
}

// roleQuery reads one role. 'infinity' is a date that JSON and Go do not have,
// and means what no date means.
func roleQuery(table, verifier string) string {
	return "select rolname as name, rolcanlogin as login, rolreplication as replication, rolsuper as superuser, " +
		verifier + " as verifier, case when isfinite(rolvaliduntil) then rolvaliduntil end as valid_until," +
		" coalesce(rolvaliduntil < now(), false) as expired from " + table + " where rolname = $1"
}

// Role reads a role with its password verifier; without the verifier when the
// session may not read pg_authid.
func (g *Gatherer) Role(ctx context.Context, name string) (facts.Role, error) {
	var rows []roleRow
	err := g.ask(ctx, func(sql host.SQL, _ postgres.Version) error {
		err := sql.Query(ctx, &rows, roleQuery("pg_authid", "rolpassword"), name)
		var denied *host.SQLError
		if errors.As(err, &denied) && denied.Code == insufficientPrivilege {
			return sql.Query(ctx, &rows, roleQuery("pg_roles", "null::text"), name)
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
		Superuser: r.Superuser, ValidUntil: r.ValidUntil, Expired: r.Expired}
	if r.Verifier != nil {
		out.Verifier = secret.New(*r.Verifier)
	}
	return out, nil
}

// ConfigErrors asks the server about its files as they are on disk: none before
// 9.5, none of pg_hba.conf before 10. A changed setting that needs a restart
// carries the same error text as a bad value, so those of context postmaster are
// left out; `postgres -C` tells them apart.
func (g *Gatherer) ConfigErrors(ctx context.Context) ([]facts.ConfigError, error) {
	var rows []facts.ConfigError
	err := g.ask(ctx, func(sql host.SQL, v postgres.Version) error {
		q, ok := configErrorsQuery(v)
		if !ok {
			return nil
		}
		return sql.Query(ctx, &rows, q)
	})
	return rows, err
}

func configErrorsQuery(v postgres.Version) (string, bool) {
	files, err := v.FileSettingsQuery()
	if err != nil {
		return "", false
	}
	q := "select coalesce(f.sourcefile, '') as file, coalesce(f.sourceline, 0) as line, coalesce(f.name, '') as name, f.error as message" +
		" from (" + files + ") f left join pg_settings s on lower(s.name) = lower(f.name)" +
		" where f.error is not null and s.context is distinct from 'postmaster'"
	if rules, err := v.HBARulesQuery(); err == nil {
		q += " union all select coalesce(h.file_name, current_setting('hba_file')), coalesce(h.line_number, 0), '', h.error" +
			" from (" + rules + ") h where h.error is not null"
	}
	return q + " order by 1, 2, 3", true
}

// ask runs fn in the session, once more in a new one when it was lost.
func (g *Gatherer) ask(ctx context.Context, fn func(host.SQL, postgres.Version) error) error {
	for try := 0; ; try++ {
		sql, err := g.SQL(ctx)
		if err != nil {
			return fmt.Errorf("open session on %s: %w", g.h.Name(), err)
		}
		v, err := g.versionOf(ctx, sql)
		if err == nil {
			err = fn(sql, v)
		}
		if err != nil && try == 0 && ctx.Err() == nil && host.Lost(sql) {
			continue
		}
		return err
	}
}
