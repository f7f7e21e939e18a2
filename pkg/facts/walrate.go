package facts

import "time"

// leastWindow is how long ago the last checkpoint must be for a rate that means
// anything.
const leastWindow = 30 * time.Second

// WALRate is what the server has written, or replayed, in a second since its last
// checkpoint, in bytes, and since when; 0 when not known.
func (h *Host) WALRate() (perSecond float64, window time.Duration) {
	c := h.Data.Control
	if !h.Server.Running || h.Data.State != Cluster || c.CheckpointTime.IsZero() || h.Machine.Clock.IsZero() || h.Server.LSN <= c.RedoLSN {
		return 0, 0
	}
	if window = h.Machine.Clock.Sub(c.CheckpointTime); window < leastWindow {
		return 0, 0
	}
	return float64(h.Server.LSN.Sub(c.RedoLSN)) / window.Seconds(), window
}
