package ddl_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func parts(t *testing.T, text string) []ddl.Part {
	t.Helper()
	s, err := ddl.Parse("change.sql", []byte(text), postgres.MakeVersion(15))
	if err != nil {
		t.Fatal(err)
	}
	return s.Parts()
}

func TestStatementsThatFollowEachOtherAreOneTransaction(t *testing.T) {
	t.Parallel()
	got := parts(t, `comment on table a is 'x'; alter table a add column n int;
create index concurrently i on a (n); create index concurrently j on a (n);
alter table a add column m int; alter table b alter column k type bigint;`)
	type part struct {
		N     int
		Class string
		Alone bool
	}
	var have []part
	for _, p := range got {
		have = append(have, part{len(p.Statements), p.Class.String(), p.Alone})
	}
	want := []part{{2, "lock", false}, {1, "none", true}, {1, "none", true}, {2, "rewrite", false}}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if d := cmp.Diff([]string{"comment on table a is 'x'", "alter table a add column n int"}, got[0].Texts()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestTheModeIsTheLightestThatNoReaderNotices(t *testing.T) {
	t.Parallel()
	three := ddl.Pool{Serving: []string{"a", "b", "c"}, Balancers: true}
	one := ddl.Pool{Serving: []string{"a"}, Balancers: true}
	bare := ddl.Pool{Others: []string{"a", "b"}}
	with := func(p ddl.Pool, first int) ddl.Pool { p.First = first; return p }
	const add, rewrite, alone = "alter table t add column n int", "alter table t alter column n type bigint", "create index concurrently i on t (n)"
	for name, c := range map[string]struct {
		text  string
		wish  ddl.Mode
		pool  ddl.Pool
		mode  ddl.Mode
		first string
		then  string
		fails string

		oneByOne bool
	}{
		"nothing to notice":                 {text: "comment on table t is 'x'", pool: three, mode: ddl.Directly},
		"in no transaction":                 {text: alone, pool: three, mode: ddl.Directly},
		"three serve":                       {text: add, pool: three, mode: ddl.Roll, first: "a b", then: "c"},
		"one of three first":                {text: add, pool: with(three, 1), mode: ddl.Roll, first: "a", then: "b c"},
		"a rewrite that is allowed for":     {text: rewrite, pool: three, mode: ddl.Roll, first: "a b", then: "c"},
		"one serves, and the primary":       {text: add, pool: one, mode: ddl.ViaPrimary, then: "a"},
		"one serves, and not the primary":   {text: add, pool: ddl.Pool{Serving: []string{"a"}, Balancers: true, NoPrimary: "lb has no server p"}, mode: ddl.Gate, then: "a"},
		"no balancer":                       {text: add, pool: bare, mode: ddl.Gate, then: "a b"},
		"no standby":                        {text: add, mode: ddl.Gate},
		"a gate that is wanted":             {text: add, wish: ddl.Gate, pool: three, mode: ddl.Gate, then: "a b c"},
		"two at any time, of four":          {text: add, pool: ddl.Pool{Serving: []string{"a", "b", "c", "d"}, Balancers: true, Least: 2}, mode: ddl.Roll, first: "a b", then: "c d"},
		"two at any time, of three":         {text: add, pool: ddl.Pool{Serving: []string{"a", "b", "c"}, Balancers: true, Least: 2}, mode: ddl.Roll, first: "a", then: "b c", oneByOne: true},
		"three at any time, of three":       {text: add, pool: ddl.Pool{Serving: []string{"a", "b", "c"}, Balancers: true, Least: 3}, fails: "3 standbys serve, and without one of them at least 3 must"},
		"two at any time, two of three":     {text: add, pool: ddl.Pool{Serving: []string{"a", "b", "c"}, Balancers: true, Least: 2, First: 2}, fails: "at least 2 have to serve"},
		"two at any time, of one":           {text: add, pool: ddl.Pool{Serving: []string{"a"}, Balancers: true, Least: 2}, fails: "the primary serves alone"},
		"all first":                         {text: add, pool: with(three, 3), fails: "one has to serve"},
		"directly, with a lock":             {text: add, wish: ddl.Directly, pool: three, fails: "locks out readers"},
		"a gate for a rewrite":              {text: rewrite, pool: bare, fails: "written anew"},
		"a roll with one":                   {text: add, wish: ddl.Roll, pool: one, fails: "two standbys"},
		"via a primary that does not serve": {text: add, wish: ddl.ViaPrimary, pool: ddl.Pool{Serving: []string{"a"}, Balancers: true, NoPrimary: "lb has no server p"}, fails: "the primary as a server of the balancer: lb has no server p"},
		"paused for what is alone":          {text: alone, wish: ddl.Roll, pool: three, fails: "in no transaction"},
		"alone, and it locks":               {text: "vacuum full t", pool: three, fails: "in no transaction"},
		"a partition is detached":           {text: "alter table t detach partition p concurrently", pool: three, fails: "without CONCURRENTLY can be rolled out"},
		"the rest of that":                  {text: "alter table t detach partition p finalize", pool: three, mode: ddl.Roll, first: "a b", then: "c"},
		"refused":                           {text: "drop database d", pool: three, fails: "cannot be rolled out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.wish == "" {
				c.wish = ddl.Auto
			}
			r, err := ddl.Choose(parts(t, c.text)[0], c.wish, c.pool)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %+v, %v", r, err)
				}
				return
			}
			if err != nil || r.Mode != c.mode || strings.Join(r.First, " ") != c.first || strings.Join(r.Second, " ") != c.then || r.Why == "" || r.OneByOne != c.oneByOne {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}
