package postgres

import (
	"strings"
	"testing"
)

func TestNamesInTracesAreQuoted(t *testing.T) {
	t.Parallel()
	for _, f := range []func(string) (string, error){
		RelationNamed, TypeNamed,
		func(s string) (string, error) { return IndexOn(16400, s) },
		func(s string) (string, error) { return ValueOf(16400, s) },
	} {
		if q, err := f("It's"); err != nil || !strings.Contains(q, "'It''s'") {
			t.Errorf("%s, %v", q, err)
		}
		if q, err := f("a\x00"); err == nil {
			t.Errorf("%s", q)
		}
	}
}

func TestAPendingDetachIsKnownSince14(t *testing.T) {
	t.Parallel()
	const column = "inhdetachpending"
	if q := MakeVersion(13).PartitionOf(1, 2); strings.Contains(q, column) {
		t.Error(q)
	}
	if q := MakeVersion(14).PartitionOf(1, 2); !strings.Contains(q, "not "+column+" as whole") || !strings.HasSuffix(q, "inhparent = 1 and inhrelid = 2") {
		t.Error(q)
	}
}
