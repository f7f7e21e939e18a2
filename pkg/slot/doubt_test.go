package slot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// down is a standby whose server does not run, and whose files name a slot.
func down(name, slotName string) *facts.Host {
	f := facts.New(name, nil)
	f.Data = facts.DataDir{Path: "/data", State: facts.Cluster, Standby: true, Version: "15", PrimarySlotName: slotName}
	return f
}

// up is a standby that streams from a host that is not asked.
func up(name, slotName string) *facts.Host {
	f := facts.New(name, nil)
	f.Server.Running, f.Server.InRecovery, f.Server.Version, f.Server.Replay.ConfiguredSlot = true, true, postgres.MakeVersion(15), slotName
	f.Server.Replay.ReceiverStatus, f.Server.Replay.SenderHost, f.Server.Replay.SenderPort = "streaming", "10.0.0.19", 5432
	return f
}

// old is a standby that runs, of 9.5: what it is set to stands in its files, and from whom it
// receives, nowhere.
func old(name, slotName string) *facts.Host {
	f := down(name, slotName)
	f.Server.Running, f.Server.InRecovery = true, true
	f.Server.Version, _ = postgres.ParseVersion("9.5")
	return f
}

func TestAStandbyThatIsNotReadMayComeBackToAnySlot(t *testing.T) {
	t.Parallel()
	idle := facts.Slot{Name: "old", Type: "physical"}
	with := func(change func(*facts.Slot)) facts.Slot { s := idle; change(&s); return s }
	change := func(f *facts.Host, c func(*facts.Host)) *facts.Host { c(f); return f }
	for name, c := range map[string]struct {
		slot  facts.Slot
		peers []*facts.Host
		want  slot.Doubt
	}{
		"all are read":                       {idle, []*facts.Host{up("pg2", "second"), up("pg3", "pg3")}, slot.Doubt{}},
		"one is stopped, and its files tell": {idle, []*facts.Host{down("pg2", "second"), up("pg3", "pg3")}, slot.Doubt{}},
		"none is read":                       {idle, nil, slot.Doubt{Unread: []string{"pg2", "pg3"}}},
		"the standby of another host":        {idle, []*facts.Host{up("pg2", "second")}, slot.Doubt{Unread: []string{"pg3"}}},
		"somebody uses it now":               {with(func(s *facts.Slot) { s.Active = true }), nil, slot.Doubt{}},
		"it is a standby's":                  {with(func(s *facts.Slot) { s.Name = "second" }), nil, slot.Doubt{}},
		"it is logical":                      {with(func(s *facts.Slot) { s.Type = "logical" }), nil, slot.Doubt{}},
		"files that do not tell":             {idle, []*facts.Host{change(down("pg2", ""), func(f *facts.Host) { f.Data.PrimarySlotUnread = "denied" }), up("pg3", "pg3")}, slot.Doubt{Unread: []string{"pg2"}}},
		"one that is still to be made":       {idle, []*facts.Host{change(down("pg2", ""), func(f *facts.Host) { f.Data = facts.DataDir{State: facts.Empty} }), up("pg3", "pg3")}, slot.Doubt{}},
		"data that cannot be looked at":      {idle, []*facts.Host{change(down("pg2", ""), func(f *facts.Host) { f.Data = facts.DataDir{State: facts.Foreign, Note: "denied"} }), up("pg3", "pg3")}, slot.Doubt{Unread: []string{"pg2"}}},
		"a directory of something else": {idle, []*facts.Host{change(down("pg2", ""), func(f *facts.Host) {
			f.Data = facts.DataDir{State: facts.Foreign, Sample: []string{"lost+found"}}
		}), up("pg3", "pg3")}, slot.Doubt{}},
		"before 12, its recovery.conf is not there": {idle, []*facts.Host{change(up("pg2", ""), func(f *facts.Host) { f.Server.Version = postgres.MakeVersion(11) }), up("pg3", "pg3")}, slot.Doubt{Unread: []string{"pg2"}}},
		"it was promoted": {idle, []*facts.Host{change(up("pg2", ""), func(f *facts.Host) {
			f.Server.Version, f.Server.InRecovery = postgres.MakeVersion(11), false
		}), up("pg3", "pg3")}, slot.Doubt{}},
		"one that is stopped may not have moved yet":   {idle, []*facts.Host{up("pg2", "second"), down("pg3", "old")}, slot.Doubt{Down: []string{"pg3"}}},
		"one that streams from another host has moved": {idle, []*facts.Host{up("pg2", "second"), up("pg3", "old")}, slot.Doubt{}},
		"one that runs, and receives nothing, may come for it hours later": {idle, []*facts.Host{up("pg2", "second"), change(up("pg3", "old"), func(f *facts.Host) {
			f.Server.Replay.ReceiverStatus, f.Server.Replay.SenderHost, f.Server.Replay.SenderPort = "", "", 0
		})}, slot.Doubt{Down: []string{"pg3"}}},
		"one whose link is cut has not noticed yet": {idle, []*facts.Host{up("pg2", "second"), change(up("pg3", "old"), func(f *facts.Host) {
			f.Server.Replay.SenderHost = "10.0.0.11"
		})}, slot.Doubt{Down: []string{"pg3"}}},
		"one that streams from another server of this machine has moved": {idle, []*facts.Host{up("pg2", "second"), change(up("pg3", "old"), func(f *facts.Host) {
			f.Server.Replay.SenderHost, f.Server.Replay.SenderPort = "10.0.0.11", 5433
		})}, slot.Doubt{}},
		"before 9.6 one that runs does not tell": {idle, []*facts.Host{old("pg2", "second"), old("pg3", "old")}, slot.Doubt{Down: []string{"pg3"}}},
		"before 9.6 its upstream tells": {idle, []*facts.Host{change(old("pg2", "second"), func(f *facts.Host) {
			f.Server.Senders = []facts.Sender{{Application: "pg3", State: "streaming"}}
		}), old("pg3", "old")}, slot.Doubt{}},
	} {
		cl := cluster(t)
		h, _ := cl.Host("pg1")
		got := slot.DoubtOf(cl, h, c.slot, c.peers...)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.None() != (len(c.want.Unread)+len(c.want.Down) == 0) {
			t.Errorf("%s: none: %v", name, got.None())
		}
	}
	// What the sender itself is set to says nothing of its own slots.
	cl := cluster(t)
	h, _ := cl.Host("pg2")
	if got := slot.DoubtOf(cl, h, idle, up("pg3", "pg3")); !got.None() {
		t.Errorf("on pg2: %+v", got)
	}
}
