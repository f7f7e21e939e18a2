package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLatenciesAreOfTheSpanAndLeaveTheScheduleOut(t *testing.T) {
	from := time.Unix(1000, 0)
	var log strings.Builder
	fmt.Fprintln(&log, "0 1 900000 0 999 999999 0") // before
	for i := range 200 {
		// It waited 5 ms for its turn, and took 1 ms; the last two took 30.
		took := 6000
		if i >= 197 {
			took = 35000
		}
		fmt.Fprintf(&log, "%d %d %d 0 %d 500000 5000\n", i%4, i, took, 1000+i/20)
	}
	fmt.Fprintln(&log, "0 9 900000 0 1010 1 0") // after
	log.WriteString("1 9 9")                    // cut off
	m, err := parseLatencies(log.String(), from, from.Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if got := p99(m.of); got != (latency{commit: 30, scheduled: 35}) {
		t.Errorf("p99 is %v, want 30 ms and 35 ms with the schedule", got)
	}
	if got := fmt.Sprintf("%.2f", m.rate); got != "21.05" {
		t.Errorf("rate is %s a second, want 200 in 9.5 s", got)
	}
}

func TestLatenciesOfAlmostNothingAreRefused(t *testing.T) {
	if _, err := parseLatencies("0 1 1000 0 1000 1 0\n", time.Unix(1000, 0), time.Unix(1001, 0)); err == nil {
		t.Error("one transaction was taken for a load")
	}
}

// A ratio of medians would be 1 here.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	a, b := []cost{{seconds: 2}, {seconds: 4}, {seconds: 6}}, []cost{{seconds: 1}, {seconds: 8}, {seconds: 3}}
	if got := paired(a, b, took); got != 2 {
		t.Errorf("median of the paired ratios is %v, want 2", got)
	}
}

func TestTablesReplaceThoseOfThePageAndNothingElse(t *testing.T) {
	page := "words\n" + tablesBegin + "old\n" + tablesEnd + "more words\n"
	got, err := splice([]byte(page), []byte("new\n"))
	if want := strings.Replace(page, "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("the page is %q (%v), want %q", got, err, want)
	}
	if _, err := splice([]byte("words\n"+tablesBegin), nil); err == nil {
		t.Error("a page without the second line was written")
	}
}

// What is in the cache of files is not free: to count it as free would fill the cache with holes
// in place of the source.
func TestFreeMemoryIsThatInWhichNothingIs(t *testing.T) {
	got, err := parseMemFree("MemTotal:       24000000 kB\nMemFree:         2000000 kB\nMemAvailable:   20000000 kB\n")
	if err != nil || got != 2000000<<10 {
		t.Errorf("%d bytes, %v", got, err)
	}
	if _, err := parseMemFree("MemTotal:       24000000 kB\n"); err == nil {
		t.Error("a machine that does not say it has some")
	}
}
