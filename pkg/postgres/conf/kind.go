package conf

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind says how a parameter's values compare. Both fields are spelled as in
// pg_settings: Vartype is bool, integer, real, string or enum; Unit is the unit
// of a number without one, such as 8kB, MB or ms, and empty when it has none.
type Kind struct {
	Vartype string
	Unit    string
}

// Equal reports whether the server takes a and b for the same value, so that
// 1GB equals 1024MB and yes equals on. Values that the kind does not allow are
// equal only if they are spelled the same. It does not know what one parameter
// alone has, such as wal_level, where 9.6 and later read hot_standby as replica.
func (k Kind) Equal(a, b string) bool {
	if a == b {
		return true
	}
	switch k.Vartype {
	case "bool":
		x, okX := parseBool(a)
		y, okY := parseBool(b)
		return okX && okY && x == y
	case "integer", "real":
		c, err := k.Compare(a, b)
		return err == nil && c == 0
	case "enum":
		return enumWord(a) == enumWord(b)
	}
	return false
}

// Compare orders two numbers: -1, 0 or +1 when a is less than, equal to or
// greater than b in the parameter's unit. Other kinds have no order.
func (k Kind) Compare(a, b string) (int, error) {
	x, err := k.number(a)
	if err != nil {
		return 0, fmt.Errorf("compare %q: %w", a, err)
	}
	y, err := k.number(b)
	if err != nil {
		return 0, fmt.Errorf("compare %q: %w", b, err)
	}
	return cmp.Compare(x, y), nil
}

// Number is a value in the parameter's unit. Other kinds have none.
func (k Kind) Number(s string) (float64, error) { return k.number(s) }

// number reads a value as parse_int and parse_real of guc.c do since 12, in the
// parameter's unit. Earlier releases read no fractions of an integer.
func (k Kind) number(s string) (float64, error) {
	if k.Vartype != "integer" && k.Vartype != "real" {
		return 0, fmt.Errorf("a %s has no order", cmp.Or(k.Vartype, "value of unknown type"))
	}
	s = strings.Trim(s, " \t\n\v\f\r")
	v, rest, err := leadingNumber(s, k.Vartype == "integer")
	if err != nil {
		return 0, err
	}
	if unit := strings.TrimLeft(rest, " \t\n\v\f\r"); unit != "" {
		if v, err = convert(v, unit, k.Unit); err != nil {
			return 0, err
		}
	}
	if k.Vartype == "real" {
		return v, nil
	}
	v = math.RoundToEven(v)
	if v > math.MaxInt32 || v < math.MinInt32 {
		return 0, errors.New("out of range")
	}
	return v, nil
}

// leadingNumber splits off the number that s begins with. It may be hexadecimal,
// and an integer octal, for the server calls strtod, and strtol with base 0.
func leadingNumber(s string, octal bool) (float64, string, error) {
	text := []byte(s)
	i := 0
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		i++
	}
	digits := run(text, i, isDigit)
	stop := digits
	if stop < len(text) && text[stop] == '.' {
		stop = run(text, stop+1, isDigit)
	}
	if digits == i && stop <= i+1 {
		return 0, "", errors.New("not a number")
	}
	stop = endOfExponent(text, stop)

	hex := i+1 < len(text) && text[i] == '0' && (text[i+1] == 'x' || text[i+1] == 'X')
	if hex || octal && stop == digits && text[i] == '0' {
		stop = run(text, i, func(c byte) bool { return c >= '0' && c <= '7' })
		if hex {
			stop = run(text, i+2, isHexDigit)
		}
		n, err := strconv.ParseInt(s[:stop], 0, 64)
		return float64(n), s[stop:], err
	}
	v, err := strconv.ParseFloat(s[:stop], 64)
	return v, s[stop:], err
}

// unit is a unit and its size in the smallest one of its family.
type unit struct {
	name string
	size float64
}

// families are ordered from large to small, which the rounding needs. Names of
// units are case-sensitive.
func families() [][]unit {
	return [][]unit{
		{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}},
		{{"d", 86400e6}, {"h", 3600e6}, {"min", 60e6}, {"s", 1e6}, {"ms", 1e3}, {"us", 1}},
	}
}

// convert gives v of the unit from in the parameter's unit, like
// convert_to_base_unit: a fraction is first rounded to the next smaller unit.
func convert(v float64, from, to string) (float64, error) {
	count := run([]byte(to), 0, isDigit) // 8kB: blocks of 8 kB
	blocks := 1.0
	if count > 0 {
		n, err := strconv.ParseFloat(to[:count], 64)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("unknown unit %q", to)
		}
		blocks = n
	}
	for _, family := range families() {
		base := find(family, to[count:])
		given := find(family, from)
		if base < 0 || given < 0 {
			continue
		}
		one := family[base].size * blocks
		v *= family[given].size / one
		if given+1 < len(family) {
			smaller := family[given+1].size / one
			v = math.RoundToEven(v/smaller) * smaller
		}
		return v, nil
	}
	return 0, fmt.Errorf("unit %q does not fit a parameter in %q", from, to)
}

func find(family []unit, name string) int {
	for i, u := range family {
		if u.name == name {
			return i
		}
	}
	return -1
}

// parseBool takes what parse_bool of the server takes: any prefix of true,
// false, yes and no, of on and off as far as it is clear, 1 and 0; in any case.
func parseBool(s string) (value, ok bool) {
	s = foldName(s)
	switch {
	case s == "":
		return false, false
	case s == "1", s == "on", strings.HasPrefix("true", s), strings.HasPrefix("yes", s):
		return true, true
	case s == "0", s == "of", s == "off", strings.HasPrefix("false", s), strings.HasPrefix("no", s):
		return false, true
	}
	return false, false
}

// enumWord folds the spellings that every enum with on and off accepts besides.
func enumWord(s string) string {
	switch s = foldName(s); s {
	case "true", "yes", "1":
		return "on"
	case "false", "no", "0":
		return "off"
	}
	return s
}
