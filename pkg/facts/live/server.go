package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// dialect is the version of the server behind one session.
type dialect struct {
	session host.SQL
	version postgres.Version
	sized   bool // sizes were asked for too
}

func (g *Gatherer) readServer(ctx context.Context, s *scan, r reach) (facts.Server, error) {
	if s.data.PID == 0 && !s.hasSocket {
		return facts.Server{}, nil
	}
	got, err := g.askState(ctx, r)
	var refused *host.SQLError
	switch {
	case errors.Is(err, host.ErrNoServer):
		return facts.Server{NotReady: noSession(s, g.inv.Postgres.Port)}, nil
	case errors.As(err, &refused) && refused.Code == postgres.CannotConnectNow:
		return facts.Server{NotReady: refused.Message}, nil
	case err != nil:
		return facts.Server{}, err
	}
	return got.complete(s.data), nil
}

// noSession says why a live postmaster is out of reach; empty when none lives.
func noSession(s *scan, port int) string {
	switch {
	case s.data.PID == 0:
		return ""
	case s.port != 0 && s.port != port:
		return fmt.Sprintf("it listens on port %d, not on %d", s.port, port)
	case !s.hasSocket:
		return "it has no unix socket in " + s.socketDir
	}
	return "nothing answers on its unix socket in " + s.socketDir
}

// askState asks once more when the session turned out to be dead: a server that
// was restarted since the last Gather has closed it.
func (g *Gatherer) askState(ctx context.Context, r reach) (*state, error) {
	for try := 0; ; try++ {
		sql, err := g.SQL(ctx)
		if err != nil {
			return nil, err
		}
		got, err := g.stateOf(ctx, sql, r)
		if err != nil && try == 0 && ctx.Err() == nil && host.Lost(sql) {
			continue
		}
		return got, err
	}
}

func (g *Gatherer) stateOf(ctx context.Context, sql host.SQL, r reach) (*state, error) {
	v, err := g.versionOf(ctx, sql, r)
	if err != nil {
		return nil, err
	}
	var rows []state
	if err := sql.Query(ctx, &rows, stateQuery(v)); err != nil {
		return nil, fmt.Errorf("query server state: %w", err)
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("query server state: %d rows", len(rows))
	}
	rows[0].Version, rows[0].BackupAs, rows[0].SizeBytes = v, backupAs(v), g.sizes.all
	for i, ts := range rows[0].Tablespaces {
		rows[0].Tablespaces[i].SizeBytes = g.sizes.tablespaces[ts.OID]
	}
	return &rows[0], nil
}

// sizes are bytes, of all databases and of tablespaces by oid.
type sizes struct {
	all         int64
	tablespaces map[int64]int64
}

// versionOf asks each session once: after an upgrade and a restart the session
// is another one.
func (g *Gatherer) versionOf(ctx context.Context, sql host.SQL, r reach) (postgres.Version, error) {
	if g.dialect.session == sql && (g.dialect.sized || r == glance) {
		return g.dialect.version, nil
	}
	var rows []struct {
		Version int   `json:"version"`
		Size    int64 `json:"size"`
		Spaces  []struct {
			OID  int64 `json:"oid"`
			Size int64 `json:"size"`
		} `json:"spaces"`
	}
	query := versionQuery
	if r == glance {
		query = versionOnlyQuery
	}
	if err := sql.Query(ctx, &rows, query); err != nil {
		return 0, fmt.Errorf("query server version: %w", err)
	}
	if len(rows) != 1 {
		return 0, fmt.Errorf("query server version: %d rows", len(rows))
	}
	v := postgres.Version(rows[0].Version)
	if v < postgres.Oldest {
		return 0, &postgres.UnsupportedError{Version: v, Feature: "pgrepctl", Since: postgres.Oldest}
	}
	if v > postgres.Newest && !v.SameMajor(postgres.Newest) {
		return 0, fault.Refuse(g.h.Name(), "use a newer pgrepctl", fmt.Errorf("PostgreSQL %s is newer than this pgrepctl knows: %s to %s", v.Major(), postgres.Oldest.Major(), postgres.Newest.Major()))
	}
	g.dialect = dialect{session: sql, version: v, sized: r == whole}
	g.sizes = sizes{all: rows[0].Size, tablespaces: map[int64]int64{}}
	for _, s := range rows[0].Spaces {
		g.sizes.tablespaces[s.OID] = s.Size
	}
	return v, nil
}

// versionQuery is the one query of no version's dialect. Sizes are asked for
// with it, once a session and not once a Gather: the server walks all its files
// for them.
const versionQuery = `select current_setting('server_version_num')::int as version,
	(select coalesce(sum(pg_database_size(oid)), 0)::int8 from pg_database) as size,
	(select coalesce(json_agg(row_to_json(q)), '[]'::json) from (
		select oid::int8, pg_tablespace_size(oid) as size from pg_tablespace where pg_tablespace_location(oid) like '/%') q) as spaces`

const versionOnlyQuery = `select current_setting('server_version_num')::int as version`

// state is the row of stateQuery.
type state struct {
	facts.Server
	System string `json:"system"`
	TLI    int    `json:"tli"`
}

// complete fills in what 9.4 and 9.5 cannot say by SQL from the control file,
// when the server is the one of that directory.
func (s *state) complete(d facts.DataDir) facts.Server {
	out := s.Server
	out.Running = true
	out.SystemID, out.Timeline = s.System, s.TLI
	if d.State == facts.Cluster && d.PID != 0 {
		if out.SystemID == "" {
			out.SystemID = strconv.FormatUint(d.Control.SystemID, 10)
		}
		if out.Timeline == 0 {
			out.Timeline = int(d.Control.Timeline)
		}
	}
	return out
}
