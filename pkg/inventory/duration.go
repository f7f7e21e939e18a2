package inventory

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// maxDelay is the greatest recovery_min_apply_delay: an int of milliseconds.
const maxDelay = math.MaxInt32 * time.Millisecond

// parseDuration reads PostgreSQL's spelling of a time with its unit. Texts
// that are no duration, or longer than 100 years, are not ok.
func parseDuration(text string) (d time.Duration, ok bool) {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	unit, ok := map[string]time.Duration{
		"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}[text[len(number):]]
	if !ok {
		return 0, false
	}
	number = strings.TrimSuffix(number, " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || n*float64(unit) > float64(100*365*24*time.Hour) {
		return 0, false
	}
	return time.Duration(n * float64(unit)).Round(time.Microsecond), true
}

// formatDuration is the shortest such spelling with a whole number.
func formatDuration(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{
		{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute},
		{"s", time.Second}, {"ms", time.Millisecond},
	}
	for _, u := range units {
		if d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(d.Microseconds(), 10) + "us"
}
