package check

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// span is a duration for a sentence, to three digits.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	s := d.Round(time.Second).String()
	s = strings.TrimSuffix(s, "m0s")
	if s != d.Round(time.Second).String() {
		s += "m"
	}
	if h, ok := strings.CutSuffix(s, "h0m"); ok {
		s = h + "h"
	}
	return s
}

// said is the lag in words. streams: a receiver lives.
func said(l Lag, streams bool) string {
	text := "lag not known"
	if l.Bytes != nil {
		text = postgres.PrettyBytes(*l.Bytes) + " behind"
		if *l.Bytes == 0 {
			text = "nothing to replay"
		}
	}
	if l.AtMost != nil && *l.AtMost > 0 {
		text += fmt.Sprintf(", data of %s ago at the oldest", span(*l.AtMost))
	}
	if !streams {
		text += "; it receives nothing"
	}
	return text
}

func (p Policy) tooMuch(r Reason, l Lag) string {
	if r == LagTime {
		return fmt.Sprintf("its data is more than %s old, %s is the most", span(*l.AtLeast), span(p.MaxTime))
	}
	return fmt.Sprintf("%s behind, %s is the most", postgres.PrettyBytes(*l.Bytes), postgres.PrettyBytes(p.MaxBytes))
}

// low is the lag to come in with.
func (p Policy) low() string {
	switch {
	case p.MaxBytes > 0 && p.MaxTime > 0:
		return postgres.PrettyBytes(p.MinBytes) + " and " + span(p.MinTime)
	case p.MaxTime > 0:
		return span(p.MinTime)
	}
	return postgres.PrettyBytes(p.MinBytes)
}

// approach says how fast a standby catches up, and when it is there.
func (s *State) approach(p Policy) string {
	text := fmt.Sprintf("it catches up by %s a second", postgres.PrettyBytes(int64(s.Nearer)))
	if s.LagBytes == nil || *s.LagBytes <= p.MinBytes || p.MaxBytes <= 0 {
		return text
	}
	left := float64(*s.LagBytes-p.MinBytes) / s.Nearer
	if left > 7*24*3600 {
		return text
	}
	return text + ", for about " + span(time.Duration(left*float64(time.Second)))
}
