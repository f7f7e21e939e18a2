// Package shell quotes for POSIX shells, in the one place that does.
package shell

import (
	"errors"
	"strings"
)

// ErrNUL is returned for a word that no shell and no exec can carry.
var ErrNUL = errors.New("NUL byte in an argument")

// Quote returns argv as one line for a POSIX shell. Every word that holds
// anything but a few safe characters is put in single quotes, inside which a
// POSIX shell knows no special character but the quote itself.
func Quote(argv ...string) (string, error) {
	words := make([]string, len(argv))
	for i, w := range argv {
		if strings.IndexByte(w, 0) >= 0 {
			return "", ErrNUL
		}
		words[i] = quote(w)
	}
	return strings.Join(words, " "), nil
}

// Typed is a command as a person types it, who is to run it as an OS user: as is "" for
// whoever logs in. It is there to be read; what a program runs is Quote's.
func Typed(as string, argv ...string) string {
	var words []string
	switch as {
	case "":
	case "root":
		words = []string{"sudo"}
	default:
		words = []string{"sudo", "-u", quote(as)}
	}
	for _, w := range argv {
		words = append(words, quote(w))
	}
	return strings.Join(words, " ")
}

func quote(w string) string {
	if w != "" && strings.IndexFunc(w, unsafe) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

func unsafe(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_-+.,:/=@%", r)
}

// Login makes one word of s for whatever the login shell is. fish takes
// \\ and \' for escapes even inside single quotes, and csh expands ! there, so
// those characters stand outside the quotes, each behind a backslash: sh, bash,
// zsh, fish and csh all read that alike. (csh cannot carry a newline at all.)
func Login(s string) string {
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
