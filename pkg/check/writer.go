package check

import "github.com/pgrepctl/pgrepctl/pkg/inventory"

// Writes is where writes went last. A server that takes writes on an older timeline was
// passed: what is written there never reaches who took over, also while that one reboots.
type Writes struct {
	Host     string `json:"host"`
	Timeline int    `json:"timeline,omitempty"` // 0: not known
	// Primary is the inventory's primary of that time. Another one is an operator's word.
	Primary string `json:"primary,omitempty"`
}

// passed reports whether writes went on from a timeline to a newer one, on another host.
func (w Writes) passed(host string, timeline int) bool {
	return w.Host != host && timeline > 0 && timeline < w.Timeline
}

// strange reports whether both system identifiers are known, and differ. Before 9.6 the
// server does not say its own.
func strange(a, b string) bool { return a != "" && b != "" && a != b }

// named is the inventory's primary.
func (b *Board) named() string {
	for _, m := range b.members {
		if m.Role == inventory.Primary {
			return m.Name
		}
	}
	return ""
}

// outdated reports whether where writes went says nothing any more: that host is no longer
// in the inventory, or the inventory has made another one its primary.
func (b *Board) outdated(w Writes) bool {
	primary := b.named()
	return b.member(w.Host) == nil || w.Primary != primary && w.Host != primary
}

// candidate reports whether a host takes writes, as far as is known, and may have any. A
// standby that the inventory keeps traffic from is none, whoever promoted it: one that
// replays late is promoted for the rows that it still has.
func (b *Board) candidate(m Member) bool {
	o, ok := b.seen[m.Name]
	kept := m.Role != inventory.Primary && (m.Closed || m.Delay > 0)
	return ok && !b.gone[m.Name] && !kept && o.Server.Running && !o.Server.InRecovery
}

// system is the identifier of the system whose servers may have writes: the one that is
// remembered. The inventory's primary may come with another (pg_upgrade), but not after
// writes went to another host: then it is more likely that it was installed anew.
func (b *Board) system() string {
	for _, m := range b.members {
		last := b.mem.Writes.Host == "" || b.mem.Writes.Host == m.Name
		if id := b.seen[m.Name].Server.SystemID; m.Role == inventory.Primary && id != "" && last && b.candidate(m) {
			return id
		}
	}
	return b.mem.SystemID
}

// turn reports whether a host was looked at since the board was made, whatever came of it.
func (b *Board) turn(host string) bool {
	_, ok := b.gone[host]
	return ok
}

// precedes reports whether writes went to another host before, which has the first word
// still: it was not looked at yet. Only a promotion since is newer than what is remembered.
func (b *Board) precedes(w Writes, host string, timeline int) bool {
	return w.Host != "" && w.Host != host && timeline <= w.Timeline && !b.turn(w.Host)
}

// writer is the host that writes go to, empty when none can be told: of the servers of the
// system that take writes the one of the newest timeline, for it forked off last.
func (b *Board) writer() string {
	best, system, last := "", b.system(), b.mem.Writes
	for _, m := range b.members {
		s := b.seen[m.Name].Server
		if !b.candidate(m) || strange(system, s.SystemID) || last.passed(m.Name, s.Timeline) || b.precedes(last, m.Name, s.Timeline) {
			continue
		}
		if best == "" || b.rather(m, best) {
			best = m.Name
		}
	}
	return best
}

// rather reports whether writes go to m rather than to another. On one timeline, or where
// one of them is not known, it is who had them last, else the inventory's primary.
func (b *Board) rather(m Member, than string) bool {
	mine, its := b.seen[m.Name].Server.Timeline, b.seen[than].Server.Timeline
	switch last := b.mem.Writes.Host; {
	case mine > 0 && its > 0 && mine != its:
		return mine > its
	case last == m.Name, last == than:
		return last == m.Name
	}
	return m.Role == inventory.Primary
}

// follow notes that writes go to a host now. A standby of the inventory is believed when it
// was promoted, and the inventory's primary had its turn: a cluster of initdb, or a copy that
// was started by mistake, is on no newer timeline than the primary.
func (b *Board) follow(host string) {
	s, primary, was := b.seen[host].Server, b.named(), b.mem.Writes
	if host != primary && host != was.Host && (s.Timeline <= max(was.Timeline, 1) || !b.turn(primary)) {
		return
	}
	if s.SystemID != "" && s.SystemID != b.mem.SystemID {
		// The positions of another system measure nothing.
		b.mem.SystemID, b.mem.Primary = s.SystemID, nil
	}
	b.mem.Writes = Writes{Host: host, Timeline: s.Timeline, Primary: primary}
}

// stepBack notes that the host which writes went to says itself that it is on an older
// timeline now: it was restored, or made a standby of who was passed. Then that one was
// not passed.
func (b *Board) stepBack(o Observation) {
	w, s := &b.mem.Writes, o.Server
	if o.Host == w.Host && s.Running && s.Timeline > 0 && s.Timeline < w.Timeline && !strange(b.mem.SystemID, s.SystemID) {
		w.Timeline = s.Timeline
	}
}
