package ddl

import (
	"strings"
	"unicode/utf8"
)

// kind of a token. Comments and blanks are none.
type kind int

const (
	word   kind = iota // an unquoted name or keyword; text is folded to lower case
	quoted             // a name in double quotes; text is without them
	str                // any string constant
	number
	symbol // one character of anything else
)

type token struct {
	kind       kind
	text       string
	start, end int // bytes in the source
	place
}

// lexer cuts SQL into tokens the way the server's own lexer (scan.l) does, with
// standard_conforming_strings on, its default since 9.1.
type lexer struct {
	src       string
	pos       int
	line, col int
	// fail is called once for what does not end.
	fail func(at place, what string)
}

// next gives the next token; false at the end.
func (l *lexer) next() (token, bool) {
	l.blank()
	if l.pos >= len(l.src) {
		return token{}, false
	}
	t := token{start: l.pos, place: place{l.line, l.col}}
	c := l.src[l.pos]
	switch {
	case c == '\'':
		l.quote(t.place, '\'', false)
		t.kind = str
	case c == '"':
		t.kind, t.text = quoted, l.identifier(t.place)
	case c == '$' && l.dollar(t.place):
		t.kind = str
	case c >= '0' && c <= '9':
		l.take(func(c byte) bool { return nameByte(c) || c == '.' })
		t.kind, t.text = number, l.src[t.start:l.pos]
	case nameStart(c):
		t = l.name(t)
	default:
		_, n := utf8.DecodeRuneInString(l.src[l.pos:])
		l.advance(n)
		t.kind, t.text = symbol, l.src[t.start:l.pos]
	}
	t.end = l.pos
	return t, true
}

// name is a word, or the letter before a string: E'…', B'…', X'…', N'…', U&'…', U&"…".
func (l *lexer) name(t token) token {
	l.take(nameByte)
	text := l.src[t.start:l.pos]
	after := l.src[l.pos:]
	switch strings.ToLower(text) {
	case "e", "b", "x", "n":
		if strings.HasPrefix(after, "'") {
			l.quote(t.place, '\'', strings.EqualFold(text, "e"))
			t.kind = str
			return t
		}
	case "u":
		if strings.HasPrefix(after, "&'") {
			l.advance(1)
			l.quote(t.place, '\'', false)
			t.kind = str
			return t
		}
		if strings.HasPrefix(after, `&"`) {
			l.advance(1)
			l.identifier(t.place)
			// What it spells depends on a UESCAPE behind it: no name to rely on.
			t.kind, t.text = symbol, `U&"`
			return t
		}
	}
	t.kind, t.text = word, fold(text)
	return t
}

// fold is what the server does to an unquoted name; other than ASCII letters it leaves
// alone in a UTF-8 database.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// identifier takes a name in double quotes.
func (l *lexer) identifier(at place) string {
	start := l.pos
	l.quote(at, '"', false)
	text := strings.TrimSuffix(strings.TrimPrefix(l.src[start:l.pos], `"`), `"`)
	return strings.ReplaceAll(text, `""`, `"`)
}

// quote takes what stands between two quotes; one that is doubled, or behind a
// backslash where those count, does not end it. A string goes on behind a line break,
// and so does the meaning of its backslashes.
func (l *lexer) quote(at place, q byte, backslash bool) {
	l.advance(1)
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		switch {
		case backslash && c == '\\' && l.pos+1 < len(l.src):
			_, n := utf8.DecodeRuneInString(l.src[l.pos+1:])
			l.advance(1 + n)
		case c != q:
			l.advance(1)
		case strings.HasPrefix(l.src[l.pos+1:], string(q)):
			l.advance(2)
		default:
			l.advance(1)
			if !backslash || !l.goesOn() {
				return
			}
			l.advance(1)
		}
	}
	what := "string"
	if q == '"' {
		what = "quoted name"
	}
	l.fail(at, what)
}

// goesOn: a line break and then a quote, with nothing but blanks and -- comments between.
// It stands on the quote then.
func (l *lexer) goesOn() bool {
	ahead := *l
	line := ahead.line
	for ahead.pos < len(ahead.src) && ahead.space() {
	}
	if ahead.line == line || !strings.HasPrefix(ahead.src[ahead.pos:], "'") {
		return false
	}
	l.pos, l.line, l.col = ahead.pos, ahead.line, ahead.col
	return true
}

// dollar takes $tag$ … $tag$. False: the $ begins none.
func (l *lexer) dollar(at place) bool {
	rest := l.src[l.pos+1:]
	n := 0
	for n < len(rest) && (nameStart(rest[n]) || n > 0 && rest[n] >= '0' && rest[n] <= '9') {
		n++
	}
	if n >= len(rest) || rest[n] != '$' {
		return false
	}
	tag := l.src[l.pos : l.pos+n+2]
	l.advance(len(tag))
	end := strings.Index(l.src[l.pos:], tag)
	if end < 0 {
		l.fail(at, "string "+tag)
		l.advance(len(l.src) - l.pos)
		return true
	}
	l.advance(end + len(tag))
	return true
}

// blank skips blanks and comments.
func (l *lexer) blank() {
	for l.pos < len(l.src) && (l.space() || l.comment()) {
	}
}

// space skips one blank or a -- comment.
func (l *lexer) space() bool {
	switch c := l.src[l.pos]; {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
		l.advance(1)
	case strings.HasPrefix(l.src[l.pos:], "--"):
		l.take(func(c byte) bool { return c != '\n' && c != '\r' })
	default:
		return false
	}
	return true
}

// comment skips one of /* */, which nest.
func (l *lexer) comment() bool {
	if !strings.HasPrefix(l.src[l.pos:], "/*") {
		return false
	}
	at, depth := place{l.line, l.col}, 0
	for l.pos < len(l.src) {
		switch rest := l.src[l.pos:]; {
		case strings.HasPrefix(rest, "/*"):
			depth++
			l.advance(2)
		case strings.HasPrefix(rest, "*/"):
			depth--
			l.advance(2)
			if depth == 0 {
				return true
			}
		default:
			l.advance(1)
		}
	}
	l.fail(at, "comment /*")
	return true
}

func (l *lexer) take(in func(byte) bool) {
	for l.pos < len(l.src) && in(l.src[l.pos]) {
		l.advance(1)
	}
}

// advance counts lines, and characters rather than bytes.
func (l *lexer) advance(n int) {
	for ; n > 0; n-- {
		switch c := l.src[l.pos]; {
		case c == '\n':
			l.line, l.col = l.line+1, 1
		case utf8.RuneStart(c):
			l.col++
		}
		l.pos++
	}
}

func nameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func nameByte(c byte) bool { return nameStart(c) || c >= '0' && c <= '9' || c == '$' }
