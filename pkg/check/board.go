package check

import (
	"maps"
	"slices"
	"time"
)

// Board is what is known of a cluster: the last observation of each host, and what
// is said of it under a policy and under limits that others ask for. It is not
// safe for concurrent use.
type Board struct {
	members []Member
	policy  Policy
	seen    map[string]Observation // the last answer of each host
	gone    map[string]bool        // hosts that were looked at; true: they give none any more
	mem     Memory
	limits  []limited
	plans   map[string]Plan
}

// limited are the states under a limit of somebody else's.
type limited struct {
	limit  Limit
	states map[string]State
}

// maxLimits bounds the limits that are remembered: anybody can ask for another.
const maxLimits = 16

// NewBoard goes on with what was remembered.
func NewBoard(members []Member, p Policy, mem Memory) *Board {
	b := &Board{members: members, policy: p, seen: map[string]Observation{}, gone: map[string]bool{}, mem: mem.clone()}
	// A host that is no longer in the inventory is forgotten.
	maps.DeleteFunc(b.mem.Hosts, func(name string, _ State) bool { return b.member(name) == nil })
	if b.outdated(b.mem.Writes) {
		b.mem.Writes = Writes{}
	}
	return b
}

// Members are the hosts, in the inventory's order.
func (b *Board) Members() []Member { return b.members }

func (b *Board) member(name string) *Member {
	if i := slices.IndexFunc(b.members, func(m Member) bool { return m.Name == name }); i >= 0 {
		return &b.members[i]
	}
	return nil
}

// Memory is what has to be remembered.
func (b *Board) Memory() Memory { return b.mem.clone() }

// Plan notes what runs did to hosts. What it was told before does not count any
// more.
func (b *Board) Plan(plans map[string]Plan) { b.plans = plans }

// Take takes observations that were made together, judges their hosts, and returns
// those that went in or out.
func (b *Board) Take(obs ...Observation) []Change {
	for _, o := range obs {
		if o.Err == "" {
			b.seen[o.Host] = o
			b.stepBack(o)
		}
		b.gone[o.Host] = b.gone[o.Host] && o.Err != ""
		if o.At.After(b.mem.At) {
			b.mem.At = o.At
		}
	}
	if w := b.writer(); w != "" {
		b.follow(w)
		o := b.seen[w]
		if slices.ContainsFunc(obs, func(x Observation) bool { return x.Host == w && x.Err == "" }) {
			b.mem.Primary = b.mem.Primary.Add(o.At, o.answered(), o.Server.LSN)
		}
	}
	c := b.cluster()
	var changes []Change
	for _, o := range obs {
		m := b.member(o.Host)
		if m == nil {
			continue
		}
		prev, had := b.mem.Hosts[o.Host]
		now := b.policy.Judge(*m, o, c, before(prev, had))
		b.mem.Hosts[o.Host] = now
		b.gone[o.Host] = now.Reason == Unreachable
		if !had || prev.In != now.In {
			changes = append(changes, Change{Host: o.Host, At: o.At, In: now.In, Why: now.Why})
		}
		for _, l := range b.limits {
			prev, had := l.states[o.Host]
			l.states[o.Host] = b.policy.With(l.limit).Judge(*m, o, c, before(prev, had))
		}
	}
	return changes
}

func before(s State, had bool) *State {
	if !had {
		return nil
	}
	return &s
}

func (b *Board) cluster() Cluster {
	c := Cluster{Primary: b.mem.Primary, SystemID: b.mem.SystemID, Writer: b.writer(), Writes: b.mem.Writes, Sync: map[string]string{}, Plans: b.plans}
	for _, m := range b.members {
		up, ok := b.seen[m.Upstream]
		if !ok || b.gone[m.Upstream] {
			continue
		}
		if s, ok := up.Server.SenderOf(m.Name, m.Slot); ok {
			c.Sync[m.Name] = s.SyncState
		}
	}
	return c
}

// Seen is the last answer of a host.
func (b *Board) Seen(host string) (Observation, bool) {
	o, ok := b.seen[host]
	return o, ok
}

// State is what is said of a host at a time. A last look longer ago than stale (0:
// however long ago) says nothing.
func (b *Board) State(host string, at time.Time, stale time.Duration) State {
	s, ok := b.mem.Hosts[host]
	if !ok {
		return unseen(host, at)
	}
	return aged(s, at, stale)
}

// Under is State under a limit. The first time that a limit is asked for, it
// begins with what is known now; from then on it is remembered. When there are too
// many, one more has no memory.
func (b *Board) Under(l Limit, host string, at time.Time, stale time.Duration) State {
	if l == (Limit{}) {
		return b.State(host, at, stale)
	}
	i := slices.IndexFunc(b.limits, func(x limited) bool { return x.limit == l })
	if i < 0 {
		fresh := limited{limit: l, states: map[string]State{}}
		c := b.cluster()
		for _, m := range b.members {
			// What the board's own policy keeps out is not let in at once by another.
			if prev, ok := b.mem.Hosts[m.Name]; ok {
				if o, ok := b.seen[m.Name]; ok && prev.Reason != Unreachable {
					fresh.states[m.Name] = b.policy.With(l).Judge(m, o, c, &prev)
				} else {
					fresh.states[m.Name] = prev
				}
			}
		}
		if len(b.limits) < maxLimits {
			b.limits = append(b.limits, fresh)
		}
		if s, ok := fresh.states[host]; ok {
			return aged(s, at, stale)
		}
		return unseen(host, at)
	}
	s, ok := b.limits[i].states[host]
	if !ok {
		return unseen(host, at)
	}
	return aged(s, at, stale)
}

func unseen(host string, at time.Time) State {
	return State{Host: host, Reason: Unseen, Why: "it was not looked at yet", Since: at}
}

// aged is a state at a time, without what says nothing of now.
func aged(s State, at time.Time, stale time.Duration) State {
	switch {
	case s.Reason == Unreachable:
	case stale <= 0 || at.Sub(s.Seen) <= stale:
		return s
	default:
		s.In, s.Reason, s.Why = false, Stale, "the last look is "+span(at.Sub(s.Seen))+" ago"
	}
	s.forget()
	// What the server was is remembered, and not said: it may take writes no more.
	s.Role, s.Timeline, s.Paused = "", 0, false
	return s
}
