package ddl_test

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// TestWhatGoesThroughPartitionsIsRefusedBeforehand: the server would refuse it in a
// transaction block, and do nothing, or little, in a version that does not know it.
func TestWhatGoesThroughPartitionsIsRefusedBeforehand(t *testing.T) {
	t.Parallel()
	pool := ddl.Pool{Serving: []string{"a", "b"}, Balancers: true}
	for name, c := range map[string]struct {
		text  string
		major int
		mode  ddl.Mode
		fails string
	}{
		"a partitioned index":                {"reindex index p", 14, "", "can be in no transaction"},
		"a partitioned table":                {"reindex (verbose) table s.p", 18, "", "can be in no transaction"},
		"concurrently":                       {"reindex table concurrently p", 14, ddl.Directly, ""},
		"before 14":                          {"reindex table p", 13, "", "cannot be rolled out: REINDEX of what is partitioned needs PostgreSQL 14"},
		"concurrently, before 14":            {"reindex index concurrently p", 13, "", "needs PostgreSQL 14"},
		"another table":                      {"reindex table t", 13, ddl.Roll, ""},
		"a cluster of a partitioned table":   {"cluster p using i", 15, "", "can be in no transaction"},
		"the old form":                       {"cluster i on p", 15, "", "can be in no transaction"},
		"a cluster of another table":         {"cluster t using i", 15, ddl.Roll, ""},
		"a cluster, before 15":               {"cluster p using i", 14, "", "needs PostgreSQL 15"},
		"what can be in one all the same":    {"alter table p add column n int", 15, ddl.Roll, ""},
		"beside what can be in one":          {"alter table t add column n int; reindex table p", 15, "", "can be in no transaction"},
		"what locks nobody's reads in there": {"comment on table p is 'x'", 15, ddl.Directly, ""},
	} {
		v := postgres.MakeVersion(c.major)
		s, err := ddl.Parse("change.sql", []byte(c.text), v)
		if err != nil {
			t.Fatal(err)
		}
		s.Partitioned(v, func(n ddl.Name) bool { return n.Name == "p" })
		list := s.Parts()
		r, err := ddl.Choose(list[len(list)-1], ddl.Auto, pool)
		if c.fails == "" && (err != nil || r.Mode != c.mode) || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestAForeignKeyOfAPartitionedTableLocksTheTableThatItNames: where a partition has one
// already. Of which table that is true no statement tells.
func TestAForeignKeyOfAPartitionedTableLocksTheTableThatItNames(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]ddl.Class{
		"ALTER TABLE p ADD FOREIGN KEY (a) REFERENCES o":                        ddl.Lock,
		"ALTER TABLE p VALIDATE CONSTRAINT k, ADD FOREIGN KEY (a) REFERENCES o": ddl.Lock,
		"ALTER TABLE p ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES o":           ddl.Lock,
		"ALTER TABLE p ALTER a TYPE bigint, ADD FOREIGN KEY (a) REFERENCES o":   ddl.Rewrite,
		"ALTER TABLE o ADD FOREIGN KEY (a) REFERENCES p":                        ddl.None,
		"ALTER TABLE p VALIDATE CONSTRAINT k":                                   ddl.None,
		"CREATE TABLE p (a int REFERENCES o)":                                   ddl.None,
	} {
		for _, major := range []int{10, 11, 12, 18} {
			v := postgres.MakeVersion(major)
			s, err := ddl.Parse("change.sql", []byte(sql), v)
			if err != nil {
				t.Fatal(err)
			}
			want := want
			if major < 11 { // an error
				want = s.Statements[0].Class
			}
			s.Partitioned(v, func(n ddl.Name) bool { return n.Name == "p" && !n.Made })
			if got := s.Statements[0]; got.Class != want {
				t.Errorf("%s on %d: %s, %s", sql, major, got.Class, got.Why)
			}
		}
	}
}

func TestAlterIndexOfATableLocksIt(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]ddl.Class{
		"ALTER INDEX items RENAME TO items_old":   ddl.Lock,
		"ALTER INDEX items_a RENAME TO items_b":   ddl.None,
		"ALTER INDEX items SET TABLESPACE x":      ddl.Refuse,
		"ALTER TABLE items VALIDATE CONSTRAINT k": ddl.None,
	} {
		s, err := ddl.Parse("change.sql", []byte(sql), postgres.MakeVersion(15))
		if err != nil {
			t.Fatal(err)
		}
		s.NoIndexes(func(n ddl.Name) bool { return n.Name == "items" })
		if got := s.Statements[0]; got.Class != want {
			t.Errorf("%s: %s, %s", sql, got.Class, got.Why)
		}
	}
}
