package status

import (
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// Retirement is what a journal says of a standby that was taken out of the cluster,
// and that the inventory still has.
type Retirement struct {
	Run      string
	Operator string
	At       time.Time
	Apart    bool   // it was promoted, to a server of its own
	Delete   string // which lines of the inventory to delete
	Hint     string // that, and what else could be done
}

func (r Retirement) String() string {
	what := "it was taken out of the cluster"
	if r.Apart {
		what = "it was made a server of its own"
	}
	return fmt.Sprintf("%s (run %s, by %s, %s), and the inventory still has it", what, r.Run, r.Operator, r.At.UTC().Format("2006-01-02 15:04:05Z"))
}

// census tells those who are in the cluster from those who were taken out of it. What
// a server says goes before what a journal says: one that streams again is a standby,
// whoever made it one.
type census struct {
	all *inventory.Cluster
	in  *inventory.Cluster // without those
	out map[string]Retirement
	now *inventory.Host // the primary, where the inventory has not been told of it yet: see successor
}

func take(cl *inventory.Cluster, results map[string]Result, retired map[string]Retirement) census {
	c := census{all: cl, in: cl, out: map[string]Retirement{}}
	for _, h := range cl.Standbys() {
		if r, ok := retired[h.Name]; ok && stayedOut(h, r, results[h.Name].Facts, results[h.UpstreamName].Facts) {
			c.out[h.Name] = r
		}
	}
	if len(c.out) == 0 {
		c.now = successor(c.in, results)
		return c
	}
	in := *cl
	in.Hosts = nil
	for _, h := range cl.Hosts {
		if _, out := c.out[h.Name]; !out {
			in.Hosts = append(in.Hosts, h)
		}
	}
	c.in = &in
	c.now = successor(c.in, results)
	return c
}

func stayedOut(h *inventory.Host, r Retirement, own, up *facts.Host) bool {
	switch {
	case up != nil && up.Server.Running && senderOf(up, h) != nil:
		return false
	case own != nil && own.Data.State == facts.Partial && own.Data.Marker.Run > r.Run:
		return false // a later run began to make it again; a run's id begins with its time
	case own == nil || !own.Server.Running:
		return true
	case own.Server.InRecovery:
		return own.Server.Replay.ReceiverStatus == ""
	}
	return r.Apart
}

// strange reports that nobody uses a slot and nobody in the cluster is to.
func (c census) strange(sender *inventory.Host, s facts.Slot, peers ...*facts.Host) bool {
	return slot.Strange(c.in, sender, s, peers...)
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
