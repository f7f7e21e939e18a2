package engine_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ddlAt is where the WAL ends once a schema change is committed.
const ddlAt = postgres.LSN(0xA000100)

// ddlState is what became of schema changes on the primary.
type ddlState struct {
	columns map[string]bool
	xids    map[string]string // transaction to its fate
	// ungated: a leash that was let go has resumed replay, under whoever reads.
	ungated bool
}

func (w *world) end() postgres.LSN {
	if w.ddl.columns[addColumn] || w.ddl.columns[addIndex] {
		return ddlAt
	}
	return walEnd
}

const addColumn = "alter table items add column note text"

// addIndex can be in no transaction; addIndex by half is what it leaves when it does not
// come to its end.
const (
	addIndex = "create index concurrently n on items (n)"
	halfMade = addIndex + ", by half"
)

// makeIndex is what a server does at addIndex.
func (s *sqlSession) makeIndex() error {
	w := s.m.w
	w.mu.Lock()
	there := w.ddl.columns[addIndex] || w.ddl.columns[halfMade]
	w.mu.Unlock()
	if there {
		return &host.SQLError{Code: "42P07", Message: `relation "n" already exists`}
	}
	if err := w.change(s.m.name+": an invalid index", func() { w.ddl.columns[halfMade] = true }); err != nil {
		return err
	}
	return w.change(s.m.name+": a valid index", func() {
		delete(w.ddl.columns, halfMade)
		w.ddl.columns[addIndex] = true
		if pg2 := w.hosts["pg2"]; pg2.replay.at != 0 {
			pg2.advance()
		}
	})
}

// indexRows answers what is asked around addIndex. w.mu is held.
func (s *sqlSession) indexRows(sql string) ([]row, bool) {
	w := s.m.w
	table, _ := postgres.RelationNamed("items")
	index, _ := postgres.IndexOn(16400, "n")
	switch {
	case sql == table:
		return []row{{"oid": 16400, "name": "public.items"}}, true
	case sql == index && (w.ddl.columns[addIndex] || w.ddl.columns[halfMade]):
		return []row{{"oid": 16500, "whole": w.ddl.columns[addIndex]}}, true
	case strings.Contains(sql, "where not i.indisvalid") && w.ddl.columns[halfMade]:
		return []row{{"oid": 16500, "name": "public.n", "indrelid": 16400}}, true
	case sql == index, strings.Contains(sql, "where not i.indisvalid"), strings.Contains(sql, "strpos(application_name, $1)"):
		return nil, true
	}
	return nil, false
}

// ddlExec does what a schema change needs, and reports whether sql is of one.
func (s *sqlSession) ddlExec(sql string) (bool, error) {
	w := s.m.w
	switch {
	case strings.HasPrefix(sql, "create function pg_temp."), strings.HasPrefix(sql, "create event trigger "),
		strings.HasPrefix(sql, "drop event trigger "), strings.HasPrefix(sql, "drop function pg_temp."), strings.Contains(sql, "set_config('synchronous_commit'"):
		return true, nil
	case sql == addIndex:
		return true, s.makeIndex()
	case sql == "DROP INDEX CONCURRENTLY IF EXISTS public.n":
		return true, w.change(s.m.name+": "+sql, func() { delete(w.ddl.columns, halfMade) })
	case sql == addColumn:
		s.tx = append(s.tx, func() {
			w.ddl.columns[sql] = true
			w.ddl.xids[s.xid] = "committed"
			if pg2 := w.hosts["pg2"]; pg2.replay.at != 0 {
				pg2.advance()
			}
		})
		return true, nil
	}
	return false, nil
}

// ddlRows answers what is asked around a schema change. w.mu is held.
func (s *sqlSession) ddlRows(sql string, args []any) ([]row, bool) {
	w, v := s.m.w, s.m.version()
	gate, _ := v.ResumeReplayUnlessHeld("shop", []int64{16400})
	below, _ := v.MayLock([]postgres.Locking{{Names: []string{"items"}, Lone: true}})
	if rows, ok := s.indexRows(sql); ok {
		return rows, true
	}
	switch {
	case sql == "select txid_current()::text as xid":
		if s.xid == "" {
			s.xid = fmt.Sprint(700 + len(w.ddl.xids))
			w.ddl.xids[s.xid] = "aborted" // unless it comes to its COMMIT
		}
		return []row{{"xid": s.xid}}, true
	case sql == v.XactStatus():
		return []row{{"status": w.ddl.xids[args[0].(string)]}}, true
	case sql == "select "+v.FlushedWAL()+"::text as lsn":
		return []row{{"lsn": w.end().String()}}, true
	case sql == postgres.OwnExclusiveLocks:
		return []row{{"oid": 16400}}, true
	case sql == below:
		return []row{{"n": 0, "oid": 16400}}, true
	case sql == gate:
		s.m.resumeReplay()
		return []row{{"held": false}}, true
	case sql == postgres.ColumnsOf([]int64{16400}):
		line := "items"
		if s.m.name == "pg1" && len(w.ddl.columns) > 0 || s.m.name == "pg2" && s.m.replay.at >= ddlAt {
			line = "items note"
		}
		return []row{{"line": line}}, true
	}
	return nil, false
}

// leash waits, as leash.sh does, for the end of the tool, and resumes replay then.
func (m *machine) leash(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if !c.Leash || c.As != "postgres" {
		m.w.t.Error("the leash of a pause has none itself, or is not the server's")
	}
	m.w.mu.Lock()
	m.w.deadMen = append(m.w.deadMen, func() {
		if m.replay.target == "" {
			m.resumeReplay()
		}
	})
	m.w.mu.Unlock()
	if _, err := io.WriteString(stdio.Out, "ready\n"); err != nil {
		return err
	}
	<-ctx.Done()
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.replay.paused && m.replay.target == "" {
		m.w.ddl.ungated = true
		m.resumeReplay()
	}
	return context.Cause(ctx)
}

// newReading is a standby that streams and has readers, beside another one.
func newReading(t *testing.T) *world {
	t.Helper()
	w := newTraffic(t, "ready")
	w.hosts["pg2"].replay.at = walEnd
	return w
}

func deploy(groups map[string]string) map[string]string {
	vars := map[string]string{"database": "shop", "statements": `["` + addColumn + `"]`}
	for k, v := range groups {
		vars[k] = v
	}
	return vars
}

// forward: a change that is committed is replayed in the end, and until then pg2 is no
// worse than late.
func forward(t *testing.T, w *world) {
	t.Helper()
	for _, m := range w.hosts {
		if m.name == "pg1" && m.recovery {
			t.Error("the primary is none")
		}
	}
}

func ddlCases() []crashCase {
	return []crashCase{
		{name: "deploy-ddl, on one that is drained first", plan: "deploy-ddl", vars: deploy(map[string]string{"first": "pg2"}), world: newReading, repeats: true, unsure: true,
			noReturn: "from its COMMIT on", always: forward},
		{name: "deploy-ddl, on one that is paused", plan: "deploy-ddl", vars: deploy(map[string]string{"second": "pg2"}), world: newReading, repeats: true, unsure: true,
			noReturn: "from its COMMIT on", always: forward},
		{name: "deploy-ddl, on those that are paused, one by one", plan: "deploy-ddl", vars: deploy(map[string]string{"second": "pg2", "one-by-one": "true"}), world: newReading, repeats: true, unsure: true,
			noReturn: "from its COMMIT on", always: forward},
		{name: "deploy-ddl, without a standby", plan: "deploy-ddl", vars: deploy(nil), world: func(t *testing.T) *world {
			t.Helper()
			w := newTraffic(t, "drain")
			w.hosts["pg2"].replay.at = walEnd
			return w
		}, repeats: true, unsure: true, noReturn: "from its COMMIT on"},
		{name: "deploy-ddl, of a statement that can be in no transaction", plan: "deploy-ddl", vars: deploy(map[string]string{"statements": `["` + addIndex + `"]`, "alone": "true", "no-lock": "true", "mode": "none"}), world: newReading,
			repeats: true, unsure: true, noReturn: "when it has ended it is there"},
	}
}
