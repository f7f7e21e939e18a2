package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

func TestConninfoQuotesWhereLibpqNeedsIt(t *testing.T) {
	t.Parallel()
	got, err := Conninfo([]Param{
		{"host", "10.0.0.11"}, {"port", "5432"}, {"application_name", `a'b\c d`},
		{"sslrootcert", ""}, {"passfile", "/var/lib/postgresql/.pgpass"}, {"options", "-c x=y"},
	})
	want := `host=10.0.0.11 port=5432 application_name='a\'b\\c d' sslrootcert='' passfile=/var/lib/postgresql/.pgpass options='-c x=y'`
	if err != nil || got != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	for _, bad := range []Param{{"", "x"}, {"a b", "x"}, {"a=b", "x"}, {"host", "a\x00"}} {
		if s, err := Conninfo([]Param{bad}); err == nil {
			t.Errorf("%v gives %s", bad, s)
		}
	}
}

func TestConninfoIsReadAsLibpqReadsIt(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]Param{
		"":                                   nil,
		" \t\n":                              nil,
		"host=a port=1":                      {{"host", "a"}, {"port", "1"}},
		" host = a\tport='1' ":               {{"host", "a"}, {"port", "1"}},
		`password='a\'b\\c d'`:               {{"password", `a'b\c d`}},
		`password=a\ b\'c`:                   {{"password", "a b'c"}},
		`password=ab'c'`:                     {{"password", "ab'c'"}},
		`host='a'port=1`:                     {{"host", "a"}, {"port", "1"}},
		"host= port=1":                       {{"host", "port=1"}},
		"host=":                              {{"host", ""}},
		`host=a\`:                            {{"host", "a"}},
		"user=u user=v":                      {{"user", "u"}, {"user", "v"}},
		"application_name='' sslmode=prefer": {{"application_name", ""}, {"sslmode", "prefer"}},
	} {
		got, err := ParseConninfo(in)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", in, err, d)
		}
	}
}

func TestConninfoErrorsNameNoValue(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"host", "host hidden", "=hidden", "password='hidden", "password=hidden ' x", "a\x00hidden", "Host=hidden"} {
		got, err := ParseConninfo(in)
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"postgres://u:hidden@h/d", "postgresql://h"} {
		if _, err := ParseConninfo(in); !errors.Is(err, ErrURI) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestPassfileLineEscapes(t *testing.T) {
	t.Parallel()
	l, err := PassfileLine("::1", 5432, "replication", "rep", secret.New(`a:b\c`))
	if want := `\:\:1:5432:replication:rep:a\:b\\c` + "\n"; err != nil || l.Reveal() != want {
		t.Errorf("%q, %v; want %q", l.Reveal(), err, want)
	}
	l, err = PassfileLine("*", 0, "*", "rep", secret.New("x"))
	if want := "*:*:*:rep:x\n"; err != nil || l.Reveal() != want {
		t.Errorf("%q, %v; want %q", l.Reveal(), err, want)
	}
}

func TestPassfileLineRefusesWhatLibpqWouldMisread(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() (secret.Value, error){
		"no password":       func() (secret.Value, error) { return PassfileLine("h", 1, "d", "u", secret.Value{}) },
		"newline":           func() (secret.Value, error) { return PassfileLine("h", 1, "d", "u", secret.New("hid\nden")) },
		"return at end":     func() (secret.Value, error) { return PassfileLine("h", 1, "d", "u", secret.New("hidden\r")) },
		"empty host":        func() (secret.Value, error) { return PassfileLine("", 1, "d", "u", secret.New("hidden")) },
		"comment":           func() (secret.Value, error) { return PassfileLine("#h", 1, "d", "u", secret.New("hidden")) },
		"newline in a user": func() (secret.Value, error) { return PassfileLine("h", 1, "d", "u\nv", secret.New("hidden")) },
	} {
		if l, err := f(); err == nil || !l.IsZero() || strings.Contains(err.Error(), "hid") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzConninfoRoundTrip(f *testing.F) {
	f.Add("application_name", `a'b\c d`, "x=y")
	f.Add("host", "", " ")
	f.Add("p", "\n", `\`)
	f.Fuzz(func(t *testing.T, key, a, b string) {
		in := []Param{{key, a}, {"user", b}}
		s, err := Conninfo(in)
		if err != nil {
			return
		}
		got, err := ParseConninfo(s)
		if d := cmp.Diff(in, got); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", s, err, d)
		}
	})
}

func FuzzParseConninfo(f *testing.F) {
	f.Add(`host=a password='x\'y' port`)
	f.Add(`a=\`)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseConninfo(s)
		if err != nil {
			return
		}
		again, err := Conninfo(p)
		if err != nil {
			t.Fatalf("%q reads as %v, which cannot be written: %v", s, p, err)
		}
		q, err := ParseConninfo(again)
		if d := cmp.Diff(p, q); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", s, err, d)
		}
	})
}
