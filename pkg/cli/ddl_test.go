package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// TestExampleChangesPassTheCheck: none of the examples keeps readers waiting for more than
// a moment, and only the last deploy is not backward compatible.
func TestExampleChangesPassTheCheck(t *testing.T) {
	t.Parallel()
	for _, file := range files(t, "../../examples/ddl/*.sql") {
		for _, pg := range []string{"10", "11", "15", "18"} {
			code, out, errs := call(t, "ddl", "check", file, "--pg", pg, "-o", "json")
			if code != 0 || errs != "" {
				t.Errorf("%s on %s: exit code %d, %s", file, pg, code, errs)
				continue
			}
			var r ddlReport
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
			for _, st := range r.Statements {
				if st.Class > ddl.Lock {
					t.Errorf("%s:%d on %s: class %s", file, st.Line, pg, st.Class)
				}
				for _, w := range st.Warnings {
					last := strings.Contains(file, "contract") && (w.ID == "not-backward-compatible" || w.ID == "data-loss")
					if w.ID != "prepared-statements" && !last {
						t.Errorf("%s:%d on %s: %s", file, st.Line, pg, w.ID)
					}
				}
			}
		}
	}
}

// TestWhatThePrimarySaysOfARelationCounts: that a table has partitions no statement tells, and
// a rollout would notice it when the readers are moved.
func TestWhatThePrimarySaysOfARelationCounts(t *testing.T) {
	t.Parallel()
	calls := []hosttest.Call{{Do: "connect"}, {Do: "query select current_setting('server_version_num')::int as version", Out: `[{"version": 150004}]`}, {Do: "exec set lock_timeout = '2s'"}}
	for _, rel := range []struct{ name, kind string }{{"events", "partitioned table"}, {"events_id", "partitioned index"}, {"items", "table"}} {
		calls = append(calls, hosttest.Call{Do: "query with recursive part as ( select to_regclass('" + rel.name + "')::oid…", Out: `[{"schema": "public", "name": "` + rel.name + `", "kind": "` + rel.kind + `"}]`},
			hosttest.Call{Do: "query select coalesce(l.pid, 0) as pid…", Out: "[]"})
	}
	h := hosttest.NewScript(t, "pg1", hosttest.NewFS("/tmp"), append(calls, hosttest.Call{Do: "close"})...)
	sql, err := h.SQL(t.Context(), host.Database{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := askDDL(t.Context(), sql, ddlCheck{file: "x.sql"}, []byte("REINDEX TABLE events; REINDEX INDEX events_id; REINDEX TABLE items; CLUSTER events; ALTER INDEX items RENAME TO old"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, false, true, false, true} {
		if got := r.Statements[i].Transactional; got != want {
			t.Errorf("%s: in a transaction %v, want %v", r.Statements[i].Text, got, want)
		}
	}
	if got := r.Statements[4]; got.Class != ddl.Lock {
		t.Errorf("%s, of a table: %s", got.Text, got.Class)
	}
	if err := sql.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestEveryWarningIsDocumented: every id that the code has stands in docs/ddl.md.
func TestEveryWarningIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/ddl.md")
	if err != nil {
		t.Fatal(err)
	}
	ids := 0
	for _, file := range files(t, "../ddl/*.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, before := range []string{`warn("`, `ID: "`} {
			for _, after := range strings.Split(string(text), before)[1:] {
				id, _, _ := strings.Cut(after, `"`)
				ids++
				if !strings.Contains(string(doc), "`"+id+"`") {
					t.Errorf("%s: %s is not in docs/ddl.md", file, id)
				}
			}
		}
	}
	if ids < 20 {
		t.Errorf("only %d warnings were found", ids)
	}
}
