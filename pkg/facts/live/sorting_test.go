package live

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func sorting(t *testing.T, g *Gatherer) facts.Sorting {
	t.Helper()
	got, err := g.Sorting(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSortingOfAClusterOfLocaleC(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	want := facts.Sorting{Locales: []facts.Locale{{Name: "C", Database: "postgres"}}, Collations: []facts.Collations{}}
	if diff := cmp.Diff(want, sorting(t, g)); diff != "" {
		t.Error(diff)
	}
}

func TestSortingTellsWhatSortsByICU(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	if gather(t, g).Machine.ICU == "" {
		t.Skip("this PostgreSQL has no ICU")
	}
	none := func(what string) {
		t.Helper()
		if sorting(t, g).ICU {
			t.Errorf("%s is taken for what ICU sorts", what)
		}
	}
	g.exec(t, `create table t (a text collate "C", gone text collate "de-x-icu")`, "alter table t drop column gone")
	none("a column of collation C, or one that was dropped,")
	g.exec(t, `create function f(text) returns bool language sql return $1 < 'a' collate "de-x-icu"`)
	none("a function")
	for what, ddl := range map[string][2]string{
		"column":        {`create table u (a text collate "de-x-icu")`, "drop table u"},
		"index":         {`create table u (a text); create index on u (a collate "de-x-icu")`, "drop table u"},
		"partition key": {`create table u (a text) partition by range (a collate "de-x-icu")`, "drop table u"},
		"range":         {`create type r as range (subtype = text, collation = "de-x-icu")`, "drop type r"},
	} {
		g.exec(t, ddl[0])
		if !sorting(t, g).ICU {
			t.Errorf("%s: not seen", what)
		}
		g.exec(t, ddl[1])
		none("a " + what + " that is gone")
	}
}

// Nothing in pg_depend depends on a collation that initdb itself makes.
func TestSortingSeesACollationThatNothingIsSaidToDependOn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	if gather(t, g).Machine.ICU == "" {
		t.Skip("this PostgreSQL has no ICU")
	}
	g.exec(t, `create table t (a text collate "de-x-icu")`,
		`delete from pg_depend where refclassid = 'pg_collation'::regclass and refobjid = (select attcollation from pg_attribute where attrelid = 't'::regclass and attname = 'a')`)
	if !sorting(t, g).ICU {
		t.Error("the column is not seen")
	}
}

func TestSortingTellsThatADatabaseSortsByICU(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if v, err := postgres.ParseVersion(s.major); err != nil || !v.AtLeast(15) {
		t.Skip("no database of PostgreSQL " + s.major + " has a provider")
	}
	s.start()
	g, _ := s.gatherer()
	g.exec(t, "create database i template template0 locale_provider icu icu_locale 'en' locale 'C'")
	if !sorting(t, g).ICU {
		t.Error("not seen")
	}
}

func TestSortingTellsTheDatabasesOfAnotherCollationVersion(t *testing.T) {
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
	got := sorting(t, g).Collations
	if len(got) != 1 || got[0].Actual == "" {
		t.Fatalf("%+v", got)
	}
	got[0].Actual = ""
	if diff := cmp.Diff([]facts.Collations{{Databases: []string{"a", "b"}, Recorded: "1.2"}}, got); diff != "" {
		t.Error(diff)
	}
}

// dropping fails what reads the databases as often as it says, as a server does that
// drops one meanwhile.
type dropping struct {
	host.SQL
	times int
}

func (d *dropping) Query(ctx context.Context, dst any, sql string, args ...any) error {
	if strings.Contains(sql, "datcollate") && d.times > 0 {
		d.times--
		return &host.SQLError{Code: postgres.UndefinedObject, Message: "database with OID 16385 does not exist"}
	}
	return d.SQL.Query(ctx, dst, sql, args...)
}

func TestADatabaseThatIsDroppedMeanwhileFailsNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	own, err := g.SQL(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	d := &dropping{SQL: own, times: 1}
	g.own = d
	if got := sorting(t, g); len(got.Locales) == 0 {
		t.Errorf("%+v", got)
	}
	d.times = 2
	gather(t, g) // asks for none of it
	var refused *host.SQLError
	if _, err := g.Sorting(contextOf(t)); !errors.As(err, &refused) || d.times != 0 {
		t.Errorf("dropped twice: %v", err)
	}
}
