// Package slot says whose a replication slot is, what it holds back, and when the
// file system of the WAL is full because of it. It is pure: facts in, data out.
package slot

import (
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Use is how the inventory knows a slot.
type Use string

const (
	// Needed: a standby of the inventory streams from this sender by it.
	Needed Use = "standby"
	// Guest: a host of the inventory uses it now, or is set to, whether its server
	// runs or not, and the inventory says another slot or another upstream.
	Guest Use = "guest"
	// Orphan: a physical slot that no host of the inventory uses. It keeps
	// WAL for ever, or somebody whom the inventory does not know uses it.
	Orphan Use = "orphan"
	// Logical slots belong to subscriptions and decoders, never to a standby.
	Logical Use = "logical"
	// Temporary slots end with their session (10+).
	Temporary Use = "temporary"
)

// Owner is whose a slot is.
type Owner struct {
	Use  Use    `json:"use"`
	Host string `json:"owner,omitempty"` // of Needed and Guest
}

// OwnerOf is the one rule of ownership: s is a slot on sender, which may be the
// primary or a standby. A name alone says nothing: the slot of a standby that has
// moved to another upstream is an orphan where it was. peers are the facts of other
// hosts, as far as they are known: a standby whose link is cut just now, or whose server
// does not run, and that is set to another slot than the inventory says, is found only
// there.
func OwnerOf(cl *inventory.Cluster, sender *inventory.Host, s facts.Slot, peers ...*facts.Host) Owner {
	switch {
	case s.Type == "logical":
		return Owner{Use: Logical}
	case s.Temporary:
		return Owner{Use: Temporary}
	}
	if d := wants(cl, sender, s.Name); d != nil {
		return Owner{Use: Needed, Host: d.Name}
	}
	// A standby's application_name is its name in the inventory.
	if d, ok := cl.Host(s.Client); ok && s.Active && d.Name != sender.Name {
		return Owner{Use: Guest, Host: d.Name}
	}
	for _, p := range peers {
		d, ok := cl.Host(p.Name)
		if ok && d.UpstreamName == sender.Name && setTo(p, s.Name) {
			return Owner{Use: Guest, Host: d.Name}
		}
	}
	return Owner{Use: Orphan}
}

// wants finds the host that is to stream from sender by a slot of that name, nil
// if none is.
func wants(cl *inventory.Cluster, sender *inventory.Host, name string) *inventory.Host {
	for _, d := range cl.Downstreams(sender) {
		if d.Slot == name {
			return d
		}
	}
	return nil
}

// Strange reports that nobody uses a slot and no host of the inventory is to: it
// keeps WAL until the disk is full.
func Strange(cl *inventory.Cluster, sender *inventory.Host, s facts.Slot, peers ...*facts.Host) bool {
	switch OwnerOf(cl, sender, s, peers...).Use {
	case Orphan:
		return !s.Active
	case Logical: // one that has a standby's name is in the way, and named for that
		return !s.Active && !s.Synced && wants(cl, sender, s.Name) == nil
	}
	return false
}

// LentTo is the host that is set to a slot which nobody uses now, and which the inventory does
// not give it; empty of any other slot. It may come back to it: who drops it, cuts it off.
func LentTo(cl *inventory.Cluster, sender *inventory.Host, s facts.Slot, peers ...*facts.Host) string {
	if owner := OwnerOf(cl, sender, s, peers...); owner.Use == Guest && !s.Active {
		return owner.Host
	}
	return ""
}

// DropCommandOf drops the slot that the inventory gives to standby, when it is lost
// or in the way.
func DropCommandOf(host, standby string, s facts.Slot) string {
	if s.Type == "logical" {
		return DropCommand(host, s)
	}
	return DropCommand(host, s) + " --of " + standby
}

// DropCommand is what an operator types to drop a slot of host that nobody needs.
// A logical one is dropped by whoever has its consumer, with SQL.
func DropCommand(host string, s facts.Slot) string {
	if s.Type == "logical" {
		return "select pg_drop_replication_slot('" + s.Name + "')"
	}
	return "pgrepctl slot drop " + s.Name + " --on " + host
}
