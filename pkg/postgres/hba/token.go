package hba

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Token is one word of a DATABASE or USER list.
//
// Quoted tells whether the word begins inside double quotes, which takes its
// special meaning away: all, replication, sameuser, samerole, samegroup, +group
// and @file are special only without. A word that begins with a slash is a
// regular expression in either spelling (16 and later).
type Token struct {
	Value  string
	Quoted bool
}

// Name is the token that means the database or role of exactly this name, even
// when it is spelled like a keyword. An empty name, one that is longer than names
// are, one that holds a line break and one that begins with a slash have no such
// token on every version, and are refused. (Of a word of 256 bytes or more old
// servers make two.)
func Name(s string) (Token, error) {
	switch {
	case s == "":
		return Token{}, errors.New("an empty name")
	case len(s) > postgres.NameLen:
		return Token{}, fmt.Errorf("name %q: %w", s, postgres.ErrTooLong)
	case s[0] == '/':
		return Token{}, fmt.Errorf("name %q: a leading slash means a regular expression from 16 on", s)
	case strings.ContainsAny(s, "\x00\r\n"):
		return Token{}, fmt.Errorf("name %q: a NUL, carriage return or newline cannot be written", s)
	}
	return Token{Value: s, Quoted: special(s) || mustQuote(s)}, nil
}

// String spells the token as it is written in a file.
func (t Token) String() string {
	if t.Quoted {
		return quote(t.Value)
	}
	if !mustQuote(t.Value) {
		return t.Value
	}
	// +"my group" and @"my file" keep their meaning, "+my group" loses it.
	if isGroup(t) || isFile(t) {
		return t.Value[:1] + quote(t.Value[1:])
	}
	return quote(t.Value)
}

// is reports whether the token is this keyword.
func (t Token) is(keyword string) bool { return !t.Quoted && t.Value == keyword }

func isGroup(t Token) bool { return !t.Quoted && len(t.Value) > 1 && t.Value[0] == '+' }
func isFile(t Token) bool  { return !t.Quoted && len(t.Value) > 1 && t.Value[0] == '@' }
func isRegex(t Token) bool { return strings.HasPrefix(t.Value, "/") }

// sameToken reports whether a and b mean the same.
func sameToken(a, b Token) bool {
	return a.Value == b.Value && (a.Quoted == b.Quoted || !special(a.Value))
}

// special reports whether quotes would change what the word means, in any
// column.
func special(s string) bool {
	switch s {
	case "all", "replication", "sameuser", "samerole", "samegroup", "samehost", "samenet":
		return true
	}
	return s != "" && (s[0] == '+' || s[0] == '@')
}

// mustQuote reports whether the bare word would be read back differently. The
// backslash is in because at the end of a line it continues it (14 and later).
func mustQuote(s string) bool {
	return s == "" || strings.ContainsAny(s, " ,\"#\\\t\v\f")
}

func quote(s string) string {
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// fields splits a logical line into its columns, each a list of tokens.
func fields(line string) [][]Token {
	var all [][]Token
	for i := 0; i < len(line); {
		var field []Token
		for more := true; more; {
			var t Token
			var found bool
			t, found, more, i = nextToken(line, i)
			if !found {
				break
			}
			field = append(field, t)
		}
		if field != nil {
			all = append(all, field)
		}
	}
	return all
}

// nextToken is next_token of hba.c: a token ends at a blank or a comma outside
// quotes; a comma that follows at once makes the list go on. A quote that is not
// closed reaches to the end of the line, without an error.
func nextToken(line string, i int) (t Token, found, comma bool, next int) {
	for i < len(line) && (isBlank(line[i]) || line[i] == ',') {
		i++
	}
	var value []byte
	inQuote, wasQuote, sawQuote := false, false, false
	for ; i < len(line) && (inQuote || !isBlank(line[i])); i++ {
		c := line[i]
		if c == '#' && !inQuote {
			i = len(line)
			break
		}
		if c == ',' && !inQuote {
			comma = true
			break
		}
		if c != '"' || wasQuote {
			value = append(value, c)
		}
		wasQuote = inQuote && c == '"' && !wasQuote
		if c == '"' {
			inQuote = !inQuote
			sawQuote = true
			t.Quoted = t.Quoted || len(value) == 0
		}
	}
	t.Value = string(value)
	return t, sawQuote || len(value) > 0, comma, i
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
