package postgres

import (
	"strings"
	"testing"
)

func TestScratchDatabaseSortsAsTheOtherOneDoes(t *testing.T) {
	t.Parallel()
	const utf8 = `CREATE DATABASE "pgrepctl_scratch_x" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE `
	for want, l := range map[string]Locale{
		utf8 + `'C.UTF-8'`: {Encoding: "UTF8", Collate: "C", CType: "C.UTF-8"},
		utf8 + `'C' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'`:                      {Encoding: "UTF8", Collate: "C", CType: "C", Provider: "i", ICU: "de-DE"},
		utf8 + `'C' LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '& a < ''b'''`: {Encoding: "UTF8", Collate: "C", CType: "C", Provider: "i", Locale: "de", Rules: "& a < 'b'"},
		utf8 + `'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'`:            {Encoding: "UTF8", Collate: "C", CType: "C", Provider: "b", Locale: "C.UTF-8"},
	} {
		got, err := CreateDatabase(ScratchName("x"), l)
		if err != nil || got != want {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
	}
}

func TestScratchNameIsOfTheRunAndFits(t *testing.T) {
	t.Parallel()
	if got := ScratchName("20261122T041002Z-7f3a"); got != "pgrepctl_scratch_20261122t041002z_7f3a" {
		t.Error(got)
	}
	if got := ScratchName(strings.Repeat("r", 200)); len(got) != NameLen {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func TestDroppedDatabaseIsQuoted(t *testing.T) {
	t.Parallel()
	got, err := DropDatabase(`a"b'c`)
	if err != nil || got[0] != `select pg_terminate_backend(pid) from pg_stat_activity where datname = 'a"b''c' and pid <> pg_backend_pid()` || got[1] != `DROP DATABASE IF EXISTS "a""b'c"` {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := DropDatabase("a\x00"); err == nil {
		t.Error("a NUL byte was let through")
	}
}
