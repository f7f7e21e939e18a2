package ddl

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestProbeCountsWhereItDiffersFromTheTable(t *testing.T) {
	t.Parallel()
	items, part := []Name{{Schema: "public", Name: "items"}}, []Name{{Schema: "public", Name: "items"}, {Schema: "public", Name: "items_default"}}
	for name, c := range map[string]struct {
		sql     string
		p       Probed
		want    Class
		differs bool
		unnamed string
	}{
		"a shorter varchar":        {"ALTER TABLE items ALTER v TYPE text", Probed{Locks: items}, Lock, true, ""},
		"a rewrite":                {"ALTER TABLE items ALTER v TYPE text", Probed{Locks: items, Rewrites: items}, Rewrite, false, ""},
		"an unknown rewrite":       {"ALTER TABLE items ADD c int", Probed{Locks: items, Rewrites: items}, Rewrite, true, ""},
		"no such view":             {"CREATE OR REPLACE VIEW items AS SELECT 1", Probed{}, None, true, ""},
		"a default partition":      {"ALTER TABLE items ALTER v DROP DEFAULT", Probed{Locks: part}, Lock, false, "public.items_default"},
		"a truncation":             {"TRUNCATE items", Probed{Locks: items, Rewrites: items}, Lock, false, ""},
		"not seen outside a block": {"DROP INDEX CONCURRENTLY items", Probed{}, New, false, ""},
		"a rewrite outside of one": {"VACUUM FULL items", Probed{Rewrites: items}, Rewrite, false, ""},
		"not run":                  {"CREATE ROLE r", Probed{Skipped: "shared"}, None, false, ""},
		"refused":                  {"DROP TABLE items", Probed{Error: &ProbeError{Code: "42501"}}, Lock, false, ""},
	} {
		s, err := Parse("x.sql", []byte(c.sql), postgres.MakeVersion(15))
		if err != nil {
			t.Fatal(err)
		}
		was := s.Statements[0].Class
		s.Take([]Probed{c.p})
		st := &s.Statements[0]
		if st.Class != c.want || st.Differs() != c.differs || join(st.Unnamed()) != c.unnamed || st.Probed.Table != was {
			t.Errorf("%s: %s (%s), differs %v, unnamed %s", name, st.Class, st.Why, st.Differs(), join(st.Unnamed()))
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again Script
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		again.Statements[0].Offset = st.Offset
		if diff := cmp.Diff(*s, again); diff != "" {
			t.Errorf("%s: -written +read:\n%s", name, diff)
		}
	}
}

func TestStatementsThatFollowOneAnotherShareATransaction(t *testing.T) {
	t.Parallel()
	s, err := Parse("x.sql", []byte("ANALYZE; ANALYZE; VACUUM; VACUUM; ANALYZE"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]int{{0, 1}, {2}, {3}, {4}}, s.Transactions()); diff != "" {
		t.Error(diff)
	}
}
