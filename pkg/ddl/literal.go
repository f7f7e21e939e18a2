package ddl

import "strings"

// says is what a string constant says. False: it is of a kind that is not read, U&'…' say,
// or goes on behind a line break.
func (p *piece) says(t, next token) (string, bool) {
	if t.kind != str || next.kind == str {
		return "", false
	}
	text := p.text[t.start-p.start : t.end-p.start]
	switch text[0] {
	case '\'':
		inner, ok := within(text, "'")
		return strings.ReplaceAll(inner, "''", "'"), ok
	case '$':
		return within(text, text[:strings.IndexByte(text[1:], '$')+2])
	case 'e', 'E':
		inner, ok := within(text[1:], "'")
		if !ok {
			return "", false
		}
		return unescaped(inner)
	}
	return "", false
}

// within is what stands between two quotes. False: it does not end.
func within(text, quote string) (string, bool) {
	inner, _ := strings.CutPrefix(text, quote)
	return strings.CutSuffix(inner, quote)
}

// unescaped is what stands in E'…'. A byte or a code point that is written as a number means
// what the server's encoding makes of it, so that is not read.
func unescaped(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\'' && s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		first := s[i]
		if i++; i == len(s) {
			return "", false
		}
		switch c := s[i]; {
		case first == '\'' && c != '\'': // it goes on behind a line break
			return "", false
		case first == '\'':
			b.WriteByte(c)
		case c >= '0' && c <= '7', c == 'x', c == 'u', c == 'U':
			return "", false
		default:
			if n := strings.IndexByte("bfnrt", c); n >= 0 {
				c = "\b\f\n\r\t"[n]
			}
			b.WriteByte(c)
		}
	}
	return b.String(), true
}
