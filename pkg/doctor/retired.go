package doctor

import (
	"maps"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// present is the cluster without those who were taken out of it: nothing is missing on
// them, and nobody is to admit them again. out are those, as far as others are still to
// stream from them. The standby that is asked about is to be made again.
func (sc Scope) present(cl *inventory.Cluster, hosts map[string]*facts.Host) (in *inventory.Cluster, out []*inventory.Host) {
	retired := maps.Clone(sc.Retired)
	delete(retired, sc.Standby)
	in, gone := member.Present(cl, retired, func(name string) *facts.Host { return hosts[name] })
	for _, h := range cl.Hosts {
		if _, ok := gone[h.Name]; ok && len(in.Downstreams(h)) > 0 {
			out = append(out, h)
		}
	}
	return in, out
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
