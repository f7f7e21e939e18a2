package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

// calm is what a rolled change should show.
func calm() *outcome {
	return &outcome{trial: trial{name: "roll", on: shape{standbys: []string{"h2", "h3"}}, times: 1, claim: harmless},
		read: reads{due: 20000, longest: 60 * time.Millisecond, stalest: 200 * time.Millisecond}, wrote: reads{due: 900, longest: 150 * time.Millisecond},
		reports: &reports{ended: 2}, deploys: []deploy{{total: 24 * time.Second, own: 2 * time.Second, attempts: 1}}, statement: 3 * time.Millisecond}
}

func TestWhatAnOutcomeMustShow(t *testing.T) {
	naive := func(o *outcome) { o.claim, o.waits, o.read.stalest, o.deploys[0].own = blocks, 16, 22*time.Second, 0 }
	for _, c := range []struct {
		name   string
		change func(*outcome)
		missed string // part of the figure's name; empty is none
	}{
		{"a calm rollout", func(*outcome) {}, ""},
		{"a failed read", func(o *outcome) { o.read.failed = 1 }, "failed reads"},
		{"a wait that a server logged", func(o *outcome) { o.waits = 1 }, "lock waits"},
		{"a report that did not end", func(o *outcome) { o.reports.cancelled = []string{"h2: gone"} }, "cancelled reports"},
		{"a cancel that only the server tells of", func(o *outcome) { o.cancelled = 1 }, "cancelled by recovery"},
		{"a stale read", func(o *outcome) { o.read.stalest = 1100 * time.Millisecond }, "stalest read"},
		{"as stale as a rewrite takes", func(o *outcome) { o.read.stalest, o.statement = 2100*time.Millisecond, 1200*time.Millisecond }, ""},
		{"a write that waited for more than a lock timeout", func(o *outcome) { o.wrote.longest = 500 * time.Millisecond }, "longest write"},
		{"a slow tool", func(o *outcome) { o.deploys[0].own = 4 * time.Second }, "own time"},
		{"a deploy that failed", func(o *outcome) { o.deploys = nil }, "deploys that failed"},
		{"a lock that nobody held", func(o *outcome) { o.trial.attempts = 3 }, "attempts"},
		{"the naive way blocks", naive, ""},
		{"the naive way blocks not everybody", func(o *outcome) { naive(o); o.waits = 15 }, "lock waits"},
		{"reports outlive a delay of 0", func(o *outcome) { o.claim = cancels }, "cancelled reports"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, r := calm(), &figures.Report{}
			c.change(o)
			o.book(r, "15", &outcome{read: reads{longest: 50 * time.Millisecond}, wrote: reads{longest: 50 * time.Millisecond}}, 16, 1)
			var missed strings.Builder
			if err := r.Missed(&missed); err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(missed.String(), "MISSED"); c.missed == "" && lines != 0 || c.missed != "" && (lines != 1 || !strings.Contains(missed.String(), c.missed)) {
				t.Errorf("missed, want %q:\n%s", c.missed, missed.String())
			}
		})
	}
}

func TestOneRowOfTheTable(t *testing.T) {
	o := calm()
	o.waits, o.waited, o.read.backward, o.read.furthest = 16, 22100*time.Millisecond, 3, 150*time.Millisecond
	want := "| roll | 0 of 20000 | 16 (22.1 s) | 0 of 2 | 60 ms | 0 | 200 ms | 3 (150 ms) | 150 ms | 3 ms | 2.0 s | 24.0 s |"
	if got := markdown([]*outcome{o}); !strings.Contains(got, want+"\n") {
		t.Errorf("%s\nwant %s", got, want)
	}
}
