package check

import (
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Reason is one word for why a host is in or out. The words are stable.
type Reason string

const (
	OK          Reason = "ok"
	Unseen      Reason = "unseen"       // never looked at
	Unreachable Reason = "unreachable"  // no answer of the host
	Stale       Reason = "stale"        // the last look is too long ago
	Down        Reason = "down"         // no server runs
	NotReady    Reason = "not-ready"    // a server accepts no session
	Twin        Reason = "twin"         // it takes writes, and so does the primary
	OtherSystem Reason = "other-system" // not of the primary's system
	Closed      Reason = "closed"       // traffic: none
	Delayed     Reason = "delayed"      // it replays late on purpose
	Drained     Reason = "drained"      // a run, or a health file, keeps traffic away
	Held        Reason = "held"         // a run paused replay, and sees to the traffic itself
	Paused      Reason = "paused"       // replay is paused
	NoReceiver  Reason = "no-receiver"  // nothing is received
	LagBytes    Reason = "lag-bytes"
	LagTime     Reason = "lag-time"
	Stuck       Reason = "stuck"       // it has something to replay and replays nothing
	CatchingUp  Reason = "catching-up" // out, and on its way in
	HoldDown    Reason = "hold-down"   // out, its lag is low, and not for long enough yet
	LagUnknown  Reason = "lag-unknown"
	// FilesUnknown: nobody can tell whether a health file keeps traffic away.
	FilesUnknown Reason = "health-file-unknown"
)

// Planned reports whether somebody wants it so: nobody has to be woken.
func (r Reason) Planned() bool {
	switch r {
	case Closed, Delayed, Drained, Held:
		return true
	}
	return false
}

// silent reports whether nothing is known of the server now.
func (r Reason) silent() bool { return r == Unseen || r == Unreachable || r == Stale }

// excused reports whether a host goes out by no fault of its own: no hold-down follows.
func (r Reason) excused() bool { return r.Planned() || r == FilesUnknown }

// State is what the check says of one host, and what it has to remember of it.
type State struct {
	Host string         `json:"host"`
	Role inventory.Role `json:"role,omitempty"` // what the server says; empty when it says nothing
	// In: it may have traffic, writes of a primary, reads of a standby.
	In     bool      `json:"in"`
	Reason Reason    `json:"reason"`
	Why    string    `json:"why"`
	Since  time.Time `json:"since"` // of In
	// Seen is the last time when the host answered, zero when it never did.
	Seen time.Time `json:"seen,omitzero"`
	// Run is the run that wants it so.
	Run string `json:"run,omitempty"`

	LagBytes *int64 `json:"lag_bytes,omitempty"`
	// LagSeconds is how old the data may be that it shows, LagSecondsAtLeast how
	// old it is at least.
	LagSeconds        *float64     `json:"lag_seconds,omitempty"`
	LagSecondsAtLeast *float64     `json:"lag_seconds_at_least,omitempty"`
	Receiver          string       `json:"receiver,omitempty"`
	Paused            bool         `json:"replay_paused,omitempty"`
	Sync              string       `json:"sync_state,omitempty"` // async, sync, potential, quorum; empty when not known
	Timeline          int          `json:"timeline,omitempty"`
	Replay            postgres.LSN `json:"replay_lsn,omitempty"`
	// ReplayMoved is when Replay was last seen to change.
	ReplayMoved time.Time `json:"replay_moved,omitzero"`
	// Nearer is how fast a standby catches up, in bytes a second, smoothed;
	// negative while it falls behind.
	Nearer float64 `json:"nearer_bytes_per_second,omitempty"`
	// GoodSince is since when a host that is out has been fit to come in.
	GoodSince time.Time `json:"good_since,omitzero"`
	// KeptOut is whether a health file was there when that could last be told, at FilesAt.
	KeptOut bool      `json:"kept_out,omitempty"`
	FilesAt time.Time `json:"files_at,omitzero"`
	// Expected: it went out because of something that was planned, or that nobody could
	// tell, and comes in without a hold-down.
	Expected bool `json:"expected,omitempty"`
	// PausedIn: it was in when its replay was paused, and nobody knows yet by whom. The plan of
	// a run is read from another host, and may be known one look later than its pause.
	PausedIn bool `json:"paused_in,omitempty"`
	// InMaint: HAProxy was told maint, and the inventory keeps traffic away still. Maint is when
	// that ended.
	InMaint bool      `json:"in_maint,omitempty"`
	Maint   time.Time `json:"maint,omitzero"`
	// Strikes counts how often it went out because of its lag lately.
	Strikes int `json:"strikes,omitempty"`
}

// Public is the state for whoever may ask: why a host cannot be reached names
// addresses, users and files of ours, and is for our own log.
func (s State) Public() State {
	if s.Reason == Unreachable {
		s.Why = "no answer over SSH"
	}
	return s
}

// Change is a host that went in or out.
type Change struct {
	Host string    `json:"host"`
	At   time.Time `json:"at"`
	In   bool      `json:"in"`
	Why  string    `json:"why"`
}
