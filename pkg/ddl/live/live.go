// Package live asks a server about the relations of a script: whether they are there, how
// large they are, and who holds locks on them. It changes nothing.
package live

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Relation is one that a script names, as it is now.
type Relation struct {
	// As is the name in the script, the others are those that the server has for it.
	As     ddl.Name `json:"as"`
	Schema string   `json:"schema"`
	Name   string   `json:"name"`
	Exists bool     `json:"exists"`
	Kind   string   `json:"kind,omitempty"` // table, index, view, …
	OID    int64    `json:"oid,omitempty"`
	// Table is the oid of the table of an index: what drops or rebuilds the index locks both.
	Table int64 `json:"table,omitempty"`
	// Bytes are those of the whole: indexes, TOAST and partitions too; -1 while somebody has
	// locked it against reads.
	Bytes int64 `json:"bytes"`
	// Rows is what the planner thinks; -1 when it does not know.
	Rows int64 `json:"rows"`
	// Holders are those of an index and of its table.
	Holders []Holder `json:"holders"`
}

// Kinds of what has partitions, and no rows of its own.
const (
	PartitionedTable = "partitioned table"
	PartitionedIndex = "partitioned index"
)

// Named is the name with its schema, as SQL.
func (r Relation) Named() string { return ddl.Name{Schema: r.Schema, Name: r.Name}.String() }

// In reports whether a statement names the relation, and does not mean one that the script
// makes under that name.
func (r Relation) In(st ddl.Statement) bool {
	return slices.ContainsFunc(st.Targets, func(n ddl.Name) bool { return !n.Made && n.Is(r.As) })
}

// RewrittenBy reports whether a statement may write the relation anew.
func (r Relation) RewrittenBy(st ddl.Statement) bool { return st.Class == ddl.Rewrite && r.In(st) }

// rewriteRate is a guess, on the careful side, at how many bytes of a table are written anew
// in a second.
const rewriteRate = 50_000_000

// RewriteTime is how long it may take to write so many bytes anew.
func RewriteTime(bytes int64) time.Duration {
	return time.Duration(float64(bytes) / rewriteRate * float64(time.Second))
}

// Holder is a session with a lock on a relation.
type Holder struct {
	PID         int    `json:"pid"` // 0: a prepared transaction
	User        string `json:"user"`
	Application string `json:"application"`
	State       string `json:"state"`
	Mode        string `json:"mode"`
	// Seconds is how long its transaction has run.
	Seconds int64 `json:"seconds"`
}

// Version is that of the server.
func Version(ctx context.Context, s host.SQL) (postgres.Version, error) {
	var rows []struct {
		Version postgres.Version `json:"version"`
	}
	if err := s.Query(ctx, &rows, "select current_setting('server_version_num')::int as version"); err != nil {
		return 0, fmt.Errorf("read the server's version: %w", err)
	}
	return rows[0].Version, nil
}

// Relations looks at what a script names and does not make itself, each once, in the order
// of the script.
func Relations(ctx context.Context, s host.SQL, script *ddl.Script) ([]Relation, error) {
	// pg_total_relation_size waits for whoever has locked the relation against reads.
	if err := s.Exec(ctx, "set lock_timeout = '2s'"); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	out := []Relation{}
	for _, st := range script.Statements {
		for _, n := range st.Targets {
			if n.Made || seen[n.String()] {
				continue
			}
			seen[n.String()] = true
			r, err := look(ctx, s, n)
			if err != nil {
				return nil, fmt.Errorf("look at %s: %w", n, err)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func look(ctx context.Context, s host.SQL, n ddl.Name) (Relation, error) {
	// As a literal: to_regclass takes a cstring before 9.6, and a text since.
	text, err := postgres.QuoteLiteral(n.String())
	if err != nil {
		return Relation{}, err
	}
	text = strings.TrimSpace(text)
	var rows []Relation
	err = s.Query(ctx, &rows, strings.NewReplacer("$name", text, "$bytes", size).Replace(relation))
	if host.SQLState(err) == postgres.LockNotAvailable {
		err = s.Query(ctx, &rows, strings.NewReplacer("$name", text, "$bytes", "-1").Replace(relation))
	}
	if err != nil {
		return Relation{}, err
	}
	if len(rows) == 0 {
		return Relation{As: n, Schema: n.Schema, Name: n.Name, Rows: -1, Holders: []Holder{}}, nil
	}
	r := rows[0]
	r.As, r.Exists, r.Holders = n, true, []Holder{}
	return r, s.Query(ctx, &r.Holders, strings.ReplaceAll(holders, "$name", text))
}

const size = `(select coalesce(sum(case when x.relkind in ('r', 'm', 'i', 'S') then pg_total_relation_size(x.oid) else 0 end), 0)::bigint from part p join pg_class x on x.oid = p.oid)`

const relation = `with recursive part as (
  select to_regclass($name)::oid as oid
  union all select i.inhrelid from pg_inherits i join part p on i.inhparent = p.oid)
select n.nspname as schema, c.relname as name, c.oid::bigint as oid,
  coalesce((select i.indrelid::bigint from pg_index i where i.indexrelid = c.oid), 0) as table,
  case c.relkind when 'r' then 'table' when 'p' then '` + PartitionedTable + `' when 'i' then 'index' when 'I' then '` + PartitionedIndex + `' when 'v' then 'view'
    when 'm' then 'materialized view' when 'S' then 'sequence' when 'f' then 'foreign table' when 'c' then 'composite type' else c.relkind::text end as kind,
  $bytes as bytes,
  case when c.relkind in ('r', 'm') then c.reltuples::bigint else -1 end as rows
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($name)::oid`

const holders = `select coalesce(l.pid, 0) as pid, coalesce(a.usename, '')::text as user, coalesce(a.application_name, '') as application,
  coalesce(a.state, '') as state, l.mode, coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::bigint as seconds
from pg_locks l left join pg_stat_activity a using (pid)
where l.locktype = 'relation' and l.granted and l.relation in (select to_regclass($name)::oid union all select indrelid from pg_index where indexrelid = to_regclass($name)::oid) and l.pid is distinct from pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
order by a.xact_start, l.pid, l.mode`
