package facts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Sorting is by what the databases of a server sort their text.
type Sorting struct {
	// ICU: a database sorts by the ICU library by default (15+), or a column, an
	// index, a partition key or a range of the database of our session does (10+).
	ICU bool `json:"icu"`
	// Locales are LC_COLLATE and LC_CTYPE of the databases, each once.
	Locales []Locale `json:"locales"`
	// Collations are the databases that were made with another version of the
	// library that sorts their text than the server has now (15+).
	Collations []Collations `json:"collations"`
}

// Sorter is a Source that can tell it. Only checks ask: it looks at all columns, and
// at databases that may be dropped meanwhile.
type Sorter interface {
	Sorting(ctx context.Context) (Sorting, error)
}

// Sorting asks a server that runs; of one that does not, or not yet, nothing is told.
func (h *Host) Sorting(ctx context.Context) (Sorting, error) {
	if h.sorting != nil {
		return *h.sorting, nil
	}
	src, ok := h.source.(Sorter)
	if !ok || h.expected {
		return Sorting{}, nil
	}
	s, err := src.Sorting(ctx)
	if errors.Is(err, host.ErrNoServer) {
		return Sorting{}, nil
	}
	if err != nil {
		return Sorting{}, fmt.Errorf("read how the databases of %s sort: %w", h.Name, err)
	}
	h.SetSorting(s)
	return s, nil
}

// SetSorting says by what they sort.
func (h *Host) SetSorting(s Sorting) { h.sorting = &s }

// Locale is one that a database has as its LC_COLLATE or LC_CTYPE.
type Locale struct {
	Name     string `json:"name"`
	Database string `json:"database"` // the first that has it
}

// Collations are databases whose text was sorted by one version of a library, and is
// by another.
type Collations struct {
	Databases []string `json:"databases"`
	Recorded  string   `json:"recorded"`
	Actual    string   `json:"actual"`
}

// HasLocale reports whether the C library knows a locale, and known whether that can
// be told: musl takes any name, and has no list.
func (m *Machine) HasLocale(name string) (has, known bool) {
	if name == "" || name == "C" || name == "POSIX" {
		return true, true
	}
	if m.Glibc == "" || len(m.Locales) == 0 {
		return false, false
	}
	want := normalLocale(name)
	return slices.ContainsFunc(m.Locales, func(l string) bool { return normalLocale(l) == want }), true
}

// normalLocale spells the codeset as glibc compares it: en_US.UTF-8 and en_US.utf8 are
// one locale, and ISO-8859-1 is iso88591.
func normalLocale(name string) string {
	base, modifier, _ := strings.Cut(name, "@")
	lang, codeset, ok := strings.Cut(base, ".")
	if !ok {
		return name
	}
	digits := true
	set := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			digits = false
			return r - 'A' + 'a'
		case r >= 'a' && r <= 'z':
			digits = false
			return r
		case r >= '0' && r <= '9':
			return r
		}
		return -1
	}, codeset)
	if digits {
		set = "iso" + set
	}
	if modifier != "" {
		modifier = "@" + modifier
	}
	return lang + "." + set + modifier
}
