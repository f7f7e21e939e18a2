package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// TopologyFormat names the JSON form of a Topology. Fields may be added to a
// version; nothing is taken away or changes its meaning.
const TopologyFormat = "pgrepctl.topology/v1"

// Topology is what streams from what: by the walsenders of each server, by what
// each standby says of its receiver, and by the slots. Where it is not as the
// inventory says, the node has a Difference.
type Topology struct {
	Format  string    `json:"format"`
	Cluster string    `json:"cluster"`
	At      time.Time `json:"at,omitzero"`
	Matches bool      `json:"matches"` // no difference is a problem or a warning
	Roots   []*Node   `json:"roots"`
}

// Kind says what a Node is.
type Kind string

const (
	HostNode    Kind = "host"    // of the inventory
	ClientNode  Kind = "client"  // a walsender's client that is no host of the inventory
	SlotNode    Kind = "slot"    // a slot that nobody uses and no host of the inventory owns
	OutsideNode Kind = "outside" // a server that a host streams from, not in the inventory
)

// Node is a server, a client or a slot, below what it streams from.
type Node struct {
	Name  string `json:"name"` // of a client its application_name
	Kind  Kind   `json:"kind"`
	State string `json:"state"` // of a host its State, of a client its walsender's
	// Upstream is what the inventory says; empty for all but its standbys.
	Upstream string `json:"upstream,omitempty"`
	// Streams: it does, from the node above. Without it the place is only the
	// inventory's.
	Streams  bool   `json:"streams"`
	Slot     string `json:"slot,omitempty"`    // that it uses
	Address  string `json:"address,omitempty"` // of a client
	User     string `json:"user,omitempty"`    // of a client
	Sync     string `json:"sync,omitempty"`    // sync_state of its walsender
	LagBytes *int64 `json:"lag_bytes,omitempty"`
	// Difference is one from the inventory.
	Difference *Note   `json:"difference,omitempty"`
	Downstream []*Node `json:"downstream,omitempty"`
}

// differ marks a node, unless something worse is marked already.
func (n *Node) differ(s Severity, id, text, hint string) {
	if n.Difference == nil || rank(s) > rank(n.Difference.Severity) {
		n.Difference = &Note{Severity: s, ID: id, Text: text, Hint: hint}
	}
}

// forest is a Topology that grows.
type forest struct {
	cl      *inventory.Cluster
	census  census
	results map[string]Result
	nodes   map[string]*Node // of hosts
	above   map[string]*Node // what a host's node is placed below
	shown   map[string]bool  // by a walsender
	outside []*Node
}

// BuildTopology makes the tree. Nodes are in the inventory's order, clients and
// slots of a server after its hosts.
func BuildTopology(cl *inventory.Cluster, results map[string]Result, retired map[string]member.Retirement) Topology {
	f := &forest{cl: cl, census: take(cl, results, retired), results: results, nodes: map[string]*Node{}, above: map[string]*Node{}, shown: map[string]bool{}}
	for _, row := range Build(cl, results, retired).Hosts {
		f.nodes[row.Host] = &Node{Name: row.Host, Kind: HostNode, State: string(row.State), Upstream: row.Upstream}
	}
	clients := f.placeSenders()
	for _, h := range cl.Hosts {
		if n := f.nodes[h.Name]; n != nil && f.above[h.Name] == nil {
			f.placeByItsWord(h, n)
		}
	}
	t := Topology{Format: TopologyFormat, Cluster: cl.Name, Matches: true}
	for _, h := range cl.Hosts {
		n := f.nodes[h.Name]
		if n == nil {
			continue
		}
		f.differences(h, n)
		if up := f.above[h.Name]; up != nil {
			up.Downstream = append(up.Downstream, n)
		} else {
			t.Roots = append(t.Roots, n)
		}
	}
	for _, h := range cl.Hosts {
		if n := f.nodes[h.Name]; n != nil {
			n.Downstream = append(append(n.Downstream, clients[h.Name]...), f.idleSlots(h)...)
		}
	}
	t.Roots = append(t.Roots, f.outside...)
	t.Walk(func(n *Node, _ []bool) {
		if n.Difference != nil && n.Difference.Severity != Info {
			t.Matches = false
		}
	})
	return t
}

// Walk visits every node, each before what is below it. last says of the node and
// of those above it, roots first, whether it is the last of its siblings.
func (t Topology) Walk(visit func(n *Node, last []bool)) {
	var walk func(list []*Node, last []bool)
	walk = func(list []*Node, last []bool) {
		for i, n := range list {
			here := append(slices.Clone(last), i == len(list)-1)
			visit(n, here)
			walk(n.Downstream, here)
		}
	}
	walk(t.Roots, nil)
}

// placeSenders puts hosts below the servers whose walsenders they are, and returns
// the clients that are none, by server.
func (f *forest) placeSenders() map[string][]*Node {
	type connection struct {
		server *inventory.Host
		sender facts.Sender
		who    *inventory.Host
		sure   bool // the receiver names this server
	}
	var all []connection
	for _, h := range f.cl.Hosts {
		if up := f.results[h.Name].Facts; up != nil && up.Server.Running {
			for _, s := range up.Server.Senders {
				c := connection{server: h, sender: s, who: f.whoIs(h, up, s)}
				if c.who != nil {
					if own := f.results[c.who.Name].Facts; own != nil {
						c.sure = sameAddress(h.Address, own.Server.Replay.SenderHost)
					}
				}
				all = append(all, c)
			}
		}
	}
	// A walsender that has not yet noticed the end of its client is still there:
	// of two the one that the receiver names counts, then the one that streams.
	better := func(a, b connection) bool {
		if a.sure != b.sure {
			return a.sure
		}
		return a.sender.State == "streaming" && b.sender.State != "streaming"
	}
	chosen := map[string]int{}
	for i, c := range all {
		if c.who == nil {
			continue
		}
		if was, ok := chosen[c.who.Name]; !ok || better(c, all[was]) {
			chosen[c.who.Name] = i
		}
	}
	clients := map[string][]*Node{}
	for i, c := range all {
		up := f.results[c.server.Name].Facts
		if c.who != nil && chosen[c.who.Name] == i {
			if n := f.nodes[c.who.Name]; n != nil {
				fill(n, up, c.sender)
				f.shown[c.who.Name] = true
				f.putBelow(n, f.nodes[c.server.Name])
				continue
			}
		}
		n := &Node{Name: c.sender.Application, Kind: ClientNode, State: c.sender.State, Address: c.sender.Client, User: c.sender.User}
		fill(n, up, c.sender)
		stranger(n, c.server, up, c.who)
		clients[c.server.Name] = append(clients[c.server.Name], n)
	}
	return clients
}

// below reports whether a is placed somewhere below b: to put b below a would make
// a ring.
func (f *forest) below(a, b string) bool {
	for n := f.nodes[a]; n != nil; n = f.above[n.Name] {
		if n.Name == b {
			return true
		}
	}
	return false
}

// whoIs finds the host behind a walsender: by its application_name, the slot that
// it holds, or its address, in this order. A host that says that it receives
// nothing is not behind any.
func (f *forest) whoIs(server *inventory.Host, up *facts.Host, s facts.Sender) *inventory.Host {
	receives := func(h *inventory.Host) bool {
		own := f.results[h.Name].Facts
		return h != server && (own == nil || own.Server.InRecovery && own.Server.Replay.ReceiverStatus != "")
	}
	if h, ok := f.cl.Host(s.Application); ok {
		if receives(h) {
			return h
		}
		return nil
	}
	held := slotOf(up, s.PID).Name
	for _, h := range f.cl.Hosts {
		if held != "" && h.Slot == held && h.UpstreamName == server.Name && receives(h) {
			return h
		}
	}
	if programOf(s.Application) != "" {
		return nil
	}
	for _, h := range f.cl.Hosts {
		own := f.results[h.Name].Facts
		// Its own word must agree: other clients run there too.
		if own != nil && receives(h) && sameAddress(h.Address, s.Client) && own.Server.Replay.SlotName == held && sameAddress(server.Address, own.Server.Replay.SenderHost) {
			return h
		}
	}
	return nil
}

// slotOf is the slot that a walsender holds; without a name: none.
func slotOf(up *facts.Host, pid int) facts.Slot {
	for _, s := range up.Server.Slots {
		if s.Active && s.ActivePID == pid {
			return s
		}
	}
	return facts.Slot{}
}

// fill is what the server says of the walsender of a node.
func fill(n *Node, up *facts.Host, s facts.Sender) {
	n.Streams, n.Slot, n.Sync = true, slotOf(up, s.PID).Name, s.SyncState
	for _, at := range []*postgres.LSN{s.Replay, s.Flush, s.Sent} {
		if at != nil {
			behind := max(end(up).Sub(*at), 0)
			n.LagBytes = &behind
			break
		}
	}
}

// programOf says what PostgreSQL's own clients of a walsender do.
func programOf(application string) string {
	switch application {
	case "pg_receivewal", "pg_receivexlog", "barman_receive_wal":
		return "it archives WAL"
	case "pg_basebackup":
		return "it copies the cluster"
	case "pg_recvlogical":
		return "it decodes changes"
	}
	return ""
}

// stranger marks a client that is no host of the inventory.
func stranger(n *Node, server *inventory.Host, up *facts.Host, who *inventory.Host) {
	n.Name = strings.TrimSpace(n.Name)
	if n.Name == "" {
		n.Name = "?"
	}
	program := programOf(n.Name)
	switch held, _ := up.Server.Slot(n.Slot); {
	case who != nil:
		n.differ(Warning, "second-connection", "a second connection of "+who.Name+", or an old one that has not ended yet", "a minute later: pgrepctl topology")
	case held.Type == "logical":
		n.differ(Info, "logical-client", "a logical subscriber, which is not in the inventory", "")
	case program != "":
		n.differ(Info, "known-client", program+", and is not in the inventory", "")
	default:
		n.differ(Warning, "unknown-client", fmt.Sprintf("it streams as %s from %s, and is not in the inventory", n.User, orLocal(n.Address)),
			"if it is a standby, name it in the inventory; to see who it is, on "+server.Name+": select * from pg_stat_replication")
	}
}

func orLocal(address string) string {
	if address == "" {
		return "the host itself"
	}
	return address
}

// idleSlots are the slots of a server that nobody uses, and no host of the
// inventory is to use.
func (f *forest) idleSlots(h *inventory.Host) []*Node {
	up := f.results[h.Name].Facts
	if up == nil || !up.Server.Running {
		return nil
	}
	var out []*Node
	for _, s := range up.Server.Slots {
		lent := f.census.lent(h, s)
		if !f.census.strange(h, s) && lent == "" {
			continue
		}
		n := &Node{Name: s.Name, Kind: SlotNode, State: "unused", LagBytes: s.RetainedBytes}
		if s.WALStatus == "lost" {
			n.State = "lost"
		}
		if lent != "" {
			n.differ(Warning, "other-slot", "a slot that nobody uses now; "+lent+" is set to it, and the inventory does not say so", "correct slot or upstream of "+lent+" in the inventory")
			out = append(out, n)
			continue
		}
		text := "a slot that nobody uses, and is not the inventory's"
		if of := f.census.leftBy(h, s); of != "" {
			text = "an orphan: a slot that nobody uses, of " + of + ", which was taken out of the cluster"
		}
		n.differ(Warning, "strange-slot", text, "if nobody needs it: "+f.census.drop(h, s))
		out = append(out, n)
	}
	return out
}
