package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Pulse is what a check needs to know of the server, by one query in the session
// that is kept: role, positions, receiver, walsenders, slots and who holds the
// cluster lock. No program is started on the host while its server runs. A server
// that does not run is a fact, not an error.
func (g *Gatherer) Pulse(ctx context.Context) (facts.Server, error) {
	for try := 0; ; try++ {
		sql, err := g.SQL(ctx)
		if err == nil {
			var s facts.Server
			if s, err = g.pulseOf(ctx, sql); err == nil {
				return s, nil
			}
			if try == 0 && ctx.Err() == nil && host.Lost(sql) {
				continue // the server was restarted since
			}
		}
		var refused *host.SQLError
		switch {
		case errors.As(err, &refused) && refused.Code == postgres.CannotConnectNow:
			return facts.Server{NotReady: refused.Message}, nil
		case !errors.Is(err, host.ErrNoServer):
			return facts.Server{}, err
		}
		s, err := g.rescan(ctx, glance)
		if err != nil {
			return facts.Server{}, fmt.Errorf("look for the server of %s: %w", g.h.Name(), err)
		}
		// While it was down nothing told where its socket will be.
		if try == 0 && s.data.PID != 0 && s.hasSocket {
			continue
		}
		return facts.Server{NotReady: noSession(s, g.inv.Postgres.Port)}, nil
	}
}

func (g *Gatherer) pulseOf(ctx context.Context, sql host.SQL) (facts.Server, error) {
	var version []struct {
		Version int `json:"version"`
	}
	v := g.beat.version
	if g.beat.session != sql {
		if err := sql.Query(ctx, &version, "select current_setting('server_version_num')::int as version"); err != nil {
			return facts.Server{}, fmt.Errorf("query server version: %w", err)
		}
		if len(version) != 1 {
			return facts.Server{}, fmt.Errorf("query server version: %d rows", len(version))
		}
		v = postgres.Version(version[0].Version)
		if v < postgres.Oldest {
			return facts.Server{}, &postgres.UnsupportedError{Version: v, Feature: "pgrepctl", Since: postgres.Oldest}
		}
		g.beat = dialect{session: sql, version: v}
	}
	var rows []state
	if err := sql.Query(ctx, &rows, pulseQuery(v)); err != nil {
		return facts.Server{}, fmt.Errorf("query server state: %w", err)
	}
	if len(rows) != 1 {
		return facts.Server{}, fmt.Errorf("query server state: %d rows", len(rows))
	}
	out := rows[0].Server
	out.Running, out.Version, out.SystemID, out.Timeline = true, v, rows[0].System, rows[0].TLI
	return out, nil
}

// pulseQuery selects one row in the form of state, of what Pulse tells.
func pulseQuery(v postgres.Version) string {
	recovery := "pg_is_in_recovery()"
	here := "case when " + recovery + " then " + v.LastReplay() + " else " + v.CurrentWAL() + " end"
	return "select " + recovery + " as in_recovery,\n\t" +
		systemID(v) + " as system,\n\t" +
		v.Timeline() + " as tli,\n\t" +
		"coalesce((" + here + ")::text, '0/0') as lsn,\n\t" +
		rows(slots(v, upTo(v, v.CurrentWAL()))) + " as slots,\n\t" +
		rows(senders(v)) + " as senders,\n\t" +
		firstRow(replay(v)) + " as replay,\n\t" +
		firstRow(postgres.ClusterLockHolder) + " as lock"
}
