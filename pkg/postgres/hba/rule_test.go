package hba

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func name(t testing.TB, s string) Token {
	t.Helper()
	n, err := Name(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFormatQuotesWhatWouldMeanSomethingElse(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"replicator":  "replicator",
		"all":         `"all"`,
		"replication": `"replication"`,
		"sameuser":    `"sameuser"`,
		"+g":          `"+g"`,
		"@f":          `"@f"`,
		"a b":         `"a b"`,
		"a,b":         `"a,b"`,
		"a#b":         `"a#b"`,
		`a"b`:         `"a""b"`,
		`"`:           `""""`,
		`a\`:          `"a\"`,
		"a\tb":        "\"a\tb\"",
		"ä":           "ä",
		"All":         "All",
		"include":     "include",
	} {
		r := Rule{Type: "local", Databases: []Token{{Value: "all"}}, Users: []Token{name(t, user)}, Method: "md5"}
		got, err := format(r, "")
		if err != nil || strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields("local all "+want+" md5"), " ") {
			t.Errorf("%q: %s, %v", user, got, err)
		}
		back := Parse([]byte(got)).Rules()
		if len(back) != 1 || back[0].Users[0].Value != user || !isRole(back[0].Users[0]) {
			t.Errorf("%q came back as %+v", user, back)
		}
	}
}

func TestFormatKeepsTheMeaningOfSpecialWords(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`host    all,sameuser,"all" +g,"+g"         all                     md5`,
		`host    @f              +"my g"         samenet                 md5`,
		`host    "@f"            "/^a b"         "samenet"               md5`,
		`host    /^a             all             10.0.0.0 255.0.0.0      md5`,
		`hostssl all             all             .example.org            cert map=x "clientname=a b"`,
		`hostnogssenc all        all             ::1/128                 reject`,
		`local   all             all             peer`,
	} {
		want := strings.Join(strings.Fields(text), " ")
		got, err := format(rule(t, text), "")
		if err != nil || strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("%s, %v; not %s", got, err, want)
		}
	}
}

func TestFormatRefusesWhatTheServerWouldNotReadBack(t *testing.T) {
	t.Parallel()
	good := func() Rule {
		return Rule{
			Type: "hostssl", Databases: []Token{{Value: "replication"}}, Users: []Token{{Value: "r"}},
			Address: "10.0.0.1/32", Method: "scram-sha-256",
		}
	}
	if _, err := format(good(), ""); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Rule){
		"newline in a user":            func(r *Rule) { r.Users[0].Value = "a\nlocal all all trust" },
		"return in a user":             func(r *Rule) { r.Users[0].Value = "a\rb" },
		"NUL in a database":            func(r *Rule) { r.Databases[0].Value = "a\x00" },
		"newline in an address":        func(r *Rule) { r.Address = "all\n" },
		"newline in a method":          func(r *Rule) { r.Method = "trust\n" },
		"newline in an option":         func(r *Rule) { r.Options = []string{"map=a\nb"} },
		"newline in a mask":            func(r *Rule) { r.Address, r.Mask = "10.0.0.0", "255.0.0.0\n" },
		"no database":                  func(r *Rule) { r.Databases = nil },
		"no user":                      func(r *Rule) { r.Users = nil },
		"no address":                   func(r *Rule) { r.Address = "" },
		"no method":                    func(r *Rule) { r.Method = "" },
		"no type":                      func(r *Rule) { r.Type = "" },
		"unknown type":                 func(r *Rule) { r.Type = "hosttls" },
		"type with a comment":          func(r *Rule) { r.Type = "#host" },
		"unknown method":               func(r *Rule) { r.Method = "scram" },
		"peer over TCP":                func(r *Rule) { r.Method = "peer" },
		"cert without TLS":             func(r *Rule) { r.Type, r.Method = "host", "cert" },
		"gss on a socket":              func(r *Rule) { r.Type, r.Address, r.Method = "local", "", "gss" },
		"address of a local record":    func(r *Rule) { r.Type = "local" },
		"address without a mask":       func(r *Rule) { r.Address = "10.0.0.1" },
		"prefix length and mask":       func(r *Rule) { r.Mask = "255.0.0.0" },
		"prefix length of a host name": func(r *Rule) { r.Address = "db1/24" },
		"prefix length too long":       func(r *Rule) { r.Address = "10.0.0.1/33" },
		"mask of another family":       func(r *Rule) { r.Address, r.Mask = "10.0.0.1", "ffff::" },
		"mask of a host name":          func(r *Rule) { r.Address, r.Mask = "db1", "255.0.0.0" },
		"address that is a list":       func(r *Rule) { r.Address = "10.0.0.1/32,10.0.0.2/32" },
		"address with a second column": func(r *Rule) { r.Address = "all trust" },
		"option without a value":       func(r *Rule) { r.Options = []string{"map"} },
		"method with an option":        func(r *Rule) { r.Method = "trust map=x" },
		"comment as a method":          func(r *Rule) { r.Method = "trust#" },
	} {
		r := good()
		change(&r)
		if got, err := format(r, ""); err == nil {
			t.Errorf("%s: %q", what, got)
		}
		f := Parse([]byte("# x\n"))
		if _, changed, err := f.Ensure(r, ""); err == nil || changed || string(f.Bytes()) != "# x\n" {
			t.Errorf("%s: Ensure wrote %q (%v)", what, f.Bytes(), err)
		}
	}
	for _, comment := range []string{"a\nlocal all all trust", "a\r", "a\x00", `a\`} {
		f := Parse(nil)
		if _, changed, err := f.Ensure(good(), comment); err == nil || changed || len(f.Bytes()) != 0 {
			t.Errorf("comment %q: %q (%v)", comment, f.Bytes(), err)
		}
	}
}

func TestNameRefusesWhatHasNoSpelling(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "/a", "a\nb", "a\rb", "a\x00", strings.Repeat("x", 64)} {
		if n, err := Name(s); err == nil {
			t.Errorf("Name(%q) = %v", s, n)
		}
	}
}

func TestRulesOfTheDebianFile(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/debian-15.conf")
	if err != nil {
		t.Fatal(err)
	}
	all, repl := []Token{{Value: "all"}}, []Token{{Value: "replication"}}
	want := []Rule{
		{Type: "local", Databases: all, Users: []Token{{Value: "postgres"}}, Method: "peer", Line: 90},
		{Type: "local", Databases: all, Users: all, Method: "peer", Line: 95},
		{Type: "host", Databases: all, Users: all, Address: "127.0.0.1/32", Method: "scram-sha-256", Line: 97},
		{Type: "host", Databases: all, Users: all, Address: "::1/128", Method: "scram-sha-256", Line: 99},
		{Type: "local", Databases: repl, Users: all, Method: "peer", Line: 102},
		{Type: "host", Databases: repl, Users: all, Address: "127.0.0.1/32", Method: "scram-sha-256", Line: 103},
		{Type: "host", Databases: repl, Users: all, Address: "::1/128", Method: "scram-sha-256", Line: 104},
	}
	if diff := cmp.Diff(want, Parse(b).Rules()); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsAndIncludesHaveTheirFirstLine(t *testing.T) {
	t.Parallel()
	f := Parse([]byte("# a \\\n b\ninclude \"x y.conf\"\n\nlocal all \\\n all\n\"include_dir\" d # c\ninclude a b\r\nlocal all all peer\n"))
	wantErrors := []LineError{
		{5, "local all  all", "end-of-line before authentication method"},
		{8, "include a b", `invalid connection type "include"`},
	}
	if diff := cmp.Diff(wantErrors, f.Errors()); diff != "" {
		t.Error(diff)
	}
	wantIncludes := []Include{{"include", "x y.conf", 3}, {"include_dir", "d", 7}}
	if diff := cmp.Diff(wantIncludes, f.Includes()); diff != "" {
		t.Error(diff)
	}
	if got := f.Rules(); len(got) != 1 || got[0].Line != 9 {
		t.Errorf("%+v", got)
	}
	if got, want := f.Errors()[0].Error(), `line 5: end-of-line before authentication method: "local all  all"`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
