package ui

import (
	"strconv"
	"time"
)

func number(n int) string { return strconv.Itoa(n) }

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

// Bytes is a size with its unit: 18.2 GB.
func Bytes(n int64) string {
	unit, per := scale(n)
	v := float64(n) / per
	return strconv.FormatFloat(v, 'f', decimals(v, unit), 64) + " " + unit
}

// byteRange is done/total in the unit and the precision of total.
func byteRange(done, total int64) string {
	unit, per := scale(total)
	n := decimals(float64(total)/per, unit)
	form := func(b int64) string { return strconv.FormatFloat(float64(b)/per, 'f', n, 64) }
	return form(done) + "/" + form(total) + " " + unit
}

// Span is a duration for people: 850ms, 12s, 3m12s, 2h05m, 3d04h.
func Span(d time.Duration) string {
	two := func(n int64) string {
		if n < 10 {
			return "0" + strconv.FormatInt(n, 10)
		}
		return strconv.FormatInt(n, 10)
	}
	part := func(unit time.Duration) int64 { return int64(d / unit) }
	switch d = max(d, 0); {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < time.Minute:
		return strconv.FormatInt(part(time.Second), 10) + "s"
	case d < time.Hour:
		return strconv.FormatInt(part(time.Minute), 10) + "m" + two(part(time.Second)%60) + "s"
	case d < 24*time.Hour:
		return strconv.FormatInt(part(time.Hour), 10) + "h" + two(part(time.Minute)%60) + "m"
	default:
		return strconv.FormatInt(part(time.Hour)/24, 10) + "d" + two(part(time.Hour)%24) + "h"
	}
}
