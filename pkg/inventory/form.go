package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// kind is a type of scalar. The implementations are empty structs, so that a
// field's kind is part of its Go type.
type kind interface{ form() form }

// form describes the texts of a kind: for checking, for the JSON schema and
// for the docs.
type form struct {
	Label   string   // what it is, in messages and docs: "port"
	Want    string   // how to write it
	Enum    []string // the only texts, or
	Pattern string   // a regular expression (RE2 and ECMA) for all of it
	MaxLen  int      // bytes; 0 is 255
	Empty   bool     // '' is allowed
	JSON    []string // types that YAML may give it; nil is string
	// more refuses what a pattern cannot.
	more func(text string) (message, hint string)
}

const defaultMaxLen = 255

// flaw says what is wrong with a text, "" if nothing is.
func (f form) flaw(text string, match func(pattern, text string) bool) (message, hint string) {
	limit := f.MaxLen
	if limit == 0 {
		limit = defaultMaxLen
	}
	switch {
	case text == "" && !f.Empty:
		return "is empty", f.Want
	case len(text) > limit:
		return fmt.Sprintf("is longer than %d bytes", limit), f.Want
	case strings.ContainsFunc(text, unicode.IsControl):
		// A line break would end a line of postgresql.conf, pg_hba.conf or
		// .pgpass, where none can be quoted.
		return "has a line break or another control character", f.Want
	case f.Enum != nil && !slices.Contains(f.Enum, text):
		return fmt.Sprintf("%q is not a valid %s", text, f.Label), cmp.Or(fault.DidYouMean(text, f.Enum), "one of "+strings.Join(f.Enum, ", "))
	}
	// A special case knows more than the pattern does, so it speaks first.
	if f.more != nil {
		if message, hint = f.more(text); message != "" {
			return message, hint
		}
	}
	if f.Pattern != "" && !match(f.Pattern, text) {
		return fmt.Sprintf("%q is not a valid %s", text, f.Label), f.Want
	}
	return "", ""
}
