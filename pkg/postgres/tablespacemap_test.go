package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTablespaceMapGivesLocationsAsTheyAre(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"": nil,
		"16399 /ts/fast\n16400 /srv/with space\n": {"/ts/fast", "/srv/with space"},
		"1 /a\\\nb\n2 /c\\\\d\n":                  {"/a\nb", "/c\\d"},
		"1 /not\\escaped\n":                       {"/not\\escaped"},
		"1 /last line is not ended":               {"/last line is not ended"},
	} {
		got, err := ParseTablespaceMap(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestTablespaceMapOfAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"x /ts\n", "1\n", "1 \n", "-1 /ts\n", "/ts\n"} {
		if got, err := ParseTablespaceMap(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}
