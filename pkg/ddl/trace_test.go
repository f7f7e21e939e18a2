package ddl

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestWhereAStatementOfItsOwnIsSeenInTheCatalogs(t *testing.T) {
	t.Parallel()
	items, p := Name{Schema: "s", Name: "items"}, Name{Name: "P"}
	for sql, want := range map[string]Trace{
		"create unique index concurrently if not exists i on only s.items (a)": {Kind: IndexMade, Name: Name{Schema: "s", Name: "i"}, Of: items},
		`CREATE INDEX CONCURRENTLY "I" ON "P" (a)`:                             {Kind: IndexMade, Name: Name{Name: "I"}, Of: p},
		"drop index concurrently if exists s.items":                            {Kind: IndexDropped, Name: items},
		"drop index concurrently a, b":                                         {},
		`alter table if exists "P" detach partition s.items concurrently`:      {Kind: PartitionDetached, Name: items, Of: p},
		"reindex table concurrently s.items":                                   {},
		"vacuum (truncate false) items":                                        {},
		"call work()":                                                          {},
		"create index concurrently i on t (a); vacuum t":                       {},
		"": {},
	} {
		if got, err := TraceOf(sql, postgres.MakeVersion(15)); err != nil || got != want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", sql, got, err, want)
		}
	}
	mood := Name{Schema: "s", Name: "mood"}
	for sql, want := range map[string]Trace{
		"alter type s.mood add value if not exists 'it''s' before 'sad'": {Kind: ValueAdded, Of: mood, Value: "it's"},
		`alter type s.mood add value E'a\\b\''''`:                        {Kind: ValueAdded, Of: mood, Value: `a\b''`},
		`alter type s.mood add value e'\t\q' after 'sad'`:                {Kind: ValueAdded, Of: mood, Value: "\tq"},
		`alter type s.mood add value $$it's$$`:                           {Kind: ValueAdded, Of: mood, Value: "it's"},
		`alter type s.mood add value $v$a$$\n$v$ before 'sad'`:           {Kind: ValueAdded, Of: mood, Value: `a$$\n`},
	} {
		if got, err := TraceOf(sql, postgres.MakeVersion(11)); err != nil || got != want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", sql, got, err, want)
		}
	}
}

func TestAnIndexThatIsMadeConcurrentlyHasAName(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{"create index concurrently on t (a)", "CREATE UNIQUE INDEX CONCURRENTLY ON ONLY t (a)"} {
		_, err := Parse("x.sql", []byte("create table u (a int);\n  "+sql), postgres.MakeVersion(15))
		if fault.ClassOf(err) != fault.Invalid || !strings.Contains(err.Error(), "x.sql:2:3: CREATE INDEX CONCURRENTLY without a name") || !strings.Contains(err.Error(), "give the index a name") {
			t.Errorf("%s: %v", sql, err)
		}
		if _, err := TraceOf(sql, postgres.MakeVersion(15)); err == nil {
			t.Errorf("%s: no error", sql)
		}
	}
	if got := classes(t, "create index on t (a)"); got != "0" { // it is in a transaction
		t.Errorf("got %s", got)
	}
}

func TestAValueThatIsNotReadIsToBeWrittenAsAPlainString(t *testing.T) {
	t.Parallel()
	for _, value := range []string{`E'\x61'`, `E'\141'`, `E'\u00e9'`, `E'\U000000e9'`, "E'a'\n'b'", "'a'\n'b'", `U&'\0061'`} {
		sql := "alter type mood add value " + value
		_, err := Parse("x.sql", []byte(sql), postgres.MakeVersion(11))
		if fault.ClassOf(err) != fault.Invalid || !strings.Contains(err.Error(), "x.sql:1:1: ALTER TYPE … ADD VALUE with a string that is not read") || !strings.Contains(err.Error(), "write it as a plain string") {
			t.Errorf("%s: %v", sql, err)
		}
		var traceless *Traceless
		if _, err := TraceOf(sql, postgres.MakeVersion(11)); !errors.As(err, &traceless) {
			t.Errorf("%s: got %v", sql, err)
		}
		// From 12 on it is in a transaction.
		if _, err := Parse("x.sql", []byte(sql), postgres.MakeVersion(12)); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, value := range []string{"'", "'a", "'a''", "E'", `E'\`, `E'\'`, "$$", "$v$a"} {
		_, err := Parse("x.sql", []byte("alter type mood add value "+value), postgres.MakeVersion(11))
		if err == nil || !strings.Contains(err.Error(), "is not closed") {
			t.Errorf("%s: got %v", value, err)
		}
	}
}
