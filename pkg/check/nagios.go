package check

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Service states of the Monitoring Plugins' guidelines, which are exit codes.
const (
	NagiosOK       = 0
	NagiosWarning  = 1
	NagiosCritical = 2
	NagiosUnknown  = 3
)

// Nagios is the line of a monitoring plugin, with performance data, and its exit
// code. Critical is a host that is out and should not be; a warning is one on its
// way in, or late and still in; a host that gave no answer is unknown. What
// somebody planned is ok.
func (p Policy) Nagios(cluster string, states []State) (string, int) {
	code := NagiosOK
	var bad, perf []string
	in := 0
	for _, s := range states {
		c := p.nagios(s)
		if worse(c, code) {
			code = c
		}
		if s.In {
			in++
		}
		if c != NagiosOK {
			bad = append(bad, s.Host+": "+line(s.Why))
		}
		perf = append(perf, p.perf(s)...)
	}
	word := []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[code]
	text := fmt.Sprintf("REPLICATION %s - %d of %d hosts of %s in", word, in, len(states), cluster)
	if len(bad) > 0 {
		text += "; " + strings.Join(bad, "; ")
	}
	// A bar divides text from performance data.
	return strings.ReplaceAll(text, "|", "/") + " | " + strings.Join(perf, " ") + "\n", code
}

// worse orders the states as the guidelines say: unknown is between warning and
// critical.
func worse(a, b int) bool {
	rank := []int{0, 1, 3, 2}
	return rank[a] > rank[b]
}

func (p Policy) nagios(s State) int {
	switch {
	case s.Reason == Unreachable, s.Reason == Unseen, s.Reason == Stale, s.Reason == FilesUnknown:
		return NagiosUnknown
	case s.Reason.Planned():
		return NagiosOK
	case s.In && p.Weight(s) < 100, waiting(s.Reason) && s.Reason != NoReceiver:
		return NagiosWarning
	case s.In:
		return NagiosOK
	}
	return NagiosCritical
}

func (p Policy) perf(s State) []string {
	label := func(what string) string { return "'" + strings.ReplaceAll(s.Host, "'", "") + " " + what + "'" }
	out := []string{fmt.Sprintf("%s=%d", label("in"), number(s.In))}
	if s.Role != inventory.Standby {
		return out
	}
	if s.LagBytes != nil {
		out = append(out, fmt.Sprintf("%s=%dB;%s;%s;0", label("lag"), *s.LagBytes, some(p.MinBytes), some(p.MaxBytes)))
	}
	if s.LagSeconds != nil {
		out = append(out, fmt.Sprintf("%s=%.3fs;%s;%s;0", label("age"), *s.LagSeconds, someTime(p.MinTime), someTime(p.MaxTime)))
	}
	return out
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func some(n int64) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func someTime(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf("%g", d.Seconds())
}
