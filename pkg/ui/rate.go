package ui

import (
	"math"
	"strconv"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// window is how far back a rate looks: long enough to ride over one file's
// end, short enough to show a link that has become slow.
const window = 10 * time.Second

// silence is how long a copy that goes on may say nothing.
const silence = 5 * time.Second

// rate measures a copy from its progress events.
type rate struct {
	samples []sample // oldest first; the first is the newest one outside the window
}

type sample struct {
	at    time.Time
	bytes int64
}

// add takes one measurement. Fewer bytes than before begin a new copy.
func (r *rate) add(at time.Time, bytes int64) {
	if n := len(r.samples); n > 0 && bytes < r.samples[n-1].bytes {
		r.samples = r.samples[:0]
	}
	r.samples = append(r.samples, sample{at, bytes})
	for len(r.samples) > 2 && at.Sub(r.samples[1].at) >= window {
		r.samples = r.samples[1:]
	}
}

// perSecond is the mean rate of the window that ends with the last sample. A
// silence of more than some reports' time counts too: the rate falls, as the
// user should see. 0 when it is not known yet.
func (r *rate) perSecond(now time.Time) float64 {
	if len(r.samples) < 2 {
		return 0
	}
	first, last := r.samples[0], r.samples[len(r.samples)-1]
	end := last.at
	if now.Sub(end) > silence {
		end = now
	}
	seconds := end.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(last.bytes-first.bytes) / seconds
}

// measured adds to p what is known of its rate.
func (r *rate) measured(p event.Progress, now time.Time) event.Progress {
	// Sources grow while they are copied: never more than all of it.
	if p.Total > 0 {
		p.Percent = percent(min(p.Bytes, p.Total), p.Total)
	}
	speed := r.perSecond(now)
	if speed < 1 {
		return p
	}
	p.Rate = int64(speed)
	if left := p.Total - p.Bytes; p.Total > 0 && left > 0 {
		if eta := float64(left) / speed; eta < 100*24*3600 {
			p.Left = max(1, int64(math.Round(eta)))
		}
	}
	return p
}

// describe is "18.2/41.3 GB  44%  612 MB/s  eta 38s  zstd:1", as far as it is known.
func (r *rate) describe(p event.Progress, now time.Time) string {
	p = r.measured(p, now)
	s := Bytes(p.Bytes)
	if p.Total > 0 {
		s = postgres.PrettyShare(min(p.Bytes, p.Total), p.Total) + "  " + strconv.FormatInt(p.Percent, 10) + "%"
	}
	if p.Rate > 0 {
		s += "  " + Bytes(p.Rate) + "/s"
	}
	if p.Left > 0 {
		s += "  eta " + Span(time.Duration(p.Left)*time.Second)
	}
	if p.Note != "" {
		s += "  " + p.Note
	}
	return s
}

// percent rounds down: 100% is said only of a whole copy. Both numbers are far
// below the 92 PB at which the product would overflow.
func percent(done, total int64) int64 { return done * 100 / total }
