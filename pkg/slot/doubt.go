package slot

import (
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// setTo reports whether a host is a standby that is set to stream by a slot of that name.
func setTo(f *facts.Host, name string) bool {
	return f.Server.InRecovery && f.Server.Replay.ConfiguredSlot == name || f.Data.Standby && f.Data.PrimarySlotName == name
}

// Doubt is who may come back to a slot that seems to be nobody's.
type Doubt struct {
	// Unread are the standbys of the inventory of which nothing tells what they are set to.
	// The name of a slot says nothing: each of them may be set to any.
	Unread []string
	// Down are those whose server does not run, and that are set to a slot of this name,
	// while the inventory has them below another host: as long as they do not run, nothing
	// tells whether they have moved there yet.
	Down []string
}

// None: nobody of the inventory comes back to it.
func (d Doubt) None() bool { return len(d.Unread) == 0 && len(d.Down) == 0 }

// DoubtOf says who may come back to an orphan of sender that nobody uses. peers are the facts
// of the other hosts, as far as they are known. Who uses one now is told by the server.
func DoubtOf(cl *inventory.Cluster, sender *inventory.Host, s facts.Slot, peers ...*facts.Host) Doubt {
	var d Doubt
	if s.Active || OwnerOf(cl, sender, s, peers...).Use != Orphan {
		return d
	}
	known := map[string]*facts.Host{}
	for _, p := range peers {
		known[p.Name] = p
	}
	for _, sb := range cl.Standbys() {
		f := known[sb.Name]
		switch {
		case sb.Name == sender.Name:
		case f == nil || Unknown(f) != "":
			d.Unread = append(d.Unread, sb.Name)
		case !f.Server.Running && sb.UpstreamName != sender.Name && setTo(f, s.Name):
			d.Down = append(d.Down, sb.Name)
		}
	}
	return d
}

// Unknown says why it is not known by which slot a host streams; empty when it is, or when it
// can stream by none, for it is no standby.
func Unknown(f *facts.Host) string {
	d := f.Data
	switch {
	case f.Server.Running && !f.Server.InRecovery:
		return ""
	case f.Server.Running && !f.Server.Version.UsesSignalFiles() && !d.Standby:
		return "no recovery.conf is in " + d.Path
	case f.Server.Running:
		return ""
	case d.PrimarySlotUnread != "":
		return d.PrimarySlotUnread
	case d.State == facts.Foreign && (d.Version != "" || len(d.Sample) == 0):
		// What is there is a server's, or cannot be looked at.
		return d.Path + " cannot be read: " + d.Note
	}
	return ""
}
