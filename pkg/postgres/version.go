package postgres

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Version is a server version as server_version_num has it: 150020 is 15.20,
// 90624 is 9.6.24. The minor part is 0 when only the major version is known.
type Version int

// Oldest is the first version this package has a dialect for: replication slots
// came with it.
const Oldest Version = 90400

// Newest is the last major version it has one for: what a later one changed is not
// known.
const Newest Version = 180000

// MakeVersion builds a version from its parts: (15), (15, 20), (9, 6),
// (9, 6, 24).
func MakeVersion(parts ...int) Version {
	at := func(i int) int {
		if i < len(parts) {
			return parts[i]
		}
		return 0
	}
	// Since 10 the second number is the minor release (versioning policy
	// of 2016); before, major releases had two numbers.
	if at(0) >= 10 {
		return Version(at(0)*10000 + at(1))
	}
	return Version(at(0)*10000 + at(1)*100 + at(2))
}

// ParseVersion reads what servers and tools print: "15.20 (Debian
// 15.20-0+deb12u1)", "PostgreSQL 9.6.24 on …", "pg_ctl (PostgreSQL) 16.4",
// "17rc1" (as 17.0), "15", and server_version_num itself ("150020").
func ParseVersion(s string) (Version, error) {
	text := strings.TrimSpace(s)
	if i := strings.Index(text, "PostgreSQL"); i >= 0 {
		text = strings.TrimLeft(text[i+len("PostgreSQL"):], ") ")
	}
	m := versionText().FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("parse version %q: not a PostgreSQL version", s)
	}
	var parts []int
	for _, p := range m[1:] {
		if p == "" {
			break
		}
		n, err := strconv.Atoi(p)
		if err != nil {
			return 0, fmt.Errorf("parse version %q: %w", s, err)
		}
		parts = append(parts, n)
	}
	if len(parts) == 1 && parts[0] >= 10000 {
		return Version(parts[0]), nil
	}
	v := MakeVersion(parts...)
	if len(parts) == 1 && parts[0] < 10 || parts[0] >= 1000 {
		return 0, fmt.Errorf("parse version %q: major release not given", s)
	}
	return v, nil
}

func versionText() *regexp.Regexp {
	return regexp.MustCompile(`^(\d{1,6})(?:\.(\d{1,4}))?(?:\.(\d{1,4}))?(?:$|[^\d.])`)
}

// Major is the major release: "15", "9.6".
func (v Version) Major() string {
	if v >= 100000 {
		return strconv.Itoa(int(v) / 10000)
	}
	return fmt.Sprintf("%d.%d", int(v)/10000, int(v)/100%100)
}

// Minor is the last number of the version: 20 of 15.20, 24 of 9.6.24.
func (v Version) Minor() int {
	if v >= 100000 {
		return int(v) % 10000
	}
	return int(v) % 100
}

// String is "15.20" or "9.6.24".
func (v Version) String() string { return v.Major() + "." + strconv.Itoa(v.Minor()) }

// AtLeast compares with a version given as to MakeVersion: v.AtLeast(9, 6),
// v.AtLeast(15), v.AtLeast(15, 4).
func (v Version) AtLeast(parts ...int) bool { return v >= MakeVersion(parts...) }

// SameMajor reports whether data files and WAL of the two are compatible.
func (v Version) SameMajor(o Version) bool { return v.Major() == o.Major() }

// UnsupportedError is a thing that this version of the server cannot do.
type UnsupportedError struct {
	Version Version
	Feature string
	Since   Version // 0: never
}

func (e *UnsupportedError) Error() string {
	s := fmt.Sprintf("%s not supported by PostgreSQL %s", e.Feature, e.Version.Major())
	if e.Since != 0 {
		s += " (needs " + e.Since.Major() + ")"
	}
	return s
}
