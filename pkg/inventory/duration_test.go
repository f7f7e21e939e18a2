package inventory

import (
	"testing"
	"time"
)

func TestDurationsAreReadAsPostgreSQLDoes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"2h": 2 * time.Hour, "30min": 30 * time.Minute, "1d": 24 * time.Hour, "10s": 10 * time.Second,
		"500ms": 500 * time.Millisecond, "20us": 20 * time.Microsecond, "1.5h": 90 * time.Minute, "2 h": 2 * time.Hour,
	} {
		if got, ok := parseDuration(text); !ok || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "10", "2m", "2H", "h", "-1s", "1h30min", "36501d", "1e3s"} {
		if got, ok := parseDuration(text); ok {
			t.Errorf("%q is accepted as %v", text, got)
		}
	}
}

func TestDurationsAreWrittenInTheLargestUnitThatIsWhole(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"2h": 2 * time.Hour, "90min": 90 * time.Minute, "1d": 24 * time.Hour, "1500ms": 1500 * time.Millisecond,
		"7us": 7 * time.Microsecond, "61s": 61 * time.Second,
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
