package status

import (
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// census tells those who are in the cluster from those who were taken out of it.
type census struct {
	all *inventory.Cluster
	in  *inventory.Cluster // without those
	out map[string]member.Retirement
	// peers are the facts of all that could be read: what a standby is set to is told there.
	peers []*facts.Host
	now   *inventory.Host // the primary, where the inventory has not been told of it yet: see successor
}

func take(cl *inventory.Cluster, results map[string]Result, retired map[string]member.Retirement) census {
	c := census{all: cl}
	c.in, c.out = member.Present(cl, retired, func(name string) *facts.Host { return results[name].Facts })
	c.now = successor(c.in, results)
	for _, h := range c.in.Hosts {
		if f := results[h.Name].Facts; f != nil {
			c.peers = append(c.peers, f)
		}
	}
	return c
}

// strange reports that nobody uses a slot and nobody in the cluster is to.
func (c census) strange(sender *inventory.Host, s facts.Slot) bool {
	return slot.Strange(c.in, sender, s, c.peers...)
}

// lent: see slot.LentTo.
func (c census) lent(sender *inventory.Host, s facts.Slot) string {
	return slot.LentTo(c.in, sender, s, c.peers...)
}

// leftBy is whose slot it was, of one that a standby has left behind on the upstream
// that the inventory gives it.
func (c census) leftBy(sender *inventory.Host, s facts.Slot) string {
	owner := slot.OwnerOf(c.all, sender, s)
	if _, out := c.out[owner.Host]; out && owner.Use == slot.Needed {
		return owner.Host
	}
	return ""
}

// drop is the command that drops a strange slot. While the inventory has the standby,
// the command must name it.
func (c census) drop(sender *inventory.Host, s facts.Slot) string {
	if of := c.leftBy(sender, s); of != "" {
		return slot.DropCommandOf(sender.Name, of, s)
	}
	return slot.DropCommand(sender.Name, s)
}

// row of a host that was taken out: it has nothing that is missing.
func (c census) row(h *inventory.Host, res Result, up *facts.Host) Row {
	r := c.out[h.Name]
	row := Row{Host: h.Name, InventoryRole: h.Role, State: Retired, Upstream: h.UpstreamName}
	row.note(Warning, "retired", r.String(), r.Hint)
	if f := res.Facts; f != nil && f.Server.Running {
		row.Role, row.Version, row.Timeline, row.LSN = inventory.Primary, f.Server.Version.String(), f.Server.Timeline, f.Server.LSN.String()
		if f.Server.InRecovery {
			row.Role = inventory.Standby
		}
	}
	if f := res.Facts; f != nil && !r.Apart && (f.Server.Running || f.Data.PID != 0) {
		row.note(Warning, "retired-runs", "its server runs, and follows nobody: whoever reads there reads what was true then", serviceCommand(h, "stop"))
	}
	if up == nil || !up.Server.Running || h.Slot == "" {
		return row
	}
	// The slot is a note of the server that has it.
	if s, ok := up.Server.Slot(h.Slot); ok && s.Type != "logical" {
		row.Slot, row.SlotState, row.RetainedBytes = h.Slot, SlotOrphan, s.RetainedBytes
	}
	return row
}
