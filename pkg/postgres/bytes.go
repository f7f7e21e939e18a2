package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseBytes reads a size with the units of postgresql.conf (B, kB, MB, GB, TB:
// powers of 1024), here in any case; a number without one is bytes.
func ParseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTbkmgt ")
	shift, ok := map[string]uint{"": 0, "b": 0, "kb": 10, "mb": 20, "gb": 30, "tb": 40}[strings.ToLower(strings.TrimSpace(s[len(digits):]))]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || !ok || n > (1<<62)>>shift {
		return 0, fmt.Errorf("%q is not a size like 16MB", s)
	}
	return n << shift, nil
}

// FormatBytes is the shortest text that ParseBytes reads as n.
func FormatBytes(n int64) string {
	for i, unit := range []string{"TB", "GB", "MB", "kB"} {
		if shift := 40 - 10*i; n != 0 && n%(1<<shift) == 0 {
			return strconv.FormatInt(n>>shift, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// scale is the unit in which PostgreSQL shows n bytes: pg_size_pretty's names,
// powers of 1024.
func scale(n int64) (unit string, bytes float64) {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	bytes = 1
	i := 0
	for float64(n) >= 999.5*bytes && i < len(units)-1 {
		bytes *= 1024
		i++
	}
	return units[i], bytes
}

// decimals gives three digits; bytes have no fractions.
func decimals(v float64, unit string) int {
	switch {
	case unit == "B" || v >= 99.95:
		return 0
	case v >= 9.995:
		return 1
	default:
		return 2
	}
}

// PrettyBytes is a size for people, with its unit and three digits: 18.2 GB.
func PrettyBytes(n int64) string {
	unit, per := scale(n)
	v := float64(n) / per
	return strconv.FormatFloat(v, 'f', decimals(v, unit), 64) + " " + unit
}

// PrettyShare is done/total in the unit and the precision of total.
func PrettyShare(done, total int64) string {
	unit, per := scale(total)
	n := decimals(float64(total)/per, unit)
	form := func(b int64) string { return strconv.FormatFloat(float64(b)/per, 'f', n, 64) }
	return form(done) + "/" + form(total) + " " + unit
}
