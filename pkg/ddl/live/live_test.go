package live_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/ddl/live"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// TestEveryRelationIsAskedOnceAndWhatTheScriptMakesIsNot: names go to the server quoted, in
// the order of the script.
func TestEveryRelationIsAskedOnceAndWhatTheScriptMakesIsNot(t *testing.T) {
	t.Parallel()
	script, err := ddl.Parse("x.sql", []byte(`ALTER TABLE "It's" ADD a int; CREATE TABLE fresh (a int); ALTER TABLE fresh ADD b int;
		ALTER TABLE "It's" DROP a; DROP VIEW IF EXISTS s.gone`), 0)
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.NewScript(t, "pg1", hosttest.NewFS("/tmp"),
		hosttest.Call{Do: "connect"},
		hosttest.Call{Do: "exec set lock_timeout = '2s'"},
		hosttest.Call{Do: `query with recursive part as ( select to_regclass('"It''s"')::oid…`, Out: `[{"schema": "public", "name": "It's", "kind": "table", "bytes": 8192, "rows": 7}]`},
		hosttest.Call{Do: "query select coalesce(l.pid, 0) as pid…", Out: `[{"pid": 7, "user": "anna", "mode": "ShareLock", "state": "active", "seconds": 3}]`},
		// Its size waits for a lock, and is left out then.
		hosttest.Call{Do: `query with recursive part as ( select to_regclass('s.gone')::oid…`, Err: &host.SQLError{Code: "55P03"}},
		hosttest.Call{Do: `query with recursive part as ( select to_regclass('s.gone')::oid…`, Out: `[]`},
		hosttest.Call{Do: "close"})
	s, err := h.SQL(t.Context(), host.Database{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := live.Relations(t.Context(), s, script)
	if err != nil {
		t.Fatal(err)
	}
	want := []live.Relation{
		{As: ddl.Name{Name: "It's"}, Schema: "public", Name: "It's", Exists: true, Kind: "table", Bytes: 8192, Rows: 7,
			Holders: []live.Holder{{PID: 7, User: "anna", Mode: "ShareLock", State: "active", Seconds: 3}}},
		{As: ddl.Name{Schema: "s", Name: "gone", Optional: true}, Schema: "s", Name: "gone", Rows: -1, Holders: []live.Holder{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
