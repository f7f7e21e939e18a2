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
		r.note(Problem, "slot-missing", "slot "+r.Slot+" does not exist on "+up.Name+": WAL that it needs can go", withoutSlot(h, own, up))
	case s.WALStatus == "lost":
		r.SlotState = SlotLost
		if twin {
			break
		}
		r.note(Problem, "slot-lost", "slot "+r.Slot+" on "+up.Name+" "+slot.Loss(s.InvalidationReason), afterLoss(cl, h, own, up, s))
	case s.Active:
		r.SlotState = SlotActive
	default:
		r.SlotState = SlotInactive
		if twin {
			break // who is promoted leaves its slot behind
		}
		if own == nil || !own.ComesOfAge(h.ApplyDelay) && !atTarget(own) { // else replays-its-own or at-target tells: there is nothing to retire
			r.note(Warning, "slot-inactive", "slot "+r.Slot+" on "+up.Name+" is used by nobody and keeps WAL",
				"if "+r.Host+" does not come back: pgrepctl standby retire "+r.Host)
		}
	}
	if ok && s.WALStatus == "unreserved" && !twin {
		r.note(Problem, "slot-unreserved", "slot "+r.Slot+" on "+up.Name+" loses its WAL at the next checkpoint",
			"bring "+r.Host+" back at once, or give it up: pgrepctl standby retire "+r.Host)
	}
}

// withoutSlot is what to type for a standby whose slot is missing; own is nil when nothing is
// known of it. While it did not receive, its upstream was free to remove what it needs next.
func withoutSlot(h *inventory.Host, own, up *facts.Host) string {
	toMake := "to make it: pgrepctl standby bootstrap " + h.Name
	switch {
	case own != nil && own.Server.Running && streamState(own, senderOf(up, h)) != NoReceiver:
		return toMake
	case own != nil && !own.Server.Running && (own.Data.State == facts.Absent || own.Data.State == facts.Empty):
		return "" // as in the next, another note has what to type
	case spent(own, up) != "":
		return ""
	}
	return "whether its data can go on says: " + anew(h) + " --dry-run; if they can, " + toMake
}

// afterLoss is what to type when the slot s, on its upstream, of a standby is lost; own is
// nil when nothing is known of the standby.
func afterLoss(cl *inventory.Cluster, h *inventory.Host, own, up *facts.Host, s facts.Slot) string {
	drop := slot.DropCommandOf(up.Name, h.Name, s)
	switch {
	case own != nil && !own.Server.Running && (own.Data.State == facts.Absent || own.Data.State == facts.Empty): // nothing that could be seeded again
		return drop + "; then: pgrepctl standby bootstrap " + h.Name
	case s.InvalidationReason == slot.IdleTimeout && own == nil:
		return "when " + h.Name + " answers: " + renew(drop, h.Name, "")
	case s.InvalidationReason == slot.IdleTimeout && own.Data.State == facts.Cluster && own.Data.Standby:
		start := ""
		if !own.Server.Running && own.Data.PID == 0 {
			start = "; then " + serviceCommand(h, "start")
		}
		return renew(drop, h.Name, start)
	case len(cl.Archives) > 0 && spent(own, up) == "":
		return drop + "; then, to make it anew, while the archive gives what is missing: pgrepctl standby bootstrap " + h.Name
	}
	return "to copy what differs, and make the slot anew: " + anew(h)
}

// renew gives a standby another slot for one that was only idle: its data may still do. The
// checkpoint that invalidates a slot frees what it kept, and may remove it at once (18+).
func renew(drop, standby, start string) string {
	return drop + "; then: pgrepctl slot create --for " + standby + start + "; if it receives nothing then, its WAL is gone: pgrepctl standby reseed " + standby
}
