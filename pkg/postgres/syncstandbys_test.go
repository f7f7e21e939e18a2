package postgres

import (
	"slices"
	"strings"
	"testing"
)

func TestSyncStandbysWithoutOneName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ value, without, want string }{
		{"pg2", "pg2", ""},
		{"PG2", "pg2", ""},
		{`"pg2"`, "PG2", ""},
		{"pg2, pg3", "pg2", "pg3"},
		{"pg3 ,\tpg2", "pg2", "pg3"},
		{"FIRST 2 (pg2, pg3, pg4)", "pg3", "FIRST 2 (pg2, pg4)"},
		{"any 1 (pg2,pg3)", "pg2", "any 1 (pg3)"},
		{"2(pg2,pg3)", "pg4", "2 (pg2, pg3)"},
		{`ANY 1 ("pg 2", "a""b", 10)`, "pg 2", `ANY 1 ("a""b", 10)`},
		{"*", "pg2", "*"},
		{"10, pg2", "10", "pg2"},
		{"any, pg2", "any", "pg2"},
		{"pg2, pg2", "pg2", ""},
		{"", "pg2", ""},
		{"  ", "pg2", ""},
	} {
		s, err := ParseSyncStandbys(c.value)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := s.Without(c.without).String(); got != c.want {
			t.Errorf("%q without %s: %q, want %q", c.value, c.without, got, c.want)
		}
	}
}

func TestSyncStandbysAreReadAsTheServerDoes(t *testing.T) {
	t.Parallel()
	s, err := ParseSyncStandbys(` ANY 2 ( "Pg2" , *, s$1 ) `)
	if err != nil || !s.Any || s.Num != 2 || strings.Join(s.Names, "|") != "Pg2|*|s$1" {
		t.Errorf("%+v, %v", s, err)
	}
	if !s.Match("anything") || s.Lists("anything") || !s.Lists("PG2") {
		t.Error("names are matched in another way")
	}
	if s, err := ParseSyncStandbys("pg2"); err != nil || s.Num != 1 || s.Match("pg3") || !s.Match("pg2") {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"pg2,", ",", "pg2 pg3", "2 (pg2", "ANY 2", "FIRST 0 (pg2)", `"pg2`, "1 ()", "pg-2", "ANY pg2", "(pg2)", "1 (pg2) x"} {
		if s, err := ParseSyncStandbys(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
}

func TestSyncStandbysAreWrittenInTheWordsOfTheVersion(t *testing.T) {
	t.Parallel()
	names := []string{"pg2", "pg-3", "any", "4", "Pg5"}
	text := MakeVersion(15, 4).SyncStandbys(true, 2, names).String()
	if want := `ANY 2 (pg2, "pg-3", "any", "4", "Pg5")`; text != want {
		t.Errorf("%s, want %s", text, want)
	}
	back, err := ParseSyncStandbys(text)
	if err != nil || !back.Any || back.Num != 2 || !slices.Equal(back.Names, names) {
		t.Errorf("%+v, %v", back, err)
	}
	for version, want := range map[string]string{"10": "FIRST 1 (pg2, pg3)", "9.6": "1 (pg2, pg3)", "9.5": "pg2, pg3", "9.4": "pg2, pg3"} {
		v, err := ParseVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		got := v.SyncStandbys(false, 1, []string{"pg2", "pg3"}).String()
		if back, err := ParseSyncStandbys(got); got != want || err != nil || back.Num != 1 || !slices.Equal(back.Names, []string{"pg2", "pg3"}) {
			t.Errorf("%s: %s, want %s; %+v, %v", version, got, want, back, err)
		}
	}
}
