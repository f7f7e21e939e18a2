package check

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// maxReason keeps an answer in one packet, and HAProxy's log readable.
const maxReason = 120

// readyFor is how long "ready" is said after a maint of ours has ended.
const readyFor = time.Minute

// Agent is the answer to HAProxy's agent-check at a time, one line: up with a weight,
// down or maint. HAProxy keeps a drain or maint until "ready" takes it back, whoever
// set it: the agent, an operator, or the run itself by the stats socket. So a drain
// by a run is said as weight 0, which drains as well and ends by itself. "ready" is
// said only for a while after a maint of ours has ended: who drains a server by
// other means is not overruled.
func (p Policy) Agent(q Question, s State, at time.Time) string {
	ready := ""
	if !s.Maint.IsZero() && at.Sub(s.Maint) < readyFor {
		ready = "ready "
	}
	switch {
	case q.Answer(s):
		return fmt.Sprintf("%sup %d%%\n", ready, p.Weight(s))
	case q == AskPrimary && s.Role == inventory.Standby:
		return ready + "down #takes no writes\n"
	case s.In && s.Role == inventory.Primary:
		return ready + "down #takes writes, and reads are asked for\n"
	case s.Reason == Drained, s.Reason == FilesUnknown: // the sessions that are there may end by themselves
		return ready + "up 0%\n"
	case s.Reason == Closed || s.Reason == Delayed:
		return "maint #" + line(s.Why) + "\n"
	}
	return ready + "down #" + line(s.Why) + "\n"
}

// Weight is the part of its configured weight that a server shall have, in percent:
// all of it up to the minimum of lag, a tenth at the maximum, in steps of ten.
func (p Policy) Weight(s State) int {
	if s.Role != inventory.Standby {
		return 100
	}
	part := 0.0 // of the way from the minimum to the maximum
	if s.LagBytes != nil && p.MaxBytes > p.MinBytes {
		part = max(part, float64(*s.LagBytes-p.MinBytes)/float64(p.MaxBytes-p.MinBytes))
	}
	if s.LagSecondsAtLeast != nil && p.MaxTime > p.MinTime {
		part = max(part, (*s.LagSecondsAtLeast-p.MinTime.Seconds())/(p.MaxTime-p.MinTime).Seconds())
	}
	return 100 - 10*int(9*min(max(part, 0), 1))
}

// line makes one harmless line of a text, which may have come from a host.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar || r > unicode.MaxASCII:
			return '?'
		case !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, s)
	if len(s) > maxReason {
		s = s[:maxReason-3] + "..."
	}
	return strings.TrimSpace(s)
}
