package hba

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serverFile is a whole pg_hba.conf and what a PostgreSQL 15 server said of it
// in pg_hba_file_rules.
type serverFile struct {
	File   string       `json:"file"`
	Base64 bool         `json:"base64"`
	Rules  []serverRule `json:"rules"`
}

type serverRule struct {
	Line     int      `json:"line"`
	Type     string   `json:"type"`
	Database []string `json:"database"`
	User     []string `json:"user"`
	Address  string   `json:"address"`
	Netmask  string   `json:"netmask"`
	Method   string   `json:"method"`
	Error    string   `json:"error"`
	// Unknown is an error that depends on the build or on an option.
	Unknown string `json:"unknown"`
}

func TestEveryFileIsReadAsTheServerReadsIt(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/server-15-files.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()

	n := 0
	for in := bufio.NewScanner(f); in.Scan(); n++ {
		var server serverFile
		if err := json.Unmarshal(in.Bytes(), &server); err != nil {
			t.Fatal(err)
		}
		text := []byte(server.File)
		if server.Base64 {
			if text, err = base64.StdEncoding.DecodeString(server.File); err != nil {
				t.Fatal(err)
			}
		}
		compareWithServer(t, text, server.Rules)
	}
	if n < 500 {
		t.Fatalf("only %d files were compared", n)
	}
}

func compareWithServer(t *testing.T, text []byte, server []serverRule) {
	t.Helper()
	file := Parse(text)
	got := map[int]string{}
	for _, r := range file.Rules() {
		got[r.Line] = describe(r)
	}
	for _, e := range file.Errors() {
		got[e.Line] = "error"
	}
	want := map[int]string{}
	for _, s := range server {
		switch {
		case s.Unknown != "":
			if got[s.Line] == "" {
				t.Errorf("%q: line %d is not seen", text, s.Line)
			}
			delete(got, s.Line)
		case s.Error != "":
			want[s.Line] = "error"
		default:
			want[s.Line] = describe(Rule{
				Type: s.Type, Databases: words(s.Database), Users: words(s.User),
				Address: s.Address, Mask: s.Netmask, Method: s.Method,
			})
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q: server (-), this package (+):\n%s", text, diff)
	}
}

// describe spells what the server's view shows: neither quotes nor the
// difference between a prefix length and a mask.
func describe(r Rule) string {
	address := addressToken(r.Address).Value
	if n, ok := networkOf(r); ok {
		address = fmt.Sprintf("%v/%v", n.ip, n.mask)
	}
	if r.Type == "local" && r.Method == "ident" {
		r.Method = "peer"
	}
	return fmt.Sprintf("%s %q %q %s %s", r.Type, values(r.Databases), values(r.Users), address, r.Method)
}

func words(names []string) []Token {
	var all []Token
	for _, n := range names {
		all = append(all, Token{Value: n})
	}
	return all
}

func values(tokens []Token) []string {
	var all []string
	for _, t := range tokens {
		all = append(all, t.Value)
	}
	return all
}
