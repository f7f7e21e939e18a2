package status

import (
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// slot says how the standby's slot on its upstream is; own is nil when nothing is
// known of the standby.
func (r *Row) slot(cl *inventory.Cluster, h *inventory.Host, own, up *facts.Host) {
	if r.Slot == "" || up == nil || !up.Server.Running {
		return
	}
	s, ok := up.Server.Slot(r.Slot)
	r.RetainedBytes = s.RetainedBytes
	twin := own != nil && own.Server.Running && !own.Server.InRecovery // it takes writes: a slot is not what it needs
	switch {
	case !ok:
		r.SlotState = SlotMissing
		if twin || own != nil && own.Data.State == facts.Partial { // its slot is made when the copy is there
			break
		}
		r.note(Problem, "slot-missing", "slot "+r.Slot+" does not exist on "+up.Name+": WAL that it needs can go", "pgrepctl standby bootstrap "+r.Host+" makes it")
	case s.WALStatus == "lost":
		r.SlotState = SlotLost
		if twin {
			break
		}
		r.note(Problem, "slot-lost", "slot "+r.Slot+" on "+up.Name+" "+slot.Loss(s.InvalidationReason), afterLoss(cl, h, own, up.Name, s))
	case s.Active:
		r.SlotState = SlotActive
	default:
		r.SlotState = SlotInactive
		if own == nil || !own.ComesOfAge(h.ApplyDelay) && !atTarget(own) { // else replays-its-own or at-target tells: there is nothing to retire
			r.note(Warning, "slot-inactive", "slot "+r.Slot+" on "+up.Name+" is used by nobody and keeps WAL",
				"if "+r.Host+" does not come back: pgrepctl standby retire "+r.Host)
		}
	}
	if ok && s.WALStatus == "unreserved" {
		r.note(Problem, "slot-unreserved", "slot "+r.Slot+" on "+up.Name+" loses its WAL at the next checkpoint",
			"bring "+r.Host+" back at once, or give it up: pgrepctl standby retire "+r.Host)
	}
}

// afterLoss is what to type when the slot s, on its upstream, of a standby is lost; own is
// nil when nothing is known of the standby.
func afterLoss(cl *inventory.Cluster, h *inventory.Host, own *facts.Host, on string, s facts.Slot) string {
	drop := slot.DropCommandOf(on, h.Name, s)
	switch {
	case own != nil && !own.Server.Running && (own.Data.State == facts.Absent || own.Data.State == facts.Empty): // nothing that could be seeded again
		return drop + "; then pgrepctl standby bootstrap " + h.Name
	case s.InvalidationReason == slot.IdleTimeout && own == nil:
		return "when " + h.Name + " answers: " + renew(drop, h.Name, "")
	case s.InvalidationReason == slot.IdleTimeout && own.Data.State == facts.Cluster && own.Data.Standby:
		start := ""
		if !own.Server.Running && own.Data.PID == 0 {
			start = "; then " + serviceCommand(h, "start")
		}
		return renew(drop, h.Name, start)
	case len(cl.Archives) > 0:
		return drop + "; then pgrepctl standby bootstrap " + h.Name + " makes it anew, and the archive gives what is missing"
	}
	return anew(h) + ", which makes the slot anew too"
}

// renew gives a standby another slot for one that was only idle: its data may still do. The
// checkpoint that invalidates a slot frees what it kept, and may remove it at once (18+).
func renew(drop, standby, start string) string {
	return drop + ", then pgrepctl slot create --for " + standby + start + "; if it receives nothing then, its WAL is gone: pgrepctl standby reseed " + standby
}
