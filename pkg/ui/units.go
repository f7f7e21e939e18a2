package ui

import (
	"strconv"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func number(n int) string { return strconv.Itoa(n) }

// Bytes is a size with its unit: 18.2 GB.
func Bytes(n int64) string { return postgres.PrettyBytes(n) }

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
