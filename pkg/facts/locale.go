package facts

import (
	"slices"
	"strings"
)

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
