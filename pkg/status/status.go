// Package status says what is true of a cluster now, one row a host, and what of
// it is wrong. It is pure: facts in, report out.
package status

import (
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
)

// Format names the JSON form of a Report. Fields may be added to a version;
// nothing is taken away or changes its meaning.
const Format = "pgrepctl.status/v1"

// Result is what was learnt of one host: facts, or why there are none.
type Result struct {
	Facts *facts.Host
	Err   error
	At    time.Time // when it was learnt
	// Earlier is a reading before, of EarlierAt: two tell what stands still.
	Earlier   *facts.Host
	EarlierAt time.Time
	// Pause is the run that has paused its replay, nil when none is known.
	Pause *Pause
}

// Pause is what a journal says of a pause of replay.
type Pause struct {
	Run      string
	Operator string
	At       time.Time
}

// Report is the state of a cluster. Hosts are in the inventory's order.
type Report struct {
	Format  string `json:"format"`
	Cluster string `json:"cluster"`
	// At is when it was made; zero, and left out, if nobody said.
	At      time.Time `json:"at,omitzero"`
	Healthy bool      `json:"healthy"` // no note is a Problem
	Hosts   []Row     `json:"hosts"`
}

// State is one word for a host.
type State string

const (
	Running     State = "running"       // a primary
	Streaming   State = "streaming"     // a standby that has caught up once
	Catchup     State = "catchup"       // a standby that receives old WAL
	Paused      State = "paused"        // replay is paused, whatever is received
	NoReceiver  State = "no receiver"   // a standby that receives nothing
	Stuck       State = "stuck"         // a standby whose receiver stands still
	Starting    State = "not ready"     // a postmaster lives and accepts no session
	Down        State = "down"          // a data directory without a server
	Partial     State = "partial copy"  // a bootstrap that did not end
	Empty       State = "empty"         // no data directory, or nothing in it
	Foreign     State = "foreign data"  // something that is no data directory
	Unreachable State = "unreachable"   // SSH or the facts failed
	Twin        State = "writable twin" // a second server that takes writes
	Retired     State = "retired"       // it was taken out of the cluster, and the inventory still has it
)

// SlotState says how a standby's slot on its upstream is.
type SlotState string

const (
	SlotActive   SlotState = "active"
	SlotInactive SlotState = "inactive"
	SlotLost     SlotState = "lost" // invalidated: it keeps no WAL, and nobody can use it any more
	SlotMissing  SlotState = "missing"
	SlotOrphan   SlotState = "orphan" // a standby that was taken out has left it
)

// Severity of a Note.
type Severity string

const (
	Problem Severity = "problem" // reads, writes or data are in danger
	Warning Severity = "warning"
	Info    Severity = "note"
)

// Note is something that a reader of the table must know.
type Note struct {
	Severity Severity `json:"severity"`
	ID       string   `json:"id"` // kebab-case, stable
	Text     string   `json:"text"`
	Hint     string   `json:"hint,omitempty"` // a command to type, or the one thing to do
}

// Row is one host.
type Row struct {
	Host          string         `json:"host"`
	InventoryRole inventory.Role `json:"inventory_role"`
	// Role is what the server says that it is; empty when it says nothing.
	Role     inventory.Role `json:"role,omitempty"`
	State    State          `json:"state"`
	Version  string         `json:"version,omitempty"`
	Timeline int            `json:"timeline,omitempty"`
	LSN      string         `json:"lsn,omitempty"` // written on a primary, replayed on a standby
	Upstream string         `json:"upstream,omitempty"`
	Slot     string         `json:"slot,omitempty"`
	// SlotState is empty when the upstream could not be asked.
	SlotState     SlotState `json:"slot_state,omitempty"`
	RetainedBytes *int64    `json:"retained_bytes,omitempty"` // WAL that the slot holds back; nil of a lost one
	// LagBytes is from the upstream's position to what is replayed here, in
	// bytes; nil when not known. An upstream that is a standby has what it received.
	LagBytes *int64 `json:"lag_bytes,omitempty"`
	// LagSeconds is 0 when nothing is left to replay, else the replay_lag
	// that the upstream measured, else the age of the last transaction
	// replayed if the standby is far behind or paused; nil when not known.
	LagSeconds     *float64 `json:"lag_seconds,omitempty"`
	ReplayPaused   bool     `json:"replay_paused"`
	PendingRestart []string `json:"pending_restart,omitempty"`
	Notes          []Note   `json:"notes,omitempty"`
}

func (r *Row) note(s Severity, id, text, hint string) {
	r.Notes = append(r.Notes, Note{Severity: s, ID: id, Text: text, Hint: hint})
}

// Worst is the highest severity of a row's notes, empty when it has none.
func (r *Row) Worst() Severity {
	worst := Severity("")
	for _, n := range r.Notes {
		if rank(n.Severity) > rank(worst) {
			worst = n.Severity
		}
	}
	return worst
}

func rank(s Severity) int {
	switch s {
	case Problem:
		return 3
	case Warning:
		return 2
	case Info:
		return 1
	}
	return 0
}

// Build makes the report. A host of the inventory without a result has no row:
// it was not asked for. retired are the standbys that a journal says were taken out.
func Build(cl *inventory.Cluster, results map[string]Result, retired map[string]member.Retirement) Report {
	c := take(cl, results, retired)
	rep := Report{Format: Format, Cluster: cl.Name, Healthy: true, Hosts: []Row{}}
	for _, h := range cl.Hosts {
		res, ok := results[h.Name]
		if !ok {
			continue
		}
		row := build(c, h, res, results)
		if row.Worst() == Problem {
			rep.Healthy = false
		}
		rep.Hosts = append(rep.Hosts, row)
	}
	return rep
}
