package effect_test

import (
	"encoding/json"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func probe(t *testing.T, sql string) *effect.ProbeDDL {
	t.Helper()
	s, err := ddl.Parse("x.sql", []byte(sql), postgres.MakeVersion(15))
	if err != nil {
		t.Fatal(err)
	}
	return &effect.ProbeDDL{Host: "pg1", Database: "pgrepctl_scratch_run1", Of: "shop", Script: s}
}

// The relations of the scratch database, and what they are once items is written anew.
const (
	relations = `[{"oid": 5, "schema": "s", "name": "items", "kind": "r", "file": 50}]`
	rewritten = `[{"oid": 5, "schema": "s", "name": "items", "kind": "r", "file": 51}, {"oid": 6, "schema": "s", "name": "fresh", "kind": "r", "file": 6}]`
)

func sees(rows string) call  { return call{Do: "query select c.oid…", Out: rows} }
func locks(oids string) call { return call{Do: "query select relation…", Out: oids} }
func executes(q string) call { return call{Do: "exec " + q} }

// probing is a script of calls inside of the session of a probe, which finds names as one
// in the other database does.
func probing(t *testing.T, calls ...call) effect.Env {
	t.Helper()
	all := []call{
		{Do: "connect"}, {Do: "query select current_setting('search_path') as path", Out: `[{"path": "s, public"}]`}, {Do: "close"},
		{Do: "connect"}, {Do: "query select set_config('search_path', $1, false)…", Out: `[{"path": ""}]`},
	}
	_, in := script(t, append(append(all, calls...), call{Do: "close"})...)
	return in
}

func results(t *testing.T, e *effect.ProbeDDL, in effect.Env) []ddl.Probed {
	t.Helper()
	out, err := e.Do(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var got []ddl.Probed
	if err := json.Unmarshal([]byte(out[effect.ProbeOutput]), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestProbeTellsLocksAndRewritesOfWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	in := probing(t, sees(relations), sees(relations), executes("BEGIN"), executes("ALTER TABLE items ALTER a TYPE bigint"), locks(`[{"oid": 5}, {"oid": 6}]`), sees(rewritten), executes("COMMIT"))
	got := results(t, probe(t, "ALTER TABLE items ALTER a TYPE bigint"), in)
	if len(got) != 1 || len(got[0].Locks) != 1 || got[0].Locks[0].String() != "s.items" || len(got[0].Rewrites) != 1 || got[0].Rewrites[0].String() != "s.items" || got[0].Skipped != "" {
		t.Errorf("%+v", got)
	}
}

// Two statements that share a transaction are run in one first, and rolled back.
func TestProbeStopsAtWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	refused := &host.SQLError{Code: "42601", Message: "syntax error", Position: 23}
	in := probing(t, sees(relations),
		executes("BEGIN"), executes("ALTER TABLE items DROP a"), call{Do: "exec ALTER TABLE items ADD…", Err: refused}, executes("ROLLBACK"),
		sees(relations), executes("BEGIN"), executes("ALTER TABLE items DROP a"), locks(`[{"oid": 5}]`), sees(relations), executes("COMMIT"))
	e := probe(t, "ALTER TABLE items DROP a;\nALTER TABLE items ADD\n  ü;DROP TABLE items")
	e.Script.Take(results(t, e, in))
	st := e.Script.Statements
	if p := st[1].Probed; p.Error == nil || p.Error.Line != 3 || p.Error.Column != 1 {
		t.Errorf("%+v", p)
	}
	if st[0].Probed.Error != nil || st[0].Probed.Skipped != "" || len(st[0].Probed.Locks) != 1 {
		t.Errorf("before it: %+v", st[0].Probed)
	}
	// What was not run keeps the class of the table.
	if st[2].Probed.Skipped == "" || st[2].Class != ddl.Lock {
		t.Errorf("behind it: %+v", st[2].Probed)
	}
}

func TestProbeLeavesAloneWhatIsForTheWholeServer(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{"CREATE ROLE r", "ALTER USER u SET work_mem = '1GB'", "DROP OWNED BY r", "REASSIGN OWNED BY a TO b", "GRANT a TO b", "REVOKE a FROM b",
		"GRANT CONNECT ON DATABASE shop TO r", "COMMENT ON DATABASE shop IS 'x'", "COMMENT ON ROLE r IS 'x'", "DROP DATABASE shop", "ALTER SYSTEM SET a = 1"} {
		e := probe(t, sql)
		if got := results(t, e, probing(t, sees(relations))); got[0].Skipped == "" {
			t.Errorf("%s: %+v", sql, got)
		}
	}
}
