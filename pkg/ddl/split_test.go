package ddl

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestStatementsEndWhereTheServerEndsThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql  string
		want []string
	}{
		"single quotes":            {`COMMENT ON TABLE t IS 'a;''b;'; ANALYZE t`, []string{`COMMENT ON TABLE t IS 'a;''b;'`, `ANALYZE t`}},
		"a backslash in them":      {`COMMENT ON TABLE t IS '\'; ANALYZE t`, []string{`COMMENT ON TABLE t IS '\'`, `ANALYZE t`}},
		"E strings":                {`COMMENT ON TABLE t IS E'a\';b'; ANALYZE t`, []string{`COMMENT ON TABLE t IS E'a\';b'`, `ANALYZE t`}},
		"E strings that go on":     {"COMMENT ON TABLE t IS E'a' -- more\n '\\';b'; ANALYZE t", []string{"COMMENT ON TABLE t IS E'a' -- more\n '\\';b'", `ANALYZE t`}},
		"E strings on one line":    {`COMMENT ON TABLE t IS e'a\\'; ANALYZE t`, []string{`COMMENT ON TABLE t IS e'a\\'`, `ANALYZE t`}},
		"U& strings":               {`COMMENT ON TABLE t IS U&'d\0061;' ; ANALYZE t`, []string{`COMMENT ON TABLE t IS U&'d\0061;'`, `ANALYZE t`}},
		"quoted names":             {`ANALYZE "a;""b;"; ANALYZE t`, []string{`ANALYZE "a;""b;"`, `ANALYZE t`}},
		"dollar quotes":            {`CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_b1$ SELECT '$$;' $_b1$; ANALYZE t`, []string{`CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_b1$ SELECT '$$;' $_b1$`, `ANALYZE t`}},
		"a dollar in a name":       {`ANALYZE a$b$c; ANALYZE t`, []string{`ANALYZE a$b$c`, `ANALYZE t`}},
		"nested comments":          {"/* a; /* b; */ c; */ ANALYZE /* ; */ t -- ; x\n; ANALYZE u;", []string{"ANALYZE /* ; */ t", "ANALYZE u"}},
		"a comment after operator": {"CREATE VIEW v AS SELECT 1 +-- ;\n 2; ANALYZE u", []string{"CREATE VIEW v AS SELECT 1 +-- ;\n 2", "ANALYZE u"}},
		"rules":                    {`CREATE RULE r AS ON INSERT TO t DO ALSO (NOTIFY a; NOTIFY b); ANALYZE t`, []string{`CREATE RULE r AS ON INSERT TO t DO ALSO (NOTIFY a; NOTIFY b)`, `ANALYZE t`}},
		"bodies": {`CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN x.end ELSE 1 END AS case; SELECT 2; END; ANALYZE t`,
			[]string{`CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN x.end ELSE 1 END AS case; SELECT 2; END`, `ANALYZE t`}},
		"a body of a procedure": {"CREATE OR REPLACE PROCEDURE f() BEGIN ATOMIC END; ANALYZE t", []string{"CREATE OR REPLACE PROCEDURE f() BEGIN ATOMIC END", "ANALYZE t"}},
		"no semicolon":          {"ANALYZE t", []string{"ANALYZE t"}},
		"empty statements":      {";;\n ; ANALYZE t;;", []string{"ANALYZE t"}},
		"a byte order mark":     {"\xef\xbb\xbfANALYZE t;", []string{"ANALYZE t"}},
		"Windows line ends":     {"ANALYZE t;\r\nANALYZE u;\r\n", []string{"ANALYZE t", "ANALYZE u"}},
	} {
		s, err := Parse("x.sql", []byte(c.sql), 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, st := range s.Statements {
			got = append(got, st.Text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestPlaceOfAStatementIsThatOfItsFirstWord(t *testing.T) {
	t.Parallel()
	text := "-- héllo\n\n/* a\n */ ANALYZE t; /* ü */ ANALYZE u"
	s, err := Parse("x.sql", []byte(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]int{{4, 5}, {4, 24}} {
		st := s.Statements[i]
		if st.Line != want[0] || st.Column != want[1] {
			t.Errorf("statement %d at %d:%d, want %v", i+1, st.Line, st.Column, want)
		}
		if at := placeOf([]byte(text), st.Offset); at != (place{line: want[0], col: want[1]}) || !strings.HasPrefix(text[st.Offset:], st.Text) {
			t.Errorf("offset of statement %d is that of %+v", i+1, at)
		}
	}
}

func TestWhatIsNoScriptIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string][]string{
		"":                      {"x.sql:1:1: no statement in the file (write at least one schema change, such as ALTER TABLE)"},
		"-- nothing\n;":         {"x.sql:1:1: no statement in the file (write at least one schema change, such as ALTER TABLE)"},
		"ANALYZE t;\n  BEGIN;":  {"x.sql:2:3: BEGIN is no schema change (take it out: the rollout makes the transactions)"},
		"commit":                {"x.sql:1:1: COMMIT is no schema change (take it out: the rollout makes the transactions)"},
		"UPDATE t SET a = 1":    {"x.sql:1:1: UPDATE is no schema change (data is changed by its own session, in batches, after the schema)"},
		"SELECT setval('s', 1)": {"x.sql:1:1: SELECT is no schema change (take it out: a query is no schema change)"},
		"SET search_path = x; RESET ALL": {
			"x.sql:1:1: SET is no schema change (take it out, and write names with their schema; ALTER ROLE … SET is for settings)",
			"x.sql:1:22: RESET is no schema change (take it out, and write names with their schema; ALTER ROLE … SET is for settings)"},
		"DO $$ BEGIN END $$":                        {"x.sql:1:1: DO is no schema change (write out the statements: nobody can see from outside what it would lock)"},
		"COPY t FROM stdin;\n1\t'x\n\\.\nANALYZE t": {"x.sql:1:1: COPY is no schema change (load data by its own session, with psql)"},
		"ANALYZE t;\n\\i other.sql\nANALYZE u;":     {"x.sql:2:1: a psql command: this is not SQL (write the statements themselves into the file; psql does not read it)"},
		"ANALYZE t;\nCOMMENT ON TABLE t IS 'x;\n y": {"x.sql:2:23: this string is not closed before the end of the file"},
		"ANALYZE \"t":                                            {"x.sql:1:9: this quoted name is not closed before the end of the file"},
		"COMMENT ON TABLE t IS $a$ x $b$":                        {"x.sql:1:23: this string $a$ is not closed before the end of the file"},
		"ANALYZE t /* /* */":                                     {"x.sql:1:11: this comment /* is not closed before the end of the file"},
		"ALTER TABLE t ADD CHECK (a > (1);":                      {"x.sql:1:25: this parenthesis is not closed before the end of the statement"},
		"ALTER TABLE t ADD CHECK (a > 1));":                      {"x.sql:1:32: a closing parenthesis that nothing opens"},
		"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;": {"x.sql:1:1: the body of this function, BEGIN ATOMIC, has no END"},
		"ANALYZE U&\"d\\0061t\"":                                 {"x.sql:1:9: a name in Unicode escapes (write the letters themselves)"},
		"ANALYZE t\x00":                                          {"x.sql:1:10: a NUL byte, which no SQL text can have"},
		"-- é\nANALYZE \xfft":                                    {"x.sql:2:9: not UTF-8: byte 0xff (save it as UTF-8)"},
		"\xff\xfeA\x00":                                          {"x.sql:1:1: the file is UTF-16 (save it as UTF-8)"},
		"(SELECT 1)":                                             {"x.sql:1:1: a statement begins with a word such as ALTER"},
		"CREATE ROLE r PASSWORD 'geheim'":                        {`x.sql:1:15: a password in a script (psql's \password asks for it and sends a verifier alone)`},
		"CREATE USER MAPPING FOR r SERVER s OPTIONS (user 'x', password 'geheim')": {`x.sql:1:55: a password in a script (psql's \password asks for it and sends a verifier alone)`},
	} {
		_, err := Parse("x.sql", []byte(sql), 0)
		var problems inventory.Errors
		if !errors.As(err, &problems) || fault.ClassOf(err) != fault.Invalid {
			t.Errorf("%q: got %v", sql, err)
			continue
		}
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got:\n%s", sql, diff)
		}
	}
}

// FuzzSplit: no byte is lost, whatever the file: statements and what stands between them
// are the source.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"ANALYZE t; ANALYZE u", "CREATE RULE r AS (a;b);;", "E'\\';'", "$a$;$a$;x", "/* /* */ ; */ a;b", "copy t from stdin;\n1", "begin atomic end;", "\"a;\"\"", "U&\"a", "\\d x\n;y", "CREATE FUNCTION f() BEGIN ATOMIC a; CASE b; END; END; c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		r := &reading{file: "x.sql"}
		text, ok := r.decode([]byte(src))
		if !ok {
			return
		}
		var b strings.Builder
		at := 0
		for _, p := range r.split(text) {
			if p.start < at || p.end <= p.start || p.text != text[p.start:p.end] {
				t.Fatalf("piece %d to %d after %d", p.start, p.end, at)
			}
			if len(r.problems) == 0 && strings.ContainsAny(strings.Trim(text[at:p.start], " \t\r\n\f\v;"), "'\"$") && !strings.Contains(text[at:p.start], "--") && !strings.Contains(text[at:p.start], "/*") {
				t.Fatalf("between statements: %q", text[at:p.start])
			}
			b.WriteString(text[at:p.start])
			b.WriteString(p.text)
			at = p.end
		}
		b.WriteString(text[at:])
		if b.String() != text {
			t.Fatalf("%q became %q", text, b.String())
		}
		// And whatever it is, it is classified or refused.
		for _, v := range []postgres.Version{0, postgres.MakeVersion(11), postgres.MakeVersion(18)} {
			s, err := Parse("x.sql", []byte(src), v)
			if err == nil && len(s.Statements) == 0 {
				t.Fatal("neither a statement nor an error")
			}
		}
	})
}
