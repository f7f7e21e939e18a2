package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// The states of a pause, as pg_get_wal_replay_pause_state gives them (14+).
const (
	NotPaused = "not paused"
	Requested = "pause requested"
	Paused    = "paused"
)

// Progress is a row of postgres.Version.ReplayProgress.
type Progress struct {
	InRecovery bool          `json:"in_recovery"`
	State      *string       `json:"state"`
	Receive    *postgres.LSN `json:"receive"`
	Replay     *postgres.LSN `json:"replay"`
	ReplayedAt *time.Time    `json:"replayed_at"`
	Now        time.Time     `json:"now"`
	Waits      *string       `json:"waits"`
	Receiver   string        `json:"receiver"`
}

// Read asks a server how far its replay is.
func Read(ctx context.Context, s host.SQL, v postgres.Version) (Progress, error) {
	var rows []Progress
	if err := s.Query(ctx, &rows, v.ReplayProgress()); err != nil {
		return Progress{}, fmt.Errorf("ask how far replay is: %w", err)
	}
	if len(rows) != 1 {
		return Progress{}, fmt.Errorf("ask how far replay is: %d rows", len(rows))
	}
	return rows[0], nil
}

// PauseState is the state of the pause, "not paused" of a server that does not
// replay.
func (p Progress) PauseState() string {
	if p.State == nil {
		return NotPaused
	}
	return *p.State
}

// Replayed is how far it has replayed, 0 when that is not known.
func (p Progress) Replayed() postgres.LSN { return value(p.Replay) }

// Received is how far it has received; of a server that has not streamed since its
// start what it has replayed.
func (p Progress) Received() postgres.LSN { return max(value(p.Receive), value(p.Replay)) }

// Held is the WAL that was received and not replayed, in bytes.
func (p Progress) Held() int64 { return max(p.Received().Sub(p.Replayed()), 0) }

func (p Progress) waitsFor(event string) bool { return p.Waits != nil && *p.Waits == event }

func value(l *postgres.LSN) postgres.LSN {
	if l == nil {
		return 0
	}
	return *l
}

// stillFor is how long, and how many readings in a row, a replay that was asked to
// pause must stand still before that counts (to 13).
const (
	stillFor   = time.Second
	stillReads = 5
	// briefly is enough where it does not matter whether the one record that was being
	// applied is: the request counts for all that come after it.
	briefly = 200 * time.Millisecond
)

// Stillness decides whether a pause that was asked for holds. A request takes effect
// between two records; from 14 on the server says when. One that waits out its apply
// delay looks at the request before it applies the record that it waits with, so it
// stands still although the state stays "pause requested", for as long as the delay
// has to go. Before 14 the server does not tell a request from a pause: there replay
// must be seen to stand still.
type Stillness struct {
	Version postgres.Version
	// Brief: it is asked for what the primary will write, and not for where replay stands.
	Brief bool

	reads int
	at    postgres.LSN
	since time.Time
}

// Holds takes one reading after another and reports when the pause holds.
func (s *Stillness) Holds(p Progress) bool {
	if p.PauseState() == NotPaused {
		s.reads = 0
		return false
	}
	if p.waitsFor("RecoveryApplyDelay") || p.waitsFor("RecoveryPause") {
		return true
	}
	if s.Version.AtLeast(14) {
		return p.PauseState() == Paused
	}
	if s.reads == 0 || p.Replayed() != s.at {
		s.reads, s.at, s.since = 0, p.Replayed(), p.Now
	}
	s.reads++
	long := stillFor
	if s.Brief {
		long = briefly
	}
	return s.reads >= stillReads && p.Now.Sub(s.since) >= long
}
