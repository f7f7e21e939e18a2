package ui

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestWatchedResultsFollowEachOtherOffTheTerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	now := noon()
	v := NewWatch(&b, WatchOptions{Now: func() time.Time { return now }})
	for _, result := range []string{"HOST  LAG\npg2   0 B\n", "HOST  LAG\npg2   9 B\n"} {
		if err := v.Show(result); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	want := "2026-01-02T12:00:00Z\nHOST  LAG\npg2   0 B\n\n2026-01-02T12:00:02Z\nHOST  LAG\npg2   9 B\n\n"
	if b.String() != want {
		t.Errorf("%q", b.String())
	}
}

func TestWatchedScreenIsDrawnOverAndLeft(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := NewWatch(&b, WatchOptions{Screen: true, Now: noon, Size: func() (int, int) { return 80, 3 }})
	show := func(result, want string) {
		t.Helper()
		b.Reset()
		if err := v.Show(result); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
	const begin, end = "\x1b[?25l\x1b[H2026-01-02T12:00:00Z\x1b[K\r\n", "\x1b[K\x1b[J\x1b[?25h"
	show("a\nb\nc\nd\n", "\x1b[?1049h"+begin+"a\x1b[K\r\nb"+end) // what does not fit is cut
	show("x\n", begin+"x"+end)
	b.Reset()
	for range 2 {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if b.String() != "\x1b[?1049l" {
		t.Errorf("%q", b.String())
	}
}

func TestClosedWatchThatShowedNothingWritesNothing(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := NewWatch(&b, WatchOptions{Screen: true}).Close(); err != nil || b.Len() != 0 {
		t.Errorf("%v, %q", err, b.String())
	}
}
