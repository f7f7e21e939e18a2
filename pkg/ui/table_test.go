package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

func status() ([]string, [][]Cell) {
	rows := [][]Cell{
		Row("pg1", "primary", "running", "3", "", "-", "0 B"),
		Row("pg2", "standby", "streaming", "3", "pg1", "pg2 active", "1.20 GB"),
		Row("größe-表", "standby", "", "12", "pg1"),
		{},
	}
	rows[0][2].Style = Good
	rows[1][6].Style = Bad
	return []string{"HOST", "ROLE", "STATE", "TL", "UPSTREAM", "SLOT", "LAG"}, rows
}

func table(t *testing.T, o TableOptions) string {
	t.Helper()
	header, rows := status()
	var b bytes.Buffer
	if err := Table(&b, header, rows, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTableIsAlignedByWidthOfText(t *testing.T) {
	t.Parallel()
	want := `HOST      ROLE     STATE      TL  UPSTREAM  SLOT            LAG
pg1       primary  running     3  -         -               0 B
pg2       standby  streaming   3  pg1       pg2 active  1.20 GB
größe-表  standby  -          12  pg1       -                 -
-         -        -           -  -         -                 -
`
	if d := cmp.Diff(want, table(t, TableOptions{Right: []int{3, 6}})); d != "" {
		t.Error(d)
	}
}

func TestColoursDoNotMoveColumns(t *testing.T) {
	t.Parallel()
	for _, width := range []int{0, 30, 50} {
		plain := table(t, TableOptions{Right: []int{3, 6}, Width: width})
		colored := table(t, TableOptions{Right: []int{3, 6}, Width: width, Color: true})
		if plain == colored {
			t.Error("no colours")
		}
		if d := cmp.Diff(plain, uncolored(colored)); d != "" {
			t.Errorf("width %d: %s", width, d)
		}
	}
}

func TestTableFitsItsWidth(t *testing.T) {
	t.Parallel()
	for width := 1; width < 80; width++ {
		for _, right := range [][]int{nil, {0, 1, 2, 3, 4, 5, 6}} {
			for _, l := range lines(table(t, TableOptions{Width: width, Right: right})) {
				if n := columns(l[:len(l)-1]); n > width {
					t.Fatalf("width %d: %q has %d", width, l, n)
				}
			}
		}
	}
	want := "HOST      ROLE     STATE\npg1       primary  running\npg2       standby  streami…\ngröße-表  standby  -\n-         -        -\n"
	if d := cmp.Diff(want, table(t, TableOptions{Width: 27})); d != "" {
		t.Error(d)
	}
}

func TestTableWithoutHeaderAndWithCellsFromHosts(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Table(&b, nil, [][]Cell{Row("a\nb", "\x1b[2J"), Row("c", "d", "e")}, TableOptions{}); err != nil {
		t.Fatal(err)
	}
	if want := "a b  �[2J  -\nc    d     e\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}

type document struct {
	Zebra    string            `json:"zebra"`
	Apple    int               `json:"apple"`
	Strings  []string          `json:"strings"`
	Map      map[string]any    `json:"map"`
	Empty    []string          `json:"empty"`
	None     *int              `json:"none"`
	Omitted  string            `json:"omitted,omitempty"`
	Password secret.Value      `json:"password"`
	Nested   map[string]nested `json:"nested"`
}

type nested struct {
	LSN  string  `json:"lsn"`
	Big  int64   `json:"big"`
	Lag  float64 `json:"lag"`
	Text string  `json:"text"`
}

func example() document {
	return document{
		Zebra: "a <b> & c", Apple: 7,
		Strings:  []string{"15", "1.0", "true", "on", "null", "~", "", "0640", "1e3", "2026-01-02", "- x", "a: b", "#c", "表", " lead", "*x", "@y", "yes", "0x1F", "12:30:45", "<<", "="},
		Map:      map[string]any{"b": 1, "a": []any{}, "15": "x", "no": map[string]any{}},
		Empty:    []string{},
		Password: secret.New("hunter2"),
		Nested: map[string]nested{
			"pg2": {"0/3000060", 1 << 60, 0.25, "one\ntwo\n"},
			"pg1": {"16/B374D848", -1, 1e21, "tab\there, bell\a, \u0085 and \u2028"},
		},
	}
}

func TestJSONAndYAMLAreTheSameDocument(t *testing.T) {
	t.Parallel()
	for name, encode := range map[string]func(*bytes.Buffer) error{
		"document.json": func(b *bytes.Buffer) error { return JSON(b, example()) },
		"document.yaml": func(b *bytes.Buffer) error { return YAML(b, example()) },
	} {
		var first string
		for i := range 20 {
			var b bytes.Buffer
			if err := encode(&b); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = b.String()
			} else if b.String() != first {
				t.Fatalf("%s differs from time to time", name)
			}
		}
		golden(t, name, first)
	}
}

func TestYAMLReadsBackAsWhatJSONSays(t *testing.T) {
	t.Parallel()
	var asJSON, asYAML bytes.Buffer
	if err := JSON(&asJSON, example()); err != nil {
		t.Fatal(err)
	}
	if err := YAML(&asYAML, example()); err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(asJSON.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Load(asYAML.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	// JSON has one kind of number.
	numbers := cmp.FilterValues(func(a, b any) bool { return reflect.TypeOf(a) != reflect.TypeOf(b) },
		cmp.Comparer(func(a, b any) bool { return fmt.Sprint(float(a)) == fmt.Sprint(float(b)) }))
	if d := cmp.Diff(want, got, numbers); d != "" {
		t.Error(d)
	}
}

func float(v any) any {
	if n, ok := v.(int); ok {
		return float64(n)
	}
	return v
}

func FuzzYAMLKeepsStrings(f *testing.F) {
	for _, s := range example().Strings {
		f.Add(s)
	}
	f.Add("tab\there, bell\a, \u0085 and \u2028 \ufeff")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return // encoding/json replaces what is no UTF-8
		}
		var b bytes.Buffer
		if err := YAML(&b, map[string]string{s: s}); err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := yaml.Load(b.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v in %q", s, err, b.String())
		}
		if got[s] != s {
			t.Errorf("%q reads back as %q from %q", s, got, b.String())
		}
	})
}
