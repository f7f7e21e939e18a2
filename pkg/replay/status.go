package replay

import (
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Format names the JSON form of a Report. Fields may be added to a version; nothing
// is taken away or changes its meaning.
const Format = "pgrepctl.replay/v1"

// WaitFormat names the JSON form of what a wait came to.
const WaitFormat = "pgrepctl.replay-wait/v1"

// Report is the replay of standbys, in the inventory's order.
type Report struct {
	Format  string `json:"format"`
	Cluster string `json:"cluster"`
	Hosts   []Row  `json:"hosts"`
}

// Row is one standby. What is not known is left out.
type Row struct {
	Host string `json:"host"`
	// Error is why nothing else is known.
	Error string `json:"error,omitempty"`
	// State is "not paused", "pause requested" or "paused"; before 14 a request is
	// "paused" too.
	State string `json:"state,omitempty"`
	// Target is the recovery target that the server was started with.
	Target string `json:"target,omitempty"`
	// Receiver is the status of the walreceiver; "none" when there is none.
	Receiver   string        `json:"receiver,omitempty"`
	Receive    *postgres.LSN `json:"receive_lsn,omitempty"`
	Replay     *postgres.LSN `json:"replay_lsn,omitempty"`
	ReplayedAt *time.Time    `json:"replayed_at,omitempty"` // commit time of the last transaction replayed
	// BehindBytes is from what the upstream has written, if that is known, else
	// from what was received, to what is replayed.
	BehindBytes   *int64   `json:"behind_bytes,omitempty"`
	BehindSeconds *float64 `json:"behind_seconds,omitempty"`
	// HeldBytes of WAL were received and not replayed: they stay on its disk.
	HeldBytes *int64 `json:"held_bytes,omitempty"`
	// FreeBytes of the file system of its WAL.
	FreeBytes *int64   `json:"free_bytes,omitempty"`
	Rate      *float64 `json:"receive_bytes_per_second,omitempty"`
	// FullInSeconds is when that file system is full if nothing is replayed from now
	// on and WAL comes in as it does now.
	FullInSeconds     *float64 `json:"full_in_seconds,omitempty"`
	ApplyDelaySeconds *float64 `json:"apply_delay_seconds,omitempty"`
	// ResumedBy are the managers on the host that may resume replay by themselves.
	ResumedBy []string `json:"resumed_by,omitempty"`
}

// Reading is what was read of one standby.
type Reading struct {
	First, Second Progress // a while apart
	Upstream      postgres.LSN
	Target        string
	FreeBytes     *int64
	ApplyDelay    time.Duration
	Managers      []string
}

// NewRow is the row of a reading.
func NewRow(name string, r Reading) Row {
	p := r.Second
	row := Row{Host: name, State: p.PauseState(), Target: r.Target, Receiver: p.Receiver, Receive: p.Receive, Replay: p.Replay, ReplayedAt: p.ReplayedAt,
		BehindSeconds: p.Seconds(), FreeBytes: r.FreeBytes, Rate: Rate(r.First, p), ResumedBy: r.Managers}
	if !p.InRecovery {
		return Row{Host: name, Error: "it is not in recovery: it replays nothing"}
	}
	if row.Receiver == "" {
		row.Receiver = "none"
	}
	behind, held, delay := p.Behind(r.Upstream), p.Held(), r.ApplyDelay.Seconds()
	row.ApplyDelaySeconds = &delay
	if p.Receive != nil {
		row.HeldBytes = &held // without it nobody says what is on its disk: nothing was received since its start
	}
	if p.Receive != nil || r.Upstream > 0 {
		row.BehindBytes = &behind
	}
	if row.BehindSeconds != nil && *row.BehindSeconds == 0 && behind > 0 {
		row.BehindSeconds = nil // more is on its way: how late that is nobody knows
	}
	if r.FreeBytes != nil {
		if d := UntilFull(*r.FreeBytes, row.Rate); d != nil {
			s := d.Seconds()
			row.FullInSeconds = &s
		}
	}
	return row
}
