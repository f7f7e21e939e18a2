package remote

import (
	"errors"
	"strings"
)

// errNUL is returned for words that no shell and no execve can carry.
var errNUL = errors.New("a command must not contain NUL bytes")

// quote makes one word of s for a POSIX shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoteAll makes a simple command of argv for a POSIX shell.
func quoteAll(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = quote(w)
	}
	return strings.Join(words, " ")
}

// quoteLogin makes one word of s for whatever the login shell is. fish takes
// \\ and \' for escapes even inside single quotes, and csh expands ! there, so
// those characters stand outside the quotes, each behind a backslash: sh, bash,
// zsh, fish and csh all read that alike. (csh cannot carry a newline at all.)
func quoteLogin(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range []byte(s) {
		switch c {
		case '\'', '\\', '!':
			b.WriteString(`'\`)
			b.WriteByte(c)
			b.WriteByte('\'')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
