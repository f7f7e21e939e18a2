package postgres

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// saslPrep is pg_saslprep of src/common/saslprep.c: RFC 4013 for stored strings.
// It is written out because the OpaqueString profile of RFC 8265, which
// golang.org/x/text has, normalizes otherwise: a password with a ligature would
// get a verifier that libpq cannot log in with.
func saslPrep(s string) (string, bool) {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return s, true
	}
	if !utf8.ValidString(s) {
		return "", false
	}
	nothing, spaces := mappedToNothing(), otherSpaces()
	s = norm.NFKC.String(strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(spaces, r):
			return ' '
		case unicode.Is(nothing, r):
			return -1
		}
		return r
	}, s))
	bad := []*unicode.RangeTable{prohibited(), unassigned32()}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return unicode.In(r, bad...) }) {
		return "", false
	}
	return s, bidiAllowed(s)
}

// bidiAllowed is section 6 of RFC 3454: text from right to left has no letter
// from left to right, and begins and ends with one from right to left.
func bidiAllowed(s string) bool {
	rl := randAL()
	isRL := func(r rune) bool { return unicode.Is(rl, r) }
	if !strings.ContainsFunc(s, isRL) {
		return true
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	lr := leftToRight()
	return isRL(first) && isRL(last) &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(lr, r) })
}
