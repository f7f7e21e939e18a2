package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NameLen is the longest name in bytes (NAMEDATALEN - 1). The server truncates
// longer ones without an error, so they are refused here.
const NameLen = 63

// Reasons why a name or a string cannot be given to a server.
var (
	ErrEmpty    = errors.New("empty")
	ErrTooLong  = fmt.Errorf("longer than %d bytes", NameLen)
	ErrNUL      = errors.New("contains a NUL byte")
	ErrEncoding = errors.New("not valid UTF-8")
	ErrControl  = errors.New("contains a control character")
)

func text(s string) error {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return ErrNUL
	case !utf8.ValidString(s):
		return ErrEncoding
	}
	return nil
}

func name(s string) error {
	switch {
	case s == "":
		return ErrEmpty
	case len(s) > NameLen:
		return ErrTooLong
	}
	return text(s)
}

// QuoteIdent quotes s as an SQL identifier, always with double quotes. It
// refuses what no identifier can be: empty, longer than NameLen, with a NUL, or
// not UTF-8.
func QuoteIdent(s string) (string, error) {
	if err := name(s); err != nil {
		return "", fmt.Errorf("quote identifier %q: %w", s, err)
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`, nil
}

// QuoteLiteral quotes s as an SQL string constant. One with a backslash is
// written as E'…': where somebody has turned standard_conforming_strings off, a
// backslash in plain quotes would hide the quote behind it. The space keeps the
// E apart from a word before it. The value is not named in an error; it may be a
// secret.
func QuoteLiteral(s string) (string, error) {
	if err := text(s); err != nil {
		return "", fmt.Errorf("quote literal: %w", err)
	}
	q := `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
	if strings.Contains(s, `\`) {
		q = ` E` + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q, nil
}

// ValidSlotName checks a replication slot name: 1 to 63 of a-z, 0-9 and _. The
// server refuses other characters but truncates a 64th silently, so that two
// long names collide.
func ValidSlotName(s string) error {
	if err := name(s); err != nil {
		return fmt.Errorf("slot name %q: %w", s, err)
	}
	for _, c := range []byte(s) {
		if !slotByte(c) {
			return fmt.Errorf("slot name %q: only lower-case letters, digits and _ are allowed", s)
		}
	}
	return nil
}

func slotByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_'
}

// SlotName derives a slot name from a host name: lower case, every other
// character as _. Names longer than NameLen keep their beginning and end in a
// hash of the whole. Two hosts can get one name ("pg-1" and "pg.1" are both
// pg_1): whoever names the slots of a cluster must check that they differ. The
// empty host name gives the empty string, which ValidSlotName refuses.
func SlotName(host string) string {
	b := []byte(strings.ToLower(host))
	for i, c := range b {
		if !slotByte(c) {
			b[i] = '_'
		}
	}
	if len(b) <= NameLen {
		return string(b)
	}
	sum := sha256.Sum256([]byte(host))
	tail := "_" + hex.EncodeToString(sum[:4])
	return string(b[:NameLen-len(tail)]) + tail
}

// ValidRoleName checks the name of a role that shall be created: it must fit
// without truncation, must not be one of the reserved names (public, none, pg_*
// since 9.6), and must have no control character, because it is also written
// into pg_hba.conf and password files.
func ValidRoleName(s string) error {
	err := name(s)
	switch {
	case err != nil:
	case strings.ContainsFunc(s, unicode.IsControl):
		err = ErrControl
	case s == "public" || s == "none" || strings.HasPrefix(s, "pg_"):
		err = errors.New("reserved by PostgreSQL")
	}
	if err != nil {
		return fmt.Errorf("role name %q: %w", s, err)
	}
	return nil
}
