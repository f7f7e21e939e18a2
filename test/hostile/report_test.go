package hostile

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"text/tabwriter"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

// tally is what became of the strings that one sink was given.
type tally struct {
	sink     string
	given    int
	trips    int // came back byte for byte
	rejected int // by our own code, before anything was sent
	executed int
	sample   bool // too slow for all strings
}

// lost is what neither came back nor was rejected.
func (t *tally) lost() int { return t.given - t.trips - t.rejected }

// maxErrors is how many strings of a sink are named; one mistake may lose them
// all.
const maxErrors = 10

// came compares what the consumer read with what it was given.
func (t *tally) came(tb testing.TB, want, got string) {
	tb.Helper()
	t.given++
	if want == got {
		t.trips++
		return
	}
	if t.lost() <= maxErrors {
		tb.Errorf("%s: %q became %q", t.sink, want, got)
	}
}

// refused counts a string that our own code does not let through. The reason
// must be one that the sink is known to have, "" is none.
func (t *tally) refused(tb testing.TB, s, reason string, err error) {
	tb.Helper()
	t.given++
	if reason != "" {
		t.rejected++
		return
	}
	if t.lost() <= maxErrors {
		tb.Errorf("%s: %q was refused without need: %v", t.sink, s, err)
	}
}

// sorted is one tally for each sink, in the order of their names.
func (l *ledger) sorted() []*tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := map[string]*tally{}
	for _, s := range l.all {
		if sum[s.sink] == nil {
			sum[s.sink] = &tally{sink: s.sink, sample: s.sample}
		}
		x := sum[s.sink]
		x.given, x.trips, x.rejected, x.executed = x.given+s.given, x.trips+s.trips, x.rejected+s.rejected, x.executed+s.executed
	}
	return slices.SortedFunc(maps.Values(sum), func(a, b *tally) int { return cmp.Compare(a.sink, b.sink) })
}

func table(w io.Writer, all []*tally) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "STRINGS\tROUND TRIPS\tREJECTED\tLOST\tEXECUTED\t  SINK")
	for _, s := range all {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t  %s\n", s.given, s.trips, s.rejected, s.lost(), s.executed, s.sink)
	}
	return t.Flush()
}

// figuresOf holds each sink against its bars.
func figuresOf(all []*tally, want int) *figures.Report {
	var r figures.Report
	for _, s := range all {
		if s.sample {
			r.Note(s.sink+": strings", float64(s.given), "count")
		} else {
			r.AtLeast(s.sink+": strings", float64(s.given), "count", float64(want))
		}
		r.Note(s.sink+": round trips", float64(s.trips), "count")
		r.Note(s.sink+": rejected", float64(s.rejected), "count")
		r.None(s.sink+": neither", float64(s.lost()), "count")
		r.None(s.sink+": executed", float64(s.executed), "count")
	}
	return &r
}
