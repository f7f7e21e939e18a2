package status

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// placeByItsWord puts a host that no walsender shows where it says that it streams
// from, else where the inventory has it.
func (f *forest) placeByItsWord(h *inventory.Host, n *Node) {
	own := f.results[h.Name].Facts
	if own != nil && own.Server.Running && !own.Server.InRecovery {
		return // it takes writes: a root
	}
	if own != nil && own.Server.Running && own.Server.Replay.ReceiverStatus != "" {
		n.Slot = own.Server.Replay.SlotName
		if from := own.Server.Replay.SenderHost; from != "" {
			n.Streams = true
			f.putBelow(n, f.server(from, own.Server.Replay.SenderPort))
			return
		}
		n.Streams = true // before 11 it does not say from where
	}
	if up := f.nodes[h.UpstreamName]; up != nil && !f.below(h.UpstreamName, h.Name) {
		f.above[h.Name] = up
	}
}

// putBelow places a host below the node that it streams from. Of a ring the last
// stays a root: there is no primary behind it.
func (f *forest) putBelow(n, up *Node) {
	if up.Kind == HostNode && f.below(up.Name, n.Name) {
		n.differ(Problem, "ring", "it streams from "+up.Name+", which streams from it", "lead one of them back to the primary: pgrepctl standby bootstrap "+n.Name)
		return
	}
	f.above[n.Name] = up
}

// server is the node at an address: a host of the inventory, else one outside.
func (f *forest) server(address string, port int) *Node {
	for _, h := range f.cl.Hosts {
		if n := f.nodes[h.Name]; n != nil && sameAddress(h.Address, address) && (port == 0 || h.Postgres.Port == port) {
			return n
		}
	}
	name := net.JoinHostPort(address, strconv.Itoa(port))
	for _, n := range f.outside {
		if n.Name == name {
			return n
		}
	}
	n := &Node{Name: name, Kind: OutsideNode, State: "not asked"}
	n.differ(Warning, "unknown-server", "a server that is not in the inventory", "")
	f.outside = append(f.outside, n)
	return n
}

// sameAddress compares as far as it can without a name service.
func sameAddress(a, b string) bool {
	if strings.EqualFold(a, b) {
		return a != ""
	}
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x.Unmap() == y.Unmap()
}

// differences compares a host's place with the inventory's.
func (f *forest) differences(h *inventory.Host, n *Node) {
	own, up := f.results[h.Name].Facts, f.above[h.Name]
	if r, out := f.census.out[h.Name]; out {
		n.differ(Warning, "retired", r.String(), r.Hint)
		return
	}
	switch {
	case own == nil:
		n.differ(Problem, "unreachable", "it does not answer", "pgrepctl status")
	case !own.Server.Running:
		n.differ(Problem, "no-server", "no server answers there", "pgrepctl status")
	case h.Role == inventory.Primary && own.Server.InRecovery:
		n.differ(Problem, "role-differs", "it is in recovery; the inventory says primary", "pgrepctl status")
	case h.Role == inventory.Standby && !own.Server.InRecovery:
		n.differ(Problem, "role-differs", "it takes writes; the inventory says standby of "+h.UpstreamName, "pgrepctl status")
	case h.Role == inventory.Standby && !n.Streams && atTarget(own):
		n.differ(Warning, "at-target", "it stands at its recovery target, and receives nothing until it is let go", "pgrepctl replay resume "+h.Name+" --follow")
	case h.Role == inventory.Standby && !n.Streams && own.ComesOfAge(h.ApplyDelay):
		n.differ(Warning, "replays-its-own", "it streams from "+h.UpstreamName+" when it has replayed what it has, "+h.ApplyDelay.String()+" late as it should", "pgrepctl status")
	case h.Role == inventory.Standby && !n.Streams:
		n.differ(Problem, "streams-not", "it does not stream; the inventory says from "+h.UpstreamName, "pgrepctl status")
	case h.Role == inventory.Standby && n.Streams && up != nil && !f.shown[h.Name] && f.answers(up.Name):
		n.differ(Warning, "no-walsender", "it says that it streams from "+up.Name+", which shows no walsender that is known to be its own", "pgrepctl status")
	case h.Role == inventory.Standby && up != nil && up.Name != h.UpstreamName:
		n.differ(Warning, "other-upstream", fmt.Sprintf("it streams from %s; the inventory says from %s", up.Name, h.UpstreamName), f.moved(h, up))
	case h.Role == inventory.Standby && n.Slot != h.Slot && h.Slot != "":
		n.differ(Warning, "other-slot", fmt.Sprintf("it uses %s; the inventory says slot %s", slotName(n.Slot), h.Slot), "what is not in place says: pgrepctl standby bootstrap "+h.Name+" --dry-run")
	}
}

// answers reports whether a host's server has told of its walsenders.
func (f *forest) answers(name string) bool {
	up := f.results[name].Facts
	return up != nil && up.Server.Running
}

func slotName(s string) string {
	if s == "" {
		return "no slot"
	}
	return "slot " + s
}

func (f *forest) moved(h *inventory.Host, up *Node) string {
	if up.Kind != HostNode {
		return "name that server in the inventory, or lead " + h.Name + " back: pgrepctl standby bootstrap " + h.Name
	}
	if f.cl.Primary().Name == up.Name {
		return "if that is right, take upstream: of " + h.Name + " out of the inventory; else: pgrepctl standby bootstrap " + h.Name
	}
	return "if that is right, write upstream: " + up.Name + " for " + h.Name + " in the inventory; else: pgrepctl standby bootstrap " + h.Name
}
