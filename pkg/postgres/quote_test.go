package postgres

import (
	"errors"
	"strings"
	"testing"
)

func TestQuoteIdent(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"replicator": `"replicator"`,
		`a"b`:        `"a""b"`,
		"Ärger; --":  `"Ärger; --"`,
		`\`:          `"\"`,
	} {
		if got, err := QuoteIdent(in); err != nil || got != want {
			t.Errorf("QuoteIdent(%q) = %s, %v; want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": ErrEmpty, strings.Repeat("x", 64): ErrTooLong, "a\x00": ErrNUL, "\xff": ErrEncoding,
	} {
		if got, err := QuoteIdent(in); !errors.Is(err, want) {
			t.Errorf("QuoteIdent(%q) = %s, %v; want %v", in, got, err, want)
		}
	}
}

func TestQuoteLiteral(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":         `''`,
		`it's`:     `'it''s'`,
		`a\'; --`:  ` E'a\\''; --'`,
		"two\nrow": "'two\nrow'",
	} {
		if got, err := QuoteLiteral(in); err != nil || got != want {
			t.Errorf("QuoteLiteral(%q) = %s, %v; want %s", in, got, err, want)
		}
	}
	_, err := QuoteLiteral("secret\x00")
	if !errors.Is(err, ErrNUL) || strings.Contains(err.Error(), "secret") {
		t.Errorf("NUL: %v", err)
	}
	if _, err := QuoteLiteral("\xc3"); !errors.Is(err, ErrEncoding) {
		t.Errorf("half a character: %v", err)
	}
}

func TestSlotNamesThatServersTakeWhole(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"a", "pg_2", "0", "_", strings.Repeat("z", 63)} {
		if err := ValidSlotName(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "A", "a-b", "a.b", "é", "a b", "a'", strings.Repeat("z", 64)} {
		if ValidSlotName(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSlotNameIsDerivedFromHost(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"pg2":              "pg2",
		"PG-2.example.org": "pg_2_example_org",
		"db é":             "db___",
	} {
		if got := SlotName(in); got != want {
			t.Errorf("SlotName(%q) = %q, want %q", in, got, want)
		}
	}
	long := strings.Repeat("h", 70)
	a, b := SlotName(long+"1"), SlotName(long+"2")
	if a == b || len(a) != NameLen || ValidSlotName(a) != nil {
		t.Errorf("long names: %q and %q", a, b)
	}
}

func TestRoleNamesThatCanBeCreated(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"replicator", "Über role", `o"b`, "pgrepctl", strings.Repeat("z", 63)} {
		if err := ValidRoleName(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "public", "none", "pg_monitor", "a\nb", "a\x00", "a\x7f", strings.Repeat("z", 64), "\xff"} {
		if ValidRoleName(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestQuoteLiteralDoesNotDependOnTheServersConfiguration(t *testing.T) {
	t.Parallel()
	for _, s := range []string{`\`, `\'`, `\\'`, `it's \`, `\'; drop table t; --`} {
		q, err := QuoteLiteral(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, conforming := range []bool{true, false} {
			if v, rest, ok := scanLiteral(q, conforming); !ok || v != s || rest != "" {
				t.Errorf("standard_conforming_strings %t: %q: %s reads as %q and leaves %q", conforming, s, q, v, rest)
			}
		}
	}
}

// scanLiteral reads a string constant as the server's lexer does.
func scanLiteral(s string, conforming bool) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " ")
	plain, escapes := strings.CutPrefix(s, "E")
	return scanQuoted(plain, '\'', escapes || !conforming)
}

// scanQuoted reads one quoted token as the server's lexer does, and returns its
// value and what follows.
func scanQuoted(s string, quote byte, escapes bool) (value, rest string, ok bool) {
	if s == "" || s[0] != quote {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] != quote:
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == quote:
			b.WriteByte(quote)
			i++
		default:
			return b.String(), s[i+1:], true
		}
	}
	return "", s, false
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "'", `"`, `\'`, `''`, "a'; drop table t; --", "\x00", "ü\"ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if q, err := QuoteLiteral(s); err == nil {
			for _, conforming := range []bool{true, false} {
				if v, rest, ok := scanLiteral(q, conforming); !ok || v != s || rest != "" {
					t.Errorf("literal %q: %s reads as %q and leaves %q", s, q, v, rest)
				}
			}
		}
		if q, err := QuoteIdent(s); err == nil {
			if v, rest, ok := scanQuoted(q, '"', false); !ok || v != s || rest != "" || len(v) > NameLen {
				t.Errorf("identifier %q: %s reads as %q and leaves %q", s, q, v, rest)
			}
		}
		if n := SlotName(s); s != "" && ValidSlotName(n) != nil {
			t.Errorf("slot name %q of %q is not valid", n, s)
		}
	})
}
