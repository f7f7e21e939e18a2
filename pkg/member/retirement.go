// Package member tells who of an inventory is in the cluster from who was taken out of it
// and is still listed. It is pure: the word of a journal and facts in, an inventory out.
package member

import (
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
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

// Present is the inventory without the standbys that were taken out, and those, by name.
// What a server says goes before what a journal says: one that streams again is a standby,
// whoever made it one. of gives the facts of a host, nil where there are none.
func Present(cl *inventory.Cluster, retired map[string]Retirement, of func(host string) *facts.Host) (in *inventory.Cluster, out map[string]Retirement) {
	c := *cl
	c.Hosts, out = nil, map[string]Retirement{}
	for _, h := range cl.Hosts {
		r, ok := retired[h.Name]
		if ok && h.Role == inventory.Standby && r.stayedOut(h, of(h.Name), of(h.UpstreamName)) {
			out[h.Name] = r
			continue
		}
		c.Hosts = append(c.Hosts, h)
	}
	if len(out) == 0 {
		return cl, out
	}
	return &c, out
}

func (r Retirement) stayedOut(h *inventory.Host, own, up *facts.Host) bool {
	if up != nil && up.Server.Running {
		_, streams := up.Server.SenderOf(h.Name, h.Slot)
		by, _ := up.Server.Slot(h.Slot)
		if streams || by.Active && by.ActivePID == 0 { // 9.4 does not tell who uses a slot
			return false
		}
	}
	switch {
	case own != nil && own.Data.State == facts.Partial && own.Data.Marker.Run > r.Run:
		return false // a later run began to make it again; a run's id begins with its time
	case own == nil || !own.Server.Running:
		return true
	case own.Server.InRecovery:
		return own.Server.Replay.ReceiverStatus == ""
	}
	return r.Apart // else it takes writes, of the same system
}
