package check

import (
	"errors"
	"fmt"
	"time"
)

// Policy is how much lag is too much, and how long is long enough. A limit of 0 is
// none.
type Policy struct {
	// A standby that is behind by more than the maximum is out. It comes in again
	// when it was behind by no more than the minimum for HoldDown.
	MaxBytes, MinBytes int64
	MaxTime, MinTime   time.Duration
	HoldDown           time.Duration
	// Stall is how long a standby that has something to replay may replay nothing.
	Stall time.Duration
	// Grace is how long a host that is in, or out as planned, may give no answer.
	Grace time.Duration
}

// Check finds limits that contradict each other.
func (p Policy) Check() error {
	var errs []error
	if p.MaxBytes > 0 && p.MinBytes > p.MaxBytes {
		errs = append(errs, fmt.Errorf("the lag to come in with (%d bytes) is more than the lag to go out with (%d bytes)", p.MinBytes, p.MaxBytes))
	}
	if p.MaxTime > 0 && p.MinTime > p.MaxTime {
		errs = append(errs, fmt.Errorf("the lag to come in with (%s) is more than the lag to go out with (%s)", p.MinTime, p.MaxTime))
	}
	return errors.Join(errs...)
}

// Limit is a maximum that somebody asks for by himself, as with ?lag=16MB.
type Limit struct {
	Bytes int64
	Time  time.Duration
}

// With is the policy with a maximum of one's own. The minimum stands to it as it
// does in p: a lag that goes in and out at one value flaps.
func (p Policy) With(l Limit) Policy {
	if l.Bytes > 0 {
		p.MinBytes = scaled(p.MinBytes, p.MaxBytes, l.Bytes)
		p.MaxBytes = l.Bytes
	}
	if l.Time > 0 {
		p.MinTime = time.Duration(scaled(int64(p.MinTime), int64(p.MaxTime), int64(l.Time)))
		p.MaxTime = l.Time
	}
	return p
}

func scaled(low, high, limit int64) int64 {
	if low <= 0 || high <= 0 || low > high {
		return limit / 2
	}
	return int64(float64(limit) * (float64(low) / float64(high)))
}

// over names the first maximum that the lag is known to be above.
func (p Policy) over(l Lag) (Reason, bool) {
	switch {
	case p.MaxBytes > 0 && l.Bytes != nil && *l.Bytes > p.MaxBytes:
		return LagBytes, true
	case p.MaxTime > 0 && l.AtLeast != nil && *l.AtLeast > p.MaxTime:
		return LagTime, true
	}
	return "", false
}

// under reports whether the lag is known to be no more than every minimum. What is
// not known is not under it.
func (p Policy) under(l Lag) bool {
	if p.MaxBytes > 0 && (l.Bytes == nil || *l.Bytes > p.MinBytes) {
		return false
	}
	return p.MaxTime <= 0 || l.AtMost != nil && *l.AtMost <= p.MinTime
}

// maxStrikes bounds how often the hold-down doubles: eight times as long.
const maxStrikes = 4

// hold is the hold-down of a host that went out so many times lately: one that
// falls behind again and again has to prove more.
func (p Policy) hold(strikes int) time.Duration {
	return p.HoldDown << max(min(strikes, maxStrikes)-1, 0)
}
