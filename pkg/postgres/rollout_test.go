package postgres

import (
	"strings"
	"testing"
)

func TestWhatIsLockedBesideATableIsAskedForWhereItMayBe(t *testing.T) {
	t.Parallel()
	const foreignKeys, defaults = "c.contype = 'f'", "pg_partitioned_table"
	for _, c := range []struct {
		major int
		list  []Locking
		has   []string
		hasNo []string
	}{
		{15, []Locking{{Names: []string{"items"}, Lone: true}}, nil, []string{foreignKeys, defaults}},
		{15, []Locking{{Names: []string{"items"}, Lone: true}, {}}, nil, []string{foreignKeys, defaults}},
		{15, []Locking{{Names: []string{"items"}, Lone: true}, {Names: []string{"It's"}}}, []string{foreignKeys, defaults, "select 1 as n, to_regclass('It''s')::oid as oid, false as lone"}, nil},
		{10, []Locking{{Names: []string{"items"}}}, []string{foreignKeys, "i.inhparent::bigint"}, []string{defaults}},
	} {
		q, err := MakeVersion(c.major).MayLock(c.list)
		if err != nil || !strings.HasSuffix(q, " order by 1, 2") {
			t.Errorf("%v: %s, %v", c.list, q, err)
		}
		for _, s := range c.has {
			if !strings.Contains(q, s) {
				t.Errorf("%d %v: no %s in %s", c.major, c.list, s, q)
			}
		}
		for _, s := range c.hasNo {
			if strings.Contains(q, s) {
				t.Errorf("%d %v: %s in %s", c.major, c.list, s, q)
			}
		}
	}
	if q, err := MakeVersion(15).MayLock([]Locking{{}, {Lone: true}}); q != "" || err != nil {
		t.Errorf("of no name: %s, %v", q, err)
	}
	if q, err := MakeVersion(15).MayLock([]Locking{{Names: []string{"a\x00"}}}); err == nil {
		t.Error(q)
	}
}
