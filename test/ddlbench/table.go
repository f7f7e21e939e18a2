package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

// columns are those of the table, in order.
func columns() []string {
	return []string{"case", "failed reads", "waits ≥10 ms", "cancelled reports", "longest read", "reads >100 ms", "stalest read", "steps back (furthest)", "longest write", "ALTER", "tool's own", "whole deploy"}
}

func (o *outcome) row() []string {
	alter, own, whole := "-", "-", "-"
	if len(o.deploys) > 0 {
		alter, whole = span(o.statement), span(o.most(func(d deploy) time.Duration { return d.total }))
		if most := o.most(func(d deploy) time.Duration { return d.own }); most > 0 {
			own = span(most)
		}
	}
	waits := fmt.Sprint(o.waits)
	if o.waits > 0 {
		waits += " (" + span(o.waited) + ")"
	}
	back := fmt.Sprint(o.read.backward)
	if o.read.backward > 0 {
		back += " (" + span(o.read.furthest) + ")"
	}
	return []string{o.name, fmt.Sprintf("%d of %d", o.read.failed, o.read.due), waits, fmt.Sprintf("%d of %d", len(o.reports.cancelled), o.reports.ended+len(o.reports.cancelled)),
		span(o.read.longest), fmt.Sprint(o.read.blocked), span(o.read.stalest), back, span(o.wrote.longest), alter, own, whole}
}

func (o *outcome) most(of func(deploy) time.Duration) time.Duration {
	var most time.Duration
	for _, d := range o.deploys {
		most = max(most, of(d))
	}
	return most
}

// tried is the most attempts of a deploy.
func (o *outcome) tried() int {
	most := 0
	for _, d := range o.deploys {
		most = max(most, d.attempts)
	}
	return most
}

// span is a time as people read it.
func span(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func writeTable(w io.Writer, all []*outcome) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(columns(), "\t")))
	for _, o := range all {
		fmt.Fprintln(t, strings.Join(o.row(), "\t"))
	}
	return t.Flush()
}

// claim is what the figures of one trial must show.
type claim int

const (
	shows    claim = iota // that no read fails; all else is only told
	blocks                // that every client waits: then the load would see it if something blocked
	cancels               // that every report is cancelled
	harmless              // that no read fails, waits or is cancelled
)

// The bars of what depends on how busy the machine is.
const (
	mostStale = time.Second
	mostOwn   = 3 * time.Second
	// mostNoise is what the machine may add to the longest write beyond what it adds without DDL.
	mostNoise = 100 * time.Millisecond
)

// book adds the figures of a trial, with their bars. slack is how many times as slow as
// its bar the tool may be.
func (o *outcome) book(r *figures.Report, major string, control *outcome, clients int, slack time.Duration) {
	name := func(s string) string { return fmt.Sprintf("%s: %s: %s", major, o.name, s) }
	ms := func(d time.Duration) float64 { return float64(d.Milliseconds()) }
	count := func(what string, n int, none bool) {
		if none {
			r.None(name(what), float64(n), "count")
			return
		}
		r.Note(name(what), float64(n), "count")
	}
	r.AtLeast(name("reads due"), float64(o.read.due), "count", 1)
	r.None(name("deploys that failed or were not begun"), float64(o.times-len(o.deploys)), "count")
	safe := o.claim == harmless
	count("failed reads", o.read.failed, safe || o.claim == shows)
	switch o.claim {
	case blocks:
		r.AtLeast(name("lock waits of 10 ms or more"), float64(o.waits), "count", float64(clients))
	default:
		count("lock waits of 10 ms or more", o.waits, safe)
	}
	switch o.claim {
	case cancels:
		r.AtLeast(name("cancelled reports"), float64(len(o.reports.cancelled)), "count", float64(len(o.on.standbys)))
	default:
		count("cancelled reports", len(o.reports.cancelled), safe)
	}
	count("cancelled by recovery, as the standbys log it", o.cancelled, safe)
	r.Note(name("longest lock wait of a read"), ms(o.waited), "ms")
	r.Note(name("longest read"), ms(o.read.longest), "ms")
	r.Note(name("longest read against that without DDL"), o.read.longest.Seconds()/control.read.longest.Seconds(), "x")
	r.Note(name("reads blocked for more than 100 ms"), float64(o.read.blocked), "count")
	r.Note(name("steps backward in time"), float64(o.read.backward), "count")
	r.Note(name("furthest step backward"), ms(o.read.furthest), "ms")
	r.Note(name("longest that replay waited for reads"), ms(o.replay), "ms")
	r.Note(name("longest ALTER on the primary"), ms(o.statement), "ms")
	if !safe {
		r.Note(name("stalest read"), ms(o.read.stalest), "ms")
		r.Note(name("longest write"), ms(o.wrote.longest), "ms")
		return
	}
	// A paused standby is as old as the statement took, in the worst case.
	r.AtMost(name("stalest read"), ms(o.read.stalest), "ms", ms(slack*mostStale+o.statement))
	// What a write waits beyond the DDL it waits without any, too.
	r.AtMost(name("longest write"), ms(o.wrote.longest), "ms", ms(max(lockTimeout, o.statement)+control.wrote.longest+slack*mostNoise))
	r.None(name("failed writes"), float64(o.wrote.failed), "count")
	if o.attempts > 0 {
		r.AtLeast(name("attempts to get the lock"), float64(o.tried()), "count", float64(o.attempts))
	}
	if len(o.deploys) > 0 {
		r.AtMost(name("the tool's own time of a deploy"), o.most(func(d deploy) time.Duration { return d.own }).Seconds(), "s", (slack * mostOwn).Seconds())
		r.Note(name("longest deploy"), o.most(func(d deploy) time.Duration { return d.total }).Seconds(), "s")
	}
}

// tell writes the row of a trial when it is done, and what was said when something failed.
func (o *outcome) tell(w io.Writer) {
	fmt.Fprintln(w, strings.Join(o.row(), " | "))
	if o.failed != nil {
		fmt.Fprintln(w, "   ", o.failed)
	}
	for _, e := range append(append(o.read.errors, o.wrote.errors...), o.reports.cancelled...) {
		fmt.Fprintln(w, "   ", e)
	}
}
