package check

import (
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Format names the JSON form of a Report. Fields may be added to a version; nothing
// is taken away or changes its meaning.
const Format = "pgrepctl.check/v1"

// Report is what a check says of hosts, in the inventory's order.
type Report struct {
	Format  string   `json:"format"`
	Cluster string   `json:"cluster"`
	OK      bool     `json:"ok"` // every host is in, or out because somebody planned it
	Hosts   []Said   `json:"hosts"`
	Changes []Change `json:"changes"` // since the call before
}

// NewReport is a report of states.
func NewReport(cluster string, states []State, changes []Change) Report {
	r := Report{Format: Format, Cluster: cluster, OK: true, Hosts: []Said{}, Changes: append([]Change{}, changes...)}
	for _, s := range states {
		r.Hosts = append(r.Hosts, Say(s))
		r.OK = r.OK && s.Fine()
	}
	return r
}

// Fine reports whether nobody has to look at the host: it is in, or somebody planned
// that it is not.
func (s State) Fine() bool { return s.In || s.Reason.Planned() }

// Said is what is said of one host, without what is only remembered. Question and
// OK are those of a load balancer.
type Said struct {
	Host     string         `json:"host"`
	Question Question       `json:"question,omitempty"`
	OK       *bool          `json:"ok,omitempty"`
	Role     inventory.Role `json:"role,omitempty"`
	In       bool           `json:"in"`
	Reason   Reason         `json:"reason"`
	Planned  bool           `json:"planned"`
	Why      string         `json:"why"`
	Since    time.Time      `json:"since"`
	Seen     time.Time      `json:"seen,omitzero"`
	Run      string         `json:"run,omitempty"`
	// LagSeconds is how old the data may be that it shows, LagSecondsAtLeast how
	// old it is at least.
	LagBytes          *int64   `json:"lag_bytes,omitempty"`
	LagSeconds        *float64 `json:"lag_seconds,omitempty"`
	LagSecondsAtLeast *float64 `json:"lag_seconds_at_least,omitempty"`
	Paused            bool     `json:"replay_paused,omitempty"`
	Sync              string   `json:"sync_state,omitempty"`
	Timeline          int      `json:"timeline,omitempty"`
}

// Say is a state without what is only remembered.
func Say(s State) Said {
	return Said{Host: s.Host, Role: s.Role, In: s.In, Reason: s.Reason, Planned: s.Reason.Planned(), Why: s.Why, Since: s.Since, Seen: s.Seen, Run: s.Run,
		LagBytes: s.LagBytes, LagSeconds: s.LagSeconds, LagSecondsAtLeast: s.LagSecondsAtLeast, Paused: s.Paused, Sync: s.Sync, Timeline: s.Timeline}
}
