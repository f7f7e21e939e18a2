package ui

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

func TestCleanTextCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                      "plain",
		"größe 表":                    "größe 表",
		"a\nb\tc\r":                  "a b c",
		"\x1b[2Jgone":                "�[2Jgone",
		"\x1b]0;title\a":             "�]0;title�",
		"csi \u009b31m":              "csi �31m",
		"abc\u202etxt.exe":           "abc�txt.exe", // right-to-left override
		"bad \xff utf8":              "bad � utf8",
		"non\u00a0breaking\u2028sep": "non breaking sep",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzCleanIsPrintableAndStable(f *testing.F) {
	f.Add("a\x1b[0mb\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if clean(got) != got {
			t.Errorf("clean is not stable: %q", got)
		}
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\n\r\a\b\t\u009b\u202e") {
			t.Errorf("clean(%q) = %q", s, got)
		}
		for n := range 12 {
			if c := columns(fit(got, n)); c > n {
				t.Errorf("fit(%q, %d) has %d cells", got, n, c)
			}
		}
	})
}

func TestFitCountsCells(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"abc", -1, ""},
		{"表表表", 5, "表表…"}, {"表表表", 4, "表…"}, {"表表表", 6, "表表表"},
		{"e\u0301e\u0301", 2, "e\u0301e\u0301"},
	} {
		if got := fit(c.in, c.n); got != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

func TestSizesReadAsPostgreSQLShowsThem(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "0.98 kB", 1024: "1.00 kB", 1536: "1.50 kB", 99 << 10: "99.0 kB",
		100 << 10: "100 kB", 1 << 20: "1.00 MB", 41<<30 + 3<<28: "41.8 GB", 10230: "9.99 kB", 10236: "10.0 kB", 1 << 50: "1.00 PB", 1 << 62: "4096 PB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSpansRead(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 0: "0ms", 850 * time.Millisecond: "850ms", 59 * time.Second: "59s", 60 * time.Second: "1m00s",
		192 * time.Second: "3m12s", 125 * time.Minute: "2h05m", 76 * time.Hour: "3d04h",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestRateOfACopy(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var r rate
	p := event.Progress{Total: 500 * mb}
	var got []string
	step := func(second int, bytes int64) {
		p.Bytes = bytes
		r.add(at(second), bytes)
		got = append(got, r.describe(p, at(second)))
	}
	step(0, 0)
	step(2, 100*mb)
	for s := 3; s <= 20; s++ { // slower: after the window only this counts
		r.add(at(s), int64(100+10*(s-2))*mb)
	}
	step(21, 290*mb)
	got = append(got, r.describe(p, at(31))) // no news for as long as the window
	step(32, 5*mb)                           // begins again
	step(33, 500*mb)
	p.Total = 400 * mb // the source grew
	got = append(got, r.describe(p, at(33)))
	p.Total = 0
	got = append(got, r.describe(p, at(33)))
	want := []string{
		"0/500 MB  0%",
		"100/500 MB  20%  50.0 MB/s  eta 8s",
		"290/500 MB  58%  10.0 MB/s  eta 21s",
		"290/500 MB  58%  5.00 MB/s  eta 42s",
		"5/500 MB  1%",
		"500/500 MB  100%  495 MB/s",
		"400/400 MB  100%  495 MB/s",
		"500 MB  495 MB/s",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := len(r.samples); n > 12 {
		t.Errorf("%d samples kept", n)
	}
}

func TestWholeIsSaidOnlyOfAll(t *testing.T) {
	t.Parallel()
	if p := percent(9999, 10000); p != 99 {
		t.Errorf("%d%%", p)
	}
}
