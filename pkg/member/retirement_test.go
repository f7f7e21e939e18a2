package member_test

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
)

// What a server says goes before what a journal says.
func TestWhoCameBackIsInTheClusterWhateverTheJournalSays(t *testing.T) {
	t.Parallel()
	cl := &inventory.Cluster{Hosts: []*inventory.Host{{Name: "pg1", Role: inventory.Primary},
		{Name: "pg2", Role: inventory.Standby, UpstreamName: "pg1", Slot: "slot2"}, {Name: "pg3", Role: inventory.Standby, UpstreamName: "pg1"}}}
	slotOf := func(pid int) func(up, own *facts.Host) {
		return func(up, _ *facts.Host) {
			up.Server.Slots = []facts.Slot{{Name: "slot2", Active: true, ActivePID: 7}}
			up.Server.Senders = []facts.Sender{{PID: pid, Application: "walreceiver"}}
		}
	}
	for name, c := range map[string]struct {
		change  func(up, own *facts.Host)
		apart   bool
		present bool
	}{
		"its server is stopped":                   {change: func(_, own *facts.Host) { own.Server = facts.Server{} }},
		"it follows nobody":                       {change: func(*facts.Host, *facts.Host) {}},
		"it receives":                             {func(_, own *facts.Host) { own.Server.Replay.ReceiverStatus = "streaming" }, false, true},
		"its upstream sends to it":                {func(up, _ *facts.Host) { up.Server.Senders = []facts.Sender{{Application: "pg2"}} }, false, true},
		"its upstream sends by its slot":          {slotOf(7), false, true},
		"somebody else uses the slot":             {change: slotOf(8)},
		"its slot is used, on 9.4":                {func(up, _ *facts.Host) { up.Server.Slots = []facts.Slot{{Name: "slot2", Active: true}} }, false, true},
		"it takes writes":                         {func(_, own *facts.Host) { own.Server.InRecovery = false }, false, true},
		"it takes writes, as a server of its own": {func(_, own *facts.Host) { own.Server.InRecovery = false }, true, false},
		"a later run began to make it again":      {func(_, own *facts.Host) { own.Data.State, own.Data.Marker.Run = facts.Partial, "r2" }, false, true},
		"a copy of an earlier time was left behind": {change: func(_, own *facts.Host) {
			own.Server, own.Data.State, own.Data.Marker.Run = facts.Server{}, facts.Partial, "r0"
		}},
	} {
		up := &facts.Host{Name: "pg1", Server: facts.Server{Running: true}}
		own := &facts.Host{Name: "pg2", Server: facts.Server{Running: true, InRecovery: true}}
		c.change(up, own)
		got := map[string]*facts.Host{"pg1": up, "pg2": own}
		in, out := member.Present(cl, map[string]member.Retirement{"pg2": {Run: "r1", Apart: c.apart}, "pg1": {Run: "r1"}}, func(host string) *facts.Host { return got[host] })
		_, present := in.Host("pg2")
		if _, gone := out["pg2"]; present != c.present || gone == present || len(in.Hosts) != 3-len(out) {
			t.Errorf("%s: present %t, out %v", name, present, out)
		}
	}
}

func TestWhoIsAwayWasTakenOut(t *testing.T) {
	t.Parallel()
	cl := &inventory.Cluster{Hosts: []*inventory.Host{{Name: "pg1", Role: inventory.Primary}, {Name: "pg2", Role: inventory.Standby, UpstreamName: "pg1"}}}
	in, out := member.Present(cl, map[string]member.Retirement{"pg2": {}}, func(string) *facts.Host { return nil })
	if len(in.Hosts) != 1 || len(out) != 1 {
		t.Errorf("%d hosts, out %v", len(in.Hosts), out)
	}
	if in, out = member.Present(cl, nil, func(string) *facts.Host { return nil }); in != cl || len(out) != 0 {
		t.Errorf("nobody was taken out, and there are %v", out)
	}
}
