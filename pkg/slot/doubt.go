package slot

import (
	"slices"

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
	// Down are those that are set to a slot of this name, while the inventory has them below
	// another host, and that are not seen to stream from there: their server does not run,
	// or it receives nothing. As long as that is so, nothing tells whether they have moved
	// there yet, or from there to here: one with a delay that was re-pointed comes for its
	// slot hours later.
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
		case setTo(f, s.Name) && !elsewhere(sb, sender, f, peers):
			d.Down = append(d.Down, sb.Name)
		}
	}
	return d
}

// elsewhere reports whether a standby is seen to stream from another host than sender: it has
// no use for a slot here any more, whatever its name is.
func elsewhere(sb, sender *inventory.Host, f *facts.Host, peers []*facts.Host) bool {
	s, r := f.Server, f.Server.Replay
	switch {
	case !s.Running:
		return false
	case !s.Version.AtLeast(9, 6): // which has no pg_stat_wal_receiver: the other end is asked
		return slices.ContainsFunc(peers, func(p *facts.Host) bool {
			x, ok := p.Server.SenderOf(sb.Name, sb.Slot)
			return ok && p.Name != sender.Name && x.State == "streaming"
		})
	case r.ReceiverStatus != "streaming":
		return false
	}
	// One whose link was cut says so until wal_receiver_timeout, 60 s by default. From whom,
	// it does not say before 11.
	return r.SenderHost != sender.Address || r.SenderPort != sender.Postgres.Port
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
