package postgres

import (
	"strings"
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

func TestMovedTablespacesLeaveTheOthersByteForByte(t *testing.T) {
	t.Parallel()
	move := func(to string) func(string) string {
		return func(at string) string {
			if at == "/ts/a b" {
				return to
			}
			return at
		}
	}
	const text = "16399 /ts/a b\n16400 /odd\\\n\\\\name\n16401 /z\r\n"
	got, err := MoveTablespaces(text, move("/disk2/x"))
	if err != nil || got != strings.Replace(text, "/ts/a b", "/disk2/x", 1) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := MoveTablespaces(text, move("/ts/a b")); err != nil || got != text {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"/a\\b", "/a\nb", "/a\rb"} {
		if _, err := MoveTablespaces(text, move(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
