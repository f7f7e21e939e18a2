package doctor

import (
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// Retired is a standby that a journal says was taken out of the cluster, and that the
// inventory still has.
type Retired struct {
	Run   string
	Apart bool // it was promoted, to a server of its own
}

// present is the cluster without those who were taken out of it: nothing is missing on
// them, and nobody is to admit them again. out are those, as far as others are still to
// stream from them. The standby that is asked about is to be made again. What a server
// says goes before what a journal says, as in pkg/status.
func (sc Scope) present(cl *inventory.Cluster, hosts map[string]*facts.Host) (in *inventory.Cluster, out []*inventory.Host) {
	c := *cl
	c.Hosts = nil
	for _, h := range cl.Hosts {
		r, ok := sc.Retired[h.Name]
		if !ok || h.Name == sc.Standby || h.Role != inventory.Standby || !r.stayedOut(h, hosts) {
			c.Hosts = append(c.Hosts, h)
		}
	}
	if len(c.Hosts) == len(cl.Hosts) {
		return cl, nil
	}
	for _, h := range cl.Hosts {
		if !slices.Contains(c.Hosts, h) && len(c.Downstreams(h)) > 0 {
			out = append(out, h)
		}
	}
	return &c, out
}

func (r Retired) stayedOut(h *inventory.Host, hosts map[string]*facts.Host) bool {
	if up := hosts[h.UpstreamName]; up != nil {
		_, streams := up.Server.Sender(h.Name)
		if s, ok := up.Server.Slot(h.Slot); streams || ok && s.Active {
			return false
		}
	}
	own := hosts[h.Name]
	switch {
	case own == nil:
		return true
	case own.Data.State == facts.Partial && own.Data.Marker.Run > r.Run:
		return false // a later run began to make it again; a run's id begins with its time
	case !own.Server.Running:
		return true
	case own.Server.InRecovery:
		return own.Server.Replay.ReceiverStatus == ""
	}
	return r.Apart // else it takes writes, of the same system
}

// leftBelow are the standbys whose upstream was taken out of the cluster.
func leftBelow(in *inventory.Cluster, out []*inventory.Host, scope Scope) []Finding {
	var all []Finding
	for _, up := range out {
		for _, h := range in.Downstreams(up) {
			if scope.Standby == "" || scope.Standby == h.Name {
				all = append(all, Finding{ID: "source.down", Host: up.Name, Severity: Block,
					Found:  "it was taken out of the cluster, and " + h.Name + " is to stream from it",
					Remedy: "give " + h.Name + " another upstream: in the inventory"})
			}
		}
	}
	return all
}

// dropSlot is the command that drops a slot that nobody uses. While the inventory has the
// standby that has left it behind, the command must name it.
func (s subject) dropSlot(x facts.Slot) string {
	if of := slot.OwnerOf(s.all, s.inv, x); of.Use == slot.Needed {
		return slot.DropCommandOf(s.inv.Name, of.Host, x)
	}
	return slot.DropCommand(s.inv.Name, x)
}
