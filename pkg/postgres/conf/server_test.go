package conf

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// serverLine is one line of a configuration file and what a PostgreSQL 15
// server said of it in pg_file_settings.
type serverLine struct {
	Line     string `json:"line"`
	Base64   bool   `json:"base64"`
	Result   string `json:"result"` // blank, setting or syntax error
	Name     string `json:"name"`
	ValueHex string `json:"value_hex"`
}

func TestEveryLineIsReadAsTheServerReadsIt(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/server-15-lines.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	n := 0
	for in := bufio.NewScanner(f); in.Scan(); n++ {
		var want serverLine
		if err := json.Unmarshal(in.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		text := []byte(want.Line)
		if want.Base64 {
			if text, err = base64.StdEncoding.DecodeString(want.Line); err != nil {
				t.Fatal(err)
			}
		}
		got := Parse(text)
		all, bad := got.all(), got.refused()
		result := "blank"
		switch {
		case len(bad) == 1:
			result = "syntax error"
		case len(all) == 1:
			result = "setting"
		}
		if result != want.Result {
			t.Errorf("%q: %s, the server says %s", text, result, want.Result)
			continue
		}
		if result != "setting" {
			continue
		}
		value, err := hex.DecodeString(want.ValueHex)
		if err != nil {
			t.Fatal(err)
		}
		if all[0].Name != want.Name || all[0].Value != string(value) {
			t.Errorf("%q: %q = %q, the server says %q = %q", text, all[0].Name, all[0].Value, want.Name, value)
		}
	}
	if n < 500 {
		t.Fatalf("only %d lines were compared", n)
	}
}

// serverValue is a value and what pg_settings showed after PostgreSQL 15 was
// given it.
type serverValue struct {
	Parameter string `json:"parameter"`
	Vartype   string `json:"vartype"`
	Unit      string `json:"unit"`
	Value     string `json:"value"`
	Setting   string `json:"setting"`
	Refused   bool   `json:"refused"`
}

func TestEveryValueIsComparedAsTheServerReadsIt(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/server-15-values.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	n := 0
	for in := bufio.NewScanner(f); in.Scan(); n++ {
		var v serverValue
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		k := Kind{v.Vartype, v.Unit}
		number := v.Vartype == "integer" || v.Vartype == "real"
		switch {
		case v.Refused && number:
			if _, err := k.Compare(v.Value, "1"); err == nil {
				t.Errorf("%s = %q: compared, the server refuses it", v.Parameter, v.Value)
			}
		case v.Refused && v.Vartype == "bool":
			if k.Equal(v.Value, "on") || k.Equal(v.Value, "off") {
				t.Errorf("%s = %q: a boolean, the server refuses it", v.Parameter, v.Value)
			}
		case !v.Refused && !k.Equal(v.Value, v.Setting):
			t.Errorf("%s = %q is not %q, which the server makes of it", v.Parameter, v.Value, v.Setting)
		}
	}
	if n < 300 {
		t.Fatalf("only %d values were compared", n)
	}
}
