package facts

import (
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Reached is the timeline that a server is on and how far its WAL goes: as it says, or as
// its control file did when it ended. In recovery what was received counts, if that is more
// than what was replayed: so far a walsender of a cascading standby sends.
func (h *Host) Reached() (timeline int, at postgres.LSN) {
	if s := h.Server; s.Running {
		at = s.LSN
		if r := s.Replay.Receive; s.InRecovery && r != nil {
			at = max(at, *r)
		}
		return s.Timeline, at
	}
	c := h.Data.Control
	return int(max(c.Timeline, c.MinRecoveryTimeline)), max(c.CheckpointLSN, c.MinRecoveryLSN)
}

// Parted is where the timelines of a server and of one that it is to follow have parted, as
// far as the timeline history files tell: 0 when they do not, or there is one timeline only.
// how says why it cannot follow any more, and is empty while it can. up runs.
func (h *Host) Parted(up *Host) (fork postgres.LSN, how string) {
	tl, at := h.Reached()
	upTL := up.Server.Timeline
	if tl == upTL {
		return 0, ""
	}
	if end, ok := up.Data.fork(upTL, tl); ok {
		if at > end {
			how = fmt.Sprintf("it has WAL of timeline %d up to %s, which %s left at %s for timeline %d", tl, at, up.Name, end, upTL)
		}
		return end, how
	}
	if end, ok := h.Data.fork(tl, upTL); ok {
		return end, fmt.Sprintf("it is on timeline %d, which left timeline %d of %s at %s", tl, upTL, up.Name, end)
	}
	return 0, ""
}

// fork is where the history of timeline own, which the server is on, leaves another one.
func (d *DataDir) fork(own, timeline int) (postgres.LSN, bool) {
	if d.HistoryOf != own {
		return 0, false
	}
	for _, k := range d.History {
		if k.Timeline == timeline {
			return k.LSN, true
		}
	}
	return 0, false
}
