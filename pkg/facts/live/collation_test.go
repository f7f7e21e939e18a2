package live

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestGatherTellsThatAColumnSortsByICU(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	if gather(t, g).Machine.ICU == "" {
		t.Skip("this PostgreSQL has no ICU")
	}
	g.exec(t, `create table t (a text collate "C")`)
	if gather(t, g).Server.ICU {
		t.Error("collation C is taken for one of ICU")
	}
	g.exec(t, `create table u (a text)`, `create index on u (a collate "de-x-icu")`)
	if !gather(t, g).Server.ICU {
		t.Error("the index is not seen")
	}
}

func TestGatherTellsTheDatabasesOfAnotherCollationVersion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if v, err := postgres.ParseVersion(s.major); err != nil || !v.AtLeast(15) {
		t.Skip("no database of PostgreSQL " + s.major + " has a collation version")
	}
	s.start()
	g, _ := s.gatherer()
	for _, name := range []string{"b", "a", "c"} {
		g.exec(t, "create database "+name+" template template0 locale_provider icu icu_locale 'en' locale 'C'")
	}
	g.exec(t, "update pg_database set datcollversion = '1.2' where datname in ('a', 'b')")
	got := gather(t, g).Server.Collations
	if len(got) != 1 || got[0].Actual == "" {
		t.Fatalf("%+v", got)
	}
	got[0].Actual = ""
	if diff := cmp.Diff([]facts.Collations{{Databases: []string{"a", "b"}, Recorded: "1.2"}}, got); diff != "" {
		t.Error(diff)
	}
}
