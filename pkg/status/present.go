package status

import (
	"fmt"
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// successor is the standby of the inventory that is the primary by now: it was promoted,
// and nobody has told the inventory. nil where the inventory's primary is the primary, or
// it is not known who is. A promotion begins a timeline: of two that take writes the one on
// the newer timeline forked off last. On equal timelines the inventory has the say.
func successor(cl *inventory.Cluster, all map[string]Result) *inventory.Host {
	old := cl.Primary()
	if old == nil || all[old.Name].Facts == nil {
		return nil // it may be at work, where nobody sees it
	}
	was := all[old.Name].Facts
	var newest *inventory.Host
	tie := false
	for _, h := range cl.Standbys() {
		f := all[h.Name].Facts
		if f == nil || !writes(f) || !succeeds(f, was) {
			continue
		}
		switch {
		case newest == nil || f.Server.Timeline > all[newest.Name].Facts.Server.Timeline:
			newest, tie = h, false
		case f.Server.Timeline == all[newest.Name].Facts.Server.Timeline:
			tie = true
		}
	}
	if tie {
		return nil
	}
	return newest
}

// succeeds reports whether a server that takes writes comes after another one of its system.
func succeeds(f, was *facts.Host) bool {
	switch {
	case was.Server.Running && was.Server.SystemID != f.Server.SystemID:
		return false
	case was.Server.Running && was.Server.InRecovery:
		return true
	case was.Server.Running:
		return f.Server.Timeline > was.Server.Timeline
	}
	tl, _ := was.Reached()
	return ofSystem(was, f.Server.SystemID) && f.Server.Timeline > tl
}

func writes(f *facts.Host) bool { return f.Server.Running && !f.Server.InRecovery }

// asItIs is a standby as the inventory would have it, had it been told of the promotion: one
// of the old primary stands below the new one if it follows that, or if the old one takes no
// writes any more. The old primary, too.
func (c census) asItIs(h *inventory.Host, all map[string]Result) *inventory.Host {
	if c.now == nil || h == c.now {
		return h
	}
	old, own := c.in.Primary(), all[h.Name].Facts
	was, is := all[old.Name].Facts, all[c.now.Name].Facts
	moved := *h
	moved.UpstreamName = c.now.Name
	switch {
	case h == old && writes(was), h != old && h.UpstreamName != old.Name:
		return h
	case senderOf(is, h) != nil:
		return &moved
	case was.Server.Running && senderOf(was, h) != nil:
		return h
	case own != nil && own.Server.Running && own.Server.Timeline == is.Server.Timeline, !writes(was):
		return &moved
	}
	return h
}

// correct says how the inventory has to be changed after a promotion.
func (c census) correct(to string) string {
	return "in the inventory, say role: primary for " + to + ", and role: standby for " + c.in.Primary().Name
}

// twin says of a standby that takes writes beside the primary of the inventory whose writes
// count.
func (r *Row) twin(c census, h *inventory.Host, f, primary *facts.Host) {
	stop := "keep writes away, " + serviceCommand(h, "stop") + "; save what was written on it; then: " + anew(h)
	if c.now == h {
		r.note(Problem, "writable-twin", fmt.Sprintf("it was promoted, and is the primary by now: it takes writes on the newer timeline %d; so does %s, on timeline %d",
			f.Server.Timeline, primary.Name, primary.Server.Timeline),
			c.correct(h.Name)+", whose row says what becomes of it; or, if "+h.Name+" was promoted by mistake, "+stop)
		return
	}
	r.note(Problem, "writable-twin", fmt.Sprintf("it takes writes, and so does %s, of the same system: what is written here (timeline %d) never reaches %s (timeline %d)",
		primary.Name, f.Server.Timeline, primary.Name, primary.Server.Timeline), stop)
}

// superseded says on the primary of the inventory that a standby was promoted beside it.
func (r *Row) superseded(c census, h *inventory.Host, f *facts.Host, all map[string]Result) {
	for _, s := range c.in.Standbys() {
		other := all[s.Name].Facts
		if other == nil || !writes(other) || other.Server.SystemID != f.Server.SystemID || other.Server.Timeline <= f.Server.Timeline {
			continue
		}
		text := fmt.Sprintf("%s was promoted: it takes writes on timeline %d, this one on %d", s.Name, other.Server.Timeline, f.Server.Timeline)
		if c.now != s {
			r.note(Problem, "two-primaries", text, "if "+s.Name+" is the primary now: "+c.correct(s.Name)+"; then "+serviceCommand(h, "stop"))
			continue
		}
		r.note(Problem, "two-primaries", text+fmt.Sprintf(". %s is the primary by now, unless that was a mistake: what is written here never reaches it", s.Name),
			c.correct(s.Name)+"; keep writes away, "+serviceCommand(h, "stop")+"; save what was written on it; then: "+anew(h))
	}
}

// replaced says of the primary of the inventory, whose server does not run, that another one
// is the primary by now: started as it is, it would be a second one.
func (r *Row) replaced(c census, h *inventory.Host, own, is *facts.Host) {
	text := fmt.Sprintf("no server runs; its data directory was %s; %s was promoted, and is the primary by now (timeline %d)", own.Data.Control.State, is.Name, is.Server.Timeline)
	if why := spent(own, is); why != "" {
		r.note(Problem, "down", text+"; "+why, c.correct(is.Name)+"; save what only "+h.Name+" has; then: "+anew(h))
		return
	}
	r.note(Problem, "down", text, c.correct(is.Name)+"; then: pgrepctl standby bootstrap "+h.Name)
}

// syncWaits says that commits wait for more standbys than stream: PostgreSQL does not go on
// without them (all versions).
func (r *Row) syncWaits(f *facts.Host) {
	rule, err := postgres.ParseSyncStandbys(f.Server.SyncStandbys)
	if err != nil || len(rule.Names) == 0 {
		return
	}
	there := 0
	for _, s := range f.Server.Senders {
		if s.State == "streaming" && rule.Priority(s.Application) > 0 {
			there++
		}
	}
	if there >= rule.Num {
		return
	}
	r.note(Problem, "sync-waits", fmt.Sprintf("commits wait for %d of synchronous_standby_names (%s), and %d of them stream: they hang", rule.Num, f.Server.SyncStandbys, there),
		"bring a standby back; to let commits go on until then, on "+r.Host+": alter system set synchronous_standby_names = ''; select pg_reload_conf()")
}

// ofSystem reports whether the data of a stopped server are of a system.
func ofSystem(f *facts.Host, system string) bool {
	return f.Data.State == facts.Cluster && strconv.FormatUint(f.Data.Control.SystemID, 10) == system
}

// spent says why the data of a stopped server cannot go on below its upstream, as far as its
// control file and history files tell; empty when they do not. Whether the upstream still has
// the WAL is not known here.
func spent(own, up *facts.Host) string {
	if own == nil || up == nil || own.Server.Running || own.Data.PID != 0 || !up.Server.Running || !ofSystem(own, up.Server.SystemID) {
		return ""
	}
	if _, how := own.Parted(up); how != "" {
		return how
	}
	if !own.Data.Standby {
		return "it was no standby: there is no " + up.Server.Version.RecoveryFile() + " in " + own.Data.Path
	}
	return ""
}
