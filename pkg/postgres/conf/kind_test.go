package conf

import "testing"

func TestEqualKnowsUnitsAndSpellings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind Kind
		a, b string
		want bool
	}{
		{Kind{"integer", "MB"}, "1GB", "1024MB", true},
		{Kind{"integer", "MB"}, "1GB", "1024", true},
		{Kind{"integer", "MB"}, "1GB", "1000MB", false},
		{Kind{"integer", "MB"}, "1TB", "1048576", true},
		{Kind{"integer", "8kB"}, "128MB", "16384", true},
		{Kind{"integer", "16MB"}, "1GB", "64", true},
		{Kind{"integer", "kB"}, "64mb", "64MB", false},
		{Kind{"integer", "kB"}, "64mb", "64mb", true},
		{Kind{"integer", "B"}, "1MB", "1048576", true},
		{Kind{"integer", "s"}, "5min", "300", true},
		{Kind{"integer", "s"}, "1d", "86400s", true},
		{Kind{"integer", "s"}, "1500ms", "2", true},
		{Kind{"integer", "min"}, "1d", "1440", true},
		{Kind{"integer", "ms"}, "1s", "1000000us", true},
		{Kind{"integer", "ms"}, "1MB", "1048576", false},
		{Kind{"integer", ""}, "0x10", "16", true},
		{Kind{"integer", ""}, "1kB", "1024", false},
		{Kind{"integer", "0kB"}, "1kB", "1", false},
		{Kind{"real", ""}, "0.5", ".50", true},
		{Kind{"real", "ms"}, "2ms", "2000us", true},
		{Kind{"bool", ""}, "on", "YES", true},
		{Kind{"bool", ""}, "t", "1", true},
		{Kind{"bool", ""}, "off", "n", true},
		{Kind{"bool", ""}, "on", "off", false},
		{Kind{"bool", ""}, "on", "o", false},
		{Kind{"bool", ""}, "on", "", false},
		{Kind{"enum", ""}, "REPLICA", "replica", true},
		{Kind{"enum", ""}, "on", "true", true},
		{Kind{"enum", ""}, "on", "local", false},
		{Kind{"string", ""}, "A", "a", false},
		{Kind{"string", ""}, "a", "a", true},
		{Kind{}, "1", "1", true},
		{Kind{}, "1", "01", false},
	}
	for _, tt := range tests {
		if got := tt.kind.Equal(tt.a, tt.b); got != tt.want {
			t.Errorf("%+v: %q equals %q = %v", tt.kind, tt.a, tt.b, got)
		}
		if got := tt.kind.Equal(tt.b, tt.a); got != tt.want {
			t.Errorf("%+v: %q equals %q = %v", tt.kind, tt.b, tt.a, got)
		}
	}
}

func TestCompareOrdersNumbersAndNothingElse(t *testing.T) {
	t.Parallel()
	mb := Kind{"integer", "MB"}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"1GB", "2GB", -1}, {"2GB", "1024", 1}, {"-1", "0", -1}, {"1GB", "1024MB", 0}} {
		if got, err := mb.Compare(tt.a, tt.b); err != nil || got != tt.want {
			t.Errorf("Compare(%s, %s) = %d, %v", tt.a, tt.b, got, err)
		}
	}
	for _, tt := range []struct {
		kind Kind
		a, b string
		want string
	}{
		{mb, "x", "1", `compare "x": not a number`},
		{mb, "1", "", `compare "": not a number`},
		{mb, "1", "3000TB", `compare "3000TB": out of range`},
		{mb, "1", "1s", `compare "1s": unit "s" does not fit a parameter in "MB"`},
		{Kind{"bool", ""}, "on", "off", `compare "on": a bool has no order`},
		{Kind{}, "1", "2", `compare "1": a value of unknown type has no order`},
	} {
		if _, err := tt.kind.Compare(tt.a, tt.b); err == nil || err.Error() != tt.want {
			t.Errorf("%+v: Compare(%s, %s): %v, not %s", tt.kind, tt.a, tt.b, err, tt.want)
		}
	}
}
