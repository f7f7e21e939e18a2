package check

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Member is what the inventory says of a host.
type Member struct {
	Name string
	Role inventory.Role
	// Balanced is its name at the load balancers, as the inventory has it; for HAProxy that
	// may be BACKEND/SERVER. Server is the name of its server, without the backend.
	Balanced, Server string
	// Delay is how late it replays on purpose; such a standby is never in.
	Delay time.Duration
	// Closed: the inventory keeps traffic away (traffic: none).
	Closed bool
	// Upstream is the name of the host that it streams from, Slot its slot there.
	Upstream string
	Slot     string
	// Files are the health files of the inventory's balancers: one that is there keeps
	// reads away.
	Files []string
}

// Members are the hosts of an inventory, in its order.
func Members(cl *inventory.Cluster) []Member {
	out := make([]Member, 0, len(cl.Hosts))
	// The HAProxy that asks need not be a balancer of the inventory.
	haproxy := &inventory.Balancer{Kind: inventory.BalancerHAProxy}
	for _, h := range cl.Hosts {
		m := Member{Name: h.Name, Role: h.Role, Delay: h.ApplyDelay, Closed: h.Traffic == inventory.NoTraffic, Upstream: h.UpstreamName, Slot: h.Slot}
		_, server := haproxy.Server(h)
		m.Balanced, m.Server = cmp.Or(h.BalancedName(), h.Name), cmp.Or(server, h.Name)
		for _, b := range cl.Traffic.Balancers {
			if b.Kind == inventory.BalancerFile && h.BalancedName() != "" && h.Role == inventory.Standby {
				m.Files = append(m.Files, b.Path)
			}
		}
		out = append(out, m)
	}
	return out
}

// Observation is what one look at a host found. At is a time before the host was
// asked, Answered one after it had answered, both of the clock of whoever looks.
type Observation struct {
	Host         string
	At, Answered time.Time
	// Err is why nothing is known of the host, empty when it answered.
	Err string
	// Refused: it answered, and let us not in.
	Refused bool
	// Server is what its server says. Of a server that does not run only
	// NotReady may be set.
	Server facts.Server
	// KeptOut: one of the member's health files is there. FilesUnknown: that could not be
	// told.
	KeptOut, FilesUnknown bool
}

// Observe makes an observation of the answer of a host.
func Observe(host string, at time.Time, s facts.Server, err error) Observation {
	o := Observation{Host: host, At: at, Server: s}
	if err != nil {
		o.Err, o.Refused = strings.TrimPrefix(err.Error(), host+": "), fault.ClassOf(err) == fault.Auth
		var f *fault.Error
		if errors.As(err, &f) && f.Err != nil && f.Op != "" {
			o.Err = f.Op + ": " + f.Err.Error()
		}
		o.Server = facts.Server{}
	}
	return o
}

// answered is Answered, where that is known and the clock was not set back meanwhile.
func (o Observation) answered() time.Time {
	if o.Answered.After(o.At) {
		return o.Answered
	}
	return o.At
}

// Position is a position in the primary's write-ahead log, and when it was seen to
// be the last one: the first and the last time, each before the primary was asked. So
// nothing more was written at Last.
type Position struct {
	LSN   postgres.LSN `json:"lsn"`
	First time.Time    `json:"first"`
	Last  time.Time    `json:"last"`
	// Known is a time after the first answer: so much had been written by then. To
	// connect may take longer than all of the lag.
	Known time.Time `json:"known,omitzero"`
}

// written is a time when so much had been written for sure.
func (p Position) written() time.Time {
	if p.Known.After(p.First) {
		return p.Known
	}
	return p.First
}

// Positions are those of the primary, oldest first. They make the lag of a
// standby a time without anybody's clock but ours, and without a heartbeat in
// the database: what the primary had written a minute ago and the standby has not
// replayed is at least a minute late.
type Positions []Position

// maxPositions bounds the memory: at one look in two seconds the newer half is
// two minutes, and the older half is thinned out.
const maxPositions = 128

// clockJump tells a clock that was set back from looks in another order.
const clockJump = time.Minute

// Add returns the positions with one more, of a primary that was asked at a time and had
// answered at another. One that lies before the last one is of another history, after a
// failover or a restore, and begins anew.
func (p Positions) Add(at, answered time.Time, lsn postgres.LSN) Positions {
	if lsn == 0 {
		return p
	}
	n := len(p)
	if n > 0 && at.Before(p[n-1].Last) && p[n-1].Last.Sub(at) < clockJump {
		return p // somebody else looked later
	}
	if n > 0 && (lsn < p[n-1].LSN || at.Before(p[n-1].Last)) {
		return Positions{{LSN: lsn, First: at, Last: at, Known: answered}}
	}
	out := append(Positions(nil), p...)
	if n > 0 && lsn == p[n-1].LSN {
		out[n-1].Last = at
		return out
	}
	out = append(out, Position{LSN: lsn, First: at, Last: at, Known: answered})
	if len(out) <= maxPositions {
		return out
	}
	thin := out[:0]
	for i, x := range out {
		if i >= maxPositions/2 || i%2 == 0 {
			thin = append(thin, x)
		}
	}
	return thin
}

// last is the newest position, 0 when there is none.
func (p Positions) last() postgres.LSN {
	if len(p) == 0 {
		return 0
	}
	return p[len(p)-1].LSN
}

// Lag is how far a standby is behind. What is not known is nil.
type Lag struct {
	// Bytes of WAL that are known to exist and not replayed.
	Bytes *int64
	// The data that the standby shows is at least and at most that old: WAL that
	// existed so long ago is not replayed; all that existed so long ago is.
	AtLeast, AtMost *time.Duration
}

// until is when the age of what a standby lacks ends to grow: now or, when no server
// is known to take writes, when one was last known to.
func (p Positions) until(o Observation, writes bool) time.Time {
	if n := len(p); !writes && n > 0 && p[n-1].Last.Before(o.At) {
		return p[n-1].Last
	}
	return o.At
}

// LagOf measures a standby. primary may be empty, or old, when the primary does
// not answer; writes: a server takes writes now, as far as is known.
func LagOf(o Observation, primary Positions, writes bool) Lag {
	r := o.Server.Replay
	if r.Replay == nil {
		return Lag{}
	}
	replayed := *r.Replay
	known := primary.last()
	if r.Receive != nil {
		known = max(known, *r.Receive)
	}
	var out Lag
	if known != 0 {
		behind := max(known.Sub(replayed), 0)
		out.Bytes = &behind
	}
	// An idle primary has no lag, however long ago its last transaction was: all
	// that was received is replayed, and the receiver lives to receive more.
	// Without a receiver equal positions say nothing.
	if r.ReceiverStatus == "streaming" && out.Bytes != nil && *out.Bytes == 0 && r.Receive != nil {
		zero := time.Duration(0)
		return Lag{Bytes: out.Bytes, AtLeast: &zero, AtMost: &zero}
	}
	var least time.Duration
	var most *time.Duration
	bound := func(d time.Duration) {
		d = max(d, 0)
		if most == nil || d < *most {
			most = &d
		}
	}
	for _, p := range primary {
		if p.LSN > replayed {
			least = max(least, primary.until(o, writes).Sub(p.written()))
			break
		}
		bound(o.answered().Sub(p.Last))
	}
	// The last commit that is replayed bounds the age from above only: one long transaction
	// writes for minutes, and all of it may be replayed but what was written just now.
	if r.LastReplayAge != nil {
		bound(time.Duration(*r.LastReplayAge * float64(time.Second)))
	}
	if most != nil && *most < least {
		most = &least // clocks differ
	}
	if most != nil || least > 0 {
		out.AtLeast = &least
	}
	out.AtMost = most
	return out
}
