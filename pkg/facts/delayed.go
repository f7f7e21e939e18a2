package facts

import "time"

// comingOfAge is how much later than its delay a standby may be with what it
// replays and still be at work: it stood still while it was down.
const comingOfAge = 15 * time.Minute

// ComesOfAge reports whether a standby with this delay receives nothing because it
// is at work on WAL that it has. After a restart, or a lost connection, a server reads
// all of it, each transaction at its time, before it asks for more.
func (h *Host) ComesOfAge(delay time.Duration) bool {
	s := h.Server
	if delay <= 0 || !s.Running || !s.InRecovery || s.Replay.ReceiverStatus != "" {
		return false
	}
	if age := s.Replay.LastReplayAge; age != nil {
		return *age < (delay + comingOfAge).Seconds()
	}
	// Nothing was replayed yet since its start.
	return !s.StartedAt.IsZero() && h.Machine.Clock.Sub(s.StartedAt) < delay+comingOfAge
}
