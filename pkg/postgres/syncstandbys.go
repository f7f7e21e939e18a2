package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SyncStandbys is a value of synchronous_standby_names: how many of which
// standbys each commit waits for. The zero value is none.
type SyncStandbys struct {
	// Any is quorum commit (ANY, 10+); otherwise the first names come first.
	Any bool
	// Num is how many must confirm.
	Num int
	// Names are as the server reads them, without quotes; "*" is any standby.
	Names []string

	raw  []string // each name as it is spelled
	head string   // what stands before the number: "ANY", "first", or nothing
	bare bool     // a list alone, without number and parentheses
}

// ParseSyncStandbys reads the value as the server does (syncrep_gram.y).
func ParseSyncStandbys(value string) (SyncStandbys, error) {
	words, err := syncWords(value)
	if err != nil {
		return SyncStandbys{}, fmt.Errorf("parse synchronous_standby_names %q: %w", value, err)
	}
	s := SyncStandbys{bare: true}
	if len(words) == 0 {
		return s, nil
	}
	s.Num = 1
	at := func(i int) string {
		if i < len(words) {
			return words[i].raw
		}
		return ""
	}
	if k := strings.ToUpper(at(0)); (k == "ANY" || k == "FIRST") && words[0].kind == syncName && len(words) > 1 && words[1].kind == syncNum && at(2) == "(" {
		s.head, s.Any, words = words[0].raw, k == "ANY", words[1:]
	}
	if words[0].kind == syncNum && at(1) == "(" && at(len(words)-1) == ")" {
		s.bare = false
		if s.Num, err = strconv.Atoi(words[0].raw); err != nil || s.Num < 1 {
			return SyncStandbys{}, fmt.Errorf("parse synchronous_standby_names %q: %q is no number of standbys", value, words[0].raw)
		}
		words = words[2 : len(words)-1]
	}
	for i, w := range words {
		if (i%2 == 1) != (w.kind == syncMark && w.raw == ",") || i%2 == 0 && w.kind == syncMark || len(words)%2 == 0 {
			return SyncStandbys{}, fmt.Errorf("parse synchronous_standby_names %q: a name, or a comma, is missing near %q", value, w.raw)
		}
		if i%2 == 0 {
			s.Names, s.raw = append(s.Names, w.name), append(s.raw, w.raw)
		}
	}
	if len(s.Names) == 0 {
		return SyncStandbys{}, fmt.Errorf("parse synchronous_standby_names %q: no names", value)
	}
	return s, nil
}

// SyncStandbys is a value in the words of this version: FIRST and ANY are new in 10,
// before which a number alone means the first ones. The number is new in 9.6; before, a
// commit waits for one of the list, and an inventory that says more is refused.
func (v Version) SyncStandbys(quorum bool, num int, names []string) SyncStandbys {
	s := SyncStandbys{Any: quorum, Num: num, Names: names, bare: !v.AtLeast(9, 6)}
	switch {
	case !v.AtLeast(10):
	case quorum:
		s.head = "ANY"
	default:
		s.head = "FIRST"
	}
	for _, n := range names {
		s.raw = append(s.raw, quoteSyncName(n))
	}
	return s
}

// quoteSyncName quotes what is no plain word of the grammar, or one of its keywords.
func quoteSyncName(n string) string {
	plain := strings.IndexFunc(n, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) < 0 && n != "" && (n[0] < '0' || n[0] > '9') && n != "any" && n != "first"
	if plain {
		return n
	}
	return `"` + strings.ReplaceAll(n, `"`, `""`) + `"`
}

// Match reports whether a standby of that application_name is one of them. The
// server ignores the case of ASCII letters.
func (s SyncStandbys) Match(application string) bool {
	return s.Priority(application) > 0
}

// Priority is the place of a standby of that application_name in the list, from 1 on, as in
// pg_stat_replication.sync_priority; 0 if it is none of them.
func (s SyncStandbys) Priority(application string) int {
	return 1 + slices.IndexFunc(s.Names, func(n string) bool { return n == "*" || sameSyncName(n, application) })
}

// Lists reports whether the application_name stands in the list itself.
func (s SyncStandbys) Lists(application string) bool {
	return slices.ContainsFunc(s.Names, func(n string) bool { return sameSyncName(n, application) })
}

// Without is the value without that name. Num stays, though there may be too
// few names for it.
func (s SyncStandbys) Without(application string) SyncStandbys {
	out := s
	out.Names, out.raw = nil, nil
	for i, n := range s.Names {
		if !sameSyncName(n, application) {
			out.Names, out.raw = append(out.Names, n), append(out.raw, s.raw[i])
		}
	}
	return out
}

// String spells the value for the server; nothing is left of one without names.
func (s SyncStandbys) String() string {
	list := strings.Join(s.raw, ", ")
	switch {
	case len(s.Names) == 0 || s.Num == 0:
		return ""
	case s.bare:
		return list
	}
	return strings.TrimSpace(s.head+" "+strconv.Itoa(s.Num)) + " (" + list + ")"
}

func sameSyncName(a, b string) bool { return lowerASCII(a) == lowerASCII(b) }

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

type syncKind int

const (
	syncName syncKind = iota
	syncNum
	syncMark
)

type syncWord struct {
	kind      syncKind
	raw, name string
}

// syncWords is syncrep_scanner.l.
func syncWords(s string) ([]syncWord, error) {
	var out []syncWord
	for i := 0; i < len(s); {
		c, from := s[i], i
		switch {
		case blank(c):
			i++
			continue
		case c == ',' || c == '(' || c == ')':
			i++
			out = append(out, syncWord{syncMark, s[from:i], ""})
		case c == '*':
			i++
			out = append(out, syncWord{syncName, "*", "*"})
		case c == '"':
			for i++; i < len(s); i++ {
				if s[i] != '"' {
					continue
				}
				if i+1 < len(s) && s[i+1] == '"' {
					i++
					continue
				}
				break
			}
			if i >= len(s) {
				return nil, errors.New("unterminated quoted identifier")
			}
			i++
			out = append(out, syncWord{syncName, s[from:i], strings.ReplaceAll(s[from+1:i-1], `""`, `"`)})
		case c >= '0' && c <= '9':
			for i < len(s) && s[i] >= '0' && s[i] <= '9' {
				i++
			}
			out = append(out, syncWord{syncNum, s[from:i], s[from:i]})
		case syncLetter(c):
			for i < len(s) && (syncLetter(s[i]) || s[i] >= '0' && s[i] <= '9' || s[i] == '$') {
				i++
			}
			out = append(out, syncWord{syncName, s[from:i], s[from:i]})
		default:
			return nil, fmt.Errorf("%q does not belong there", string(c))
		}
	}
	return out, nil
}

func syncLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}
