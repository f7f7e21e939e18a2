package postgres

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// unit is a unit of guc.c. Sizes are in bytes or in microseconds, so that all of
// one kind are whole numbers.
type unit struct {
	size   uint64
	memory bool
}

func unitOf(name string) (unit, bool) {
	switch name {
	case "B":
		return unit{1, true}, true
	case "kB":
		return unit{1 << 10, true}, true
	case "8kB":
		return unit{8 << 10, true}, true
	case "MB":
		return unit{1 << 20, true}, true
	case "16MB": // wal_segment_size as the unit of max_wal_size on 9.5 and 9.6
		return unit{16 << 20, true}, true
	case "GB":
		return unit{1 << 30, true}, true
	case "TB":
		return unit{1 << 40, true}, true
	case "us":
		return unit{1, false}, true
	case "ms":
		return unit{1000, false}, true
	case "s":
		return unit{1000 * 1000, false}, true
	case "min":
		return unit{60 * 1000 * 1000, false}, true
	case "h":
		return unit{3600 * 1000 * 1000, false}, true
	case "d":
		return unit{86400 * 1000 * 1000, false}, true
	}
	return customUnit(name)
}

// customUnit reads the block-size units of servers built with other sizes:
// pg_settings then says "32kB" or "64MB".
func customUnit(name string) (unit, bool) {
	digits := strings.TrimRight(name, "kMB")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || digits == name {
		return unit{}, false
	}
	u, ok := unitOf(name[len(digits):])
	return unit{u.size * n, u.memory}, ok && u.memory
}

// smaller is the next smaller unit, to whose multiples guc.c rounds a fraction:
// 1.1GB is 1126MB.
func (u unit) smaller() uint64 {
	steps := []uint64{86400e6, 3600e6, 60e6, 1e6, 1e3, 1}
	if u.memory {
		steps = []uint64{1 << 40, 1 << 30, 1 << 20, 1 << 10, 1}
	}
	for i, s := range steps[:len(steps)-1] {
		if u.size == s {
			return steps[i+1]
		}
	}
	return 1
}

// Equal reports whether the server would take want, a value as written in
// postgresql.conf without its quotes, for the value it already has: "1GB" equals
// 64 of 16MB, "yes" equals on. An error means that want is no value of this type.
func (s Setting) Equal(want string) (bool, error) {
	var same bool
	var err error
	switch s.Vartype {
	case "bool":
		same, err = s.equalBool(want)
	case "integer", "real":
		same, err = s.equalNumber(want)
	case "enum":
		same = s.equalEnum(want)
	default:
		same = s.Value == want
	}
	if err != nil {
		return false, fmt.Errorf("compare setting %s: %w", s.Name, err)
	}
	return same, nil
}

func (s Setting) equalBool(want string) (bool, error) {
	w, err := parseBool(want)
	if err != nil {
		return false, err
	}
	have, err := parseBool(s.Value)
	return have == w, err
}

func (s Setting) equalEnum(want string) bool {
	if strings.EqualFold(s.Value, want) {
		return true
	}
	// Since 9.6 the two older names of wal_level replica are still accepted,
	// and enums with on and off take every spelling of a bool.
	if s.Name == "wal_level" && s.Value == "replica" {
		return strings.EqualFold(want, "archive") || strings.EqualFold(want, "hot_standby")
	}
	have, err1 := parseBool(s.Value)
	w, err2 := parseBool(want)
	return err1 == nil && err2 == nil && have == w
}

// parseBool is parse_bool of bool.c: unique prefixes of true, false, yes, no, on
// and off, and 1 and 0.
func parseBool(s string) (bool, error) {
	l := strings.ToLower(strings.TrimSpace(s))
	is := func(word string, least int) bool { return len(l) >= least && strings.HasPrefix(word, l) }
	switch {
	case is("true", 1), is("yes", 1), is("on", 2), l == "1":
		return true, nil
	case is("false", 1), is("no", 1), is("off", 2), l == "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean", s)
}

func (s Setting) equalNumber(want string) (bool, error) {
	w, err := s.number(want)
	if err != nil {
		return false, err
	}
	have, err := strconv.ParseFloat(s.Value, 64)
	if err != nil {
		return false, err
	}
	if s.Vartype == "integer" {
		return have == math.RoundToEven(w), nil
	}
	// The server prints a real with %g: six digits.
	f := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	return f(have) == f(w), nil
}

// number converts a value with an optional unit to s.Unit.
func (s Setting) number(want string) (float64, error) {
	m := numberText().FindStringSubmatch(want)
	if m == nil {
		return 0, fmt.Errorf("%q is not a number", want)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if strings.ContainsAny(m[1], "xX") {
		var i int64
		i, err = strconv.ParseInt(m[1], 0, 64)
		n = float64(i)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", want)
	}
	if m[2] == "" {
		return n, nil
	}
	u, ok := unitOf(m[2])
	base, hasBase := unitOf(s.Unit)
	if !ok || !hasBase || u.memory != base.memory {
		return 0, fmt.Errorf("%q has no unit that fits %q", want, s.Unit)
	}
	step := float64(u.smaller())
	n = math.RoundToEven(n*float64(u.size)/step) * step
	return n / float64(base.size), nil
}

func numberText() *regexp.Regexp {
	return regexp.MustCompile(`^\s*([+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*$`)
}
