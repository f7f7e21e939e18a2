package conf

// class is what the server's own scanner (guc-file.l, the same rules from
// PostgreSQL 9.4 to 18) calls a piece of a line.
type class int

const (
	end       class = iota // end of line, or a comment up to it
	ident                  // letters, digits, underscores; bytes >= 0x80 are letters
	qualified              // ident.ident, exactly one dot
	str                    // 'quoted'
	integer                // digits and an optional unit
	real                   // digits with a dot; no unit
	unquoted               // ident followed by any of -._:/
	equals
	invalid // one byte that fits nothing
)

// token is text[start:end] of one line.
type token struct {
	class      class
	start, end int
}

// scan returns the token that begins at or after text[i]. text is one line
// without its newline. Like flex it takes the longest match, and of two equally
// long the rule that comes first in guc-file.l; that is why a.b as a value is
// a qualified name and hence a syntax error, while a.b.c is not.
func scan(text []byte, i int) token {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	if i == len(text) || text[i] == '#' {
		return token{end, i, len(text)}
	}
	switch c := text[i]; {
	case c == '=':
		return token{equals, i, i + 1}
	case c == '\'':
		if e := endOfString(text, i); e > 0 {
			return token{str, i, e}
		}
	case isLetter(c):
		return scanWord(text, i)
	case c == '+' || c == '-' || c == '.' || isDigit(c):
		return scanNumber(text, i)
	}
	return token{invalid, i, i + 1}
}

func scanWord(text []byte, i int) token {
	id := run(text, i, isLetterOrDigit)
	long := run(text, i, func(c byte) bool {
		return isLetterOrDigit(c) || c == '-' || c == '.' || c == '_' || c == ':' || c == '/'
	})
	dotted := id
	if id+1 < len(text) && text[id] == '.' && isLetter(text[id+1]) {
		dotted = run(text, id+1, isLetterOrDigit)
	}
	switch {
	case long > dotted:
		return token{unquoted, i, long}
	case dotted > id:
		return token{qualified, i, dotted}
	}
	return token{ident, i, id}
}

func scanNumber(text []byte, i int) token {
	start := i
	if text[i] == '+' || text[i] == '-' {
		i++
	}
	digits := run(text, i, isDigit)

	whole := 0
	if digits > i {
		whole = run(text, digits, isUnitLetter)
		if text[i] == '0' && i+1 < len(text) && text[i+1] == 'x' {
			if hex := run(text, i+2, isHexDigit); hex > i+2 {
				whole = max(whole, run(text, hex, isUnitLetter))
			}
		}
	}
	fraction := 0
	if digits < len(text) && text[digits] == '.' {
		fraction = endOfExponent(text, run(text, digits+1, isDigit))
	}
	switch {
	case fraction > whole:
		return token{real, start, fraction}
	case whole > 0:
		return token{integer, start, whole}
	}
	return token{invalid, start, start + 1}
}

func endOfExponent(text []byte, i int) int {
	if i == len(text) || text[i] != 'e' && text[i] != 'E' {
		return i
	}
	j := i + 1
	if j < len(text) && (text[j] == '+' || text[j] == '-') {
		j++
	}
	if e := run(text, j, isDigit); e > j {
		return e
	}
	return i
}

// endOfString returns the end of the quoted string that begins at text[i], or 0
// when it is not closed on this line. A doubled quote goes on only if a closing
// one follows; otherwise the string ended at the first of the two.
func endOfString(text []byte, i int) int {
	closed := 0
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i++; i == len(text) {
				return closed
			}
		case '\'':
			closed = i + 1
			if closed == len(text) || text[closed] != '\'' {
				return closed
			}
			i++
		}
	}
	return closed
}

// unescape is the value of a quoted string, as DeescapeQuotedString reads it.
func unescape(quoted []byte) string {
	// The server works on C strings: what follows a NUL is lost, and the
	// byte before it goes in place of the closing quote.
	s := quoted[1:]
	for i, c := range s {
		if c == 0 {
			s = s[:i]
			break
		}
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			i++
			c = s[i]
			switch c {
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case '0', '1', '2', '3', '4', '5', '6', '7':
				octal := 0
				last := min(i+3, len(s))
				for ; i < last && s[i] >= '0' && s[i] <= '7'; i++ {
					octal = octal<<3 + int(s[i]-'0')
				}
				i--
				c = byte(octal) // \777 wraps around, as a C char does
			}
		case c == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		out = out[:len(out)-1] // the closing quote
	}
	for i, c := range out {
		if c == 0 {
			return string(out[:i])
		}
	}
	return string(out)
}

func run(text []byte, i int, in func(byte) bool) int {
	for i < len(text) && in(text[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool         { return c >= '0' && c <= '9' }
func isUnitLetter(c byte) bool    { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isLetter(c byte) bool        { return isUnitLetter(c) || c == '_' || c >= 0x80 }
func isLetterOrDigit(c byte) bool { return isLetter(c) || isDigit(c) }
func isHexDigit(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
