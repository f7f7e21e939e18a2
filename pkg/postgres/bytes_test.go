package postgres

import "testing"

func TestSizesAreReadWithPostgreSQLsUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "1024": 1024, "16MB": 16 << 20, "16 mb": 16 << 20, "1kB": 1 << 10, "2gb": 2 << 30, "1TB": 1 << 40, "7B": 7} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
		if back, err := ParseBytes(FormatBytes(want)); err != nil || back != want {
			t.Errorf("%d is written %q", want, FormatBytes(want))
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5GB", "1PB", "1MBB", "1 M B", "9999999999GB", "0x10", "1e3", "1MiB", "٣MB"} {
		if n, err := ParseBytes(text); err == nil {
			t.Errorf("%q is read as %d", text, n)
		}
	}
}
