package status

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// drawn is a tree in words: a line for each node, with its kind if it is no host,
// and its difference.
func drawn(top Topology) string {
	var b strings.Builder
	top.Walk(func(n *Node, last []bool) {
		b.WriteString(strings.Repeat("  ", len(last)-1) + n.Name)
		if n.Kind != HostNode {
			fmt.Fprintf(&b, " (%s)", n.Kind)
		}
		if n.Streams && n.Slot != "" {
			b.WriteString(" by " + n.Slot)
		}
		if n.Difference != nil {
			fmt.Fprintf(&b, " %s:%s", n.Difference.Severity, n.Difference.ID)
		}
		b.WriteString("\n")
	})
	return b.String()
}

// Two commands that say how late a standby is say the same.
func TestLagInTheTreeIsThatOfTheRow(t *testing.T) {
	t.Parallel()
	r := healthy()
	up := &r["pg2"].Facts.Server
	up.Replay.Receive, up.Senders[0].Replay = ptr(postgres.LSN(0x9000)), ptr(postgres.LSN(0x6000))
	lags := map[string]*int64{}
	BuildTopology(cluster(), r, nil).Walk(func(n *Node, _ []bool) { lags[n.Name] = n.LagBytes })
	for _, row := range Build(cluster(), r, nil).Hosts {
		if diff := cmp.Diff(lags[row.Host], row.LagBytes); diff != "" {
			t.Errorf("%s (-topology +status):\n%s", row.Host, diff)
		}
	}
}

func TestTopologyIsWhatStreamsAndNotWhatIsWritten(t *testing.T) {
	t.Parallel()
	const ordinary = "pg1\n  pg2 by pg2\n    pg3 by pg3\n"
	streamsFrom := func(r map[string]Result, who, from, address string) {
		up, own := &r[from].Facts.Server, &r[who].Facts.Server
		for name, res := range r {
			if name != from && res.Facts != nil {
				var kept []facts.Sender
				for _, s := range res.Facts.Server.Senders {
					if s.Application != who {
						kept = append(kept, s)
					}
				}
				res.Facts.Server.Senders = kept
			}
		}
		up.Senders = append(up.Senders, facts.Sender{PID: 99, Application: who, State: "streaming"})
		own.Replay = facts.Replay{ReceiverStatus: "streaming", SenderHost: address, SlotName: who}
	}
	for name, c := range map[string]struct {
		damage func(cl *inventory.Cluster, r map[string]Result)
		want   string
	}{
		"as it should be": {func(*inventory.Cluster, map[string]Result) {}, ordinary},
		"from another than the inventory says": {
			func(_ *inventory.Cluster, r map[string]Result) {
				streamsFrom(r, "pg3", "pg1", "10.0.0.11")
				r["pg1"].Facts.Server.Slots = append(r["pg1"].Facts.Server.Slots, facts.Slot{Name: "pg3", Active: true, ActivePID: 99})
				r["pg2"].Facts.Server.Slots = nil
			},
			"pg1\n  pg2 by pg2\n  pg3 by pg3 warning:other-upstream\n",
		},
		"known by its slot": {
			func(_ *inventory.Cluster, r map[string]Result) {
				r["pg1"].Facts.Server.Senders[0].Application = "walreceiver"
			},
			ordinary,
		},
		"known by its address, and without its slot": {
			func(_ *inventory.Cluster, r map[string]Result) {
				s := &r["pg1"].Facts.Server.Senders[0]
				s.Application, s.Client, s.PID = "walreceiver", "10.0.0.12", 8
				r["pg1"].Facts.Server.Slots[0].Active, r["pg2"].Facts.Server.Replay.SlotName = false, ""
			},
			"pg1\n  pg2 warning:other-slot\n    pg3 by pg3\n",
		},
		"clients that are no hosts, and a slot of nobody": {
			func(_ *inventory.Cluster, r map[string]Result) {
				p := &r["pg1"].Facts.Server
				p.Senders = append(p.Senders, facts.Sender{PID: 20, Application: "pg_receivewal", Client: "10.0.0.12", State: "streaming"},
					facts.Sender{PID: 21, Application: "walreceiver", Client: "10.9.9.9", State: "streaming"}, facts.Sender{PID: 22, Application: "sub", State: "streaming"})
				p.Slots = append(p.Slots, facts.Slot{Name: "archive", Active: true, ActivePID: 20}, facts.Slot{Name: "old"}, facts.Slot{Name: "sub", Type: "logical", Active: true, ActivePID: 22})
			},
			ordinary + "  pg_receivewal (client) by archive note:known-client\n  walreceiver (client) warning:unknown-client\n" +
				"  sub (client) by sub note:logical-client\n  old (slot) warning:strange-slot\n",
		},
		"an old walsender beside the new one": {
			func(_ *inventory.Cluster, r map[string]Result) {
				p := &r["pg1"].Facts.Server
				p.Senders = append([]facts.Sender{{PID: 3, Application: "pg2", State: "catchup"}}, p.Senders...)
			},
			ordinary + "  pg2 (client) warning:second-connection\n",
		},
		"somebody who calls himself like a host that receives nothing": {
			func(_ *inventory.Cluster, r map[string]Result) { r["pg2"].Facts.Server.Replay = facts.Replay{} },
			"pg1\n  pg2 problem:streams-not\n    pg3 by pg3\n  pg2 (client) by pg2 warning:unknown-client\n",
		},
		"from a server outside": {
			func(_ *inventory.Cluster, r map[string]Result) {
				p := &r["pg1"].Facts.Server
				p.Senders, p.Slots[0].Active = nil, false
				r["pg2"].Facts.Server.Replay = facts.Replay{ReceiverStatus: "streaming", SenderHost: "192.0.2.1", SenderPort: 5433, SlotName: "pg2"}
			},
			"pg1\n192.0.2.1:5433 (outside) warning:unknown-server\n  pg2 by pg2 warning:other-upstream\n    pg3 by pg3\n",
		},
		"the upstream does not answer": {
			func(_ *inventory.Cluster, r map[string]Result) { r["pg1"] = Result{Err: errors.New("no route")} },
			"pg1 problem:unreachable\n  pg2 by pg2\n    pg3 by pg3\n",
		},
		"the upstream shows no walsender": {
			func(_ *inventory.Cluster, r map[string]Result) {
				p := &r["pg1"].Facts.Server
				p.Senders, p.Slots[0].Active = nil, false
			},
			"pg1\n  pg2 by pg2 warning:no-walsender\n    pg3 by pg3\n",
		},
		"a standby that takes writes": {
			func(_ *inventory.Cluster, r map[string]Result) {
				r["pg2"].Facts.Server.InRecovery = false
				p := &r["pg1"].Facts.Server
				p.Senders, p.Slots[0].Active = nil, false
			},
			"pg1\npg2 problem:role-differs\n  pg3 by pg3\n",
		},
		"two that stream from each other": {
			func(_ *inventory.Cluster, r map[string]Result) { streamsFrom(r, "pg2", "pg3", "10.0.0.13") },
			"pg1\npg2 by pg2 problem:ring\n  pg3 by pg3\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, r := cluster(), healthy()
			c.damage(cl, r)
			top := BuildTopology(cl, r, nil)
			got := drawn(top)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if want := !strings.Contains(got, "problem:") && !strings.Contains(got, "warning:"); top.Matches != want {
				t.Errorf("matches: %t", top.Matches)
			}
		})
	}
}
