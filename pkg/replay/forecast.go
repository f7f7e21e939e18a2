package replay

import (
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Seconds is how late a standby is, in seconds; nil when it is not known. It is 0
// only when all that was received is replayed and the walreceiver streams: without one
// nobody knows what there would be. With something left to replay it is the age of the
// last transaction replayed. On an idle primary that age grows with nothing to replay,
// so it is not given then.
func (p Progress) Seconds() *float64 {
	switch {
	case p.Held() == 0 && p.Receiver == "streaming":
		zero := 0.0
		return &zero
	case p.Held() == 0 || p.ReplayedAt == nil:
		return nil
	}
	age := max(p.Now.Sub(*p.ReplayedAt).Seconds(), 0)
	return &age
}

// Rate is how fast WAL came in between two readings, in bytes a second; nil when no
// time went by between them or it is not known.
func Rate(first, second Progress) *float64 {
	took := second.Now.Sub(first.Now).Seconds()
	if took <= 0 || first.Receive == nil || second.Receive == nil {
		return nil
	}
	rate := float64(max(second.Receive.Sub(*first.Receive), 0)) / took
	return &rate
}

// UntilFull is when a disk with so many free bytes is full if nothing that comes in
// is replayed and removed; nil when nothing comes in, or the rate is not known, or it
// is longer than a year.
func UntilFull(freeBytes int64, rate *float64) *time.Duration {
	if rate == nil || *rate <= 0 || freeBytes < 0 {
		return nil
	}
	seconds := float64(freeBytes) / *rate
	if seconds > (365 * 24 * time.Hour).Seconds() {
		return nil
	}
	d := time.Duration(seconds * float64(time.Second))
	return &d
}

// Behind is from the position of the upstream to what is replayed, in bytes.
func (p Progress) Behind(upstream postgres.LSN) int64 {
	return max(upstream.Sub(p.Replayed()), p.Held(), 0)
}
