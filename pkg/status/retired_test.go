package status

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// pair is pg1 and its standbys pg2, which streams, and pg3, which run 7 has taken out:
// its server is stopped, and nothing of it is left on pg1.
func pair() (*inventory.Cluster, map[string]Result, map[string]member.Retirement) {
	cl, r := cluster(), healthy()
	cl.Hosts[2].UpstreamName = "pg1"
	r["pg2"].Facts.Server.Senders, r["pg2"].Facts.Server.Slots = nil, nil
	f := r["pg3"].Facts
	f.Server, f.Data.PID, f.Data.Control.State = facts.Server{}, 0, postgres.ShutDownInRecovery
	return cl, r, map[string]member.Retirement{"pg3": {Run: "7", Operator: "anna@desk", At: noon, Hint: "delete line 9"}}
}

// leave puts the slot of pg3 on pg1.
func leave(r map[string]Result, change func(*facts.Slot)) {
	s := facts.Slot{Name: "pg3", Type: "physical", WALStatus: "extended", RetainedBytes: ptr(int64(20 * mb)), RestartLSN: at(1500)}
	if change != nil {
		change(&s)
	}
	p := &r["pg1"].Facts.Server
	p.Slots = append(p.Slots, s)
}

func noted(notes []Note) []string {
	var out []string
	for _, n := range notes {
		out = append(out, string(n.Severity)+":"+n.ID)
	}
	return out
}

func TestARetiredStandbyLacksNothing(t *testing.T) {
	t.Parallel()
	runs := func(r map[string]Result, recovery bool) {
		r["pg3"] = Result{Facts: healthy()["pg3"].Facts}
		s := &r["pg3"].Facts.Server
		s.InRecovery, s.Replay = recovery, facts.Replay{}
	}
	for name, c := range map[string]struct {
		make  func(cl *inventory.Cluster, r map[string]Result, out map[string]member.Retirement)
		state State
		slot  SlotState
		notes []string
		pg1   []string
	}{
		"it is stopped": {state: Retired, notes: []string{"warning:retired"}},
		"its host is gone": {make: func(_ *inventory.Cluster, r map[string]Result, _ map[string]member.Retirement) {
			r["pg3"] = Result{Err: errors.New("no route")}
		}, state: Retired, notes: []string{"warning:retired"}},
		"its data are erased": {make: func(_ *inventory.Cluster, r map[string]Result, _ map[string]member.Retirement) {
			r["pg3"].Facts.Data = facts.DataDir{Path: "/data", State: facts.Empty}
		}, state: Retired, notes: []string{"warning:retired"}},
		"its slot was left there":      {make: func(_ *inventory.Cluster, r map[string]Result, _ map[string]member.Retirement) { leave(r, nil) }, state: Retired, slot: SlotOrphan, notes: []string{"warning:retired"}, pg1: []string{"warning:strange-slot"}},
		"its server was started again": {make: func(_ *inventory.Cluster, r map[string]Result, _ map[string]member.Retirement) { runs(r, true) }, state: Retired, notes: []string{"warning:retired", "warning:retired-runs"}},
		"it is a server of its own": {make: func(_ *inventory.Cluster, r map[string]Result, out map[string]member.Retirement) {
			runs(r, false)
			r["pg3"].Facts.Server.Timeline = 4
			apart := out["pg3"]
			apart.Apart = true
			out["pg3"] = apart
		}, state: Retired, notes: []string{"warning:retired"}},
		"it takes writes, and was only stopped": {make: func(_ *inventory.Cluster, r map[string]Result, _ map[string]member.Retirement) { runs(r, false) }, state: Twin, slot: SlotMissing, notes: []string{"problem:writable-twin"}},
		"it streams again": {make: func(_ *inventory.Cluster, r map[string]Result, _ map[string]member.Retirement) {
			r["pg3"] = Result{Facts: healthy()["pg3"].Facts}
			leave(r, func(s *facts.Slot) { s.Active, s.ActivePID = true, 8 })
			p := &r["pg1"].Facts.Server
			p.Senders = append(p.Senders, facts.Sender{PID: 8, Application: "pg3", State: "streaming"})
		}, state: Streaming, slot: SlotActive, notes: []string{"warning:other-upstream"}},
		"a later run began to make it again": {make: func(_ *inventory.Cluster, r map[string]Result, out map[string]member.Retirement) {
			out["pg3"] = member.Retirement{Run: "20260102T120000Z-aaaa"}
			r["pg3"].Facts.Data = facts.DataDir{Path: "/data", State: facts.Partial, Marker: facts.Marker{Run: "20260102T120001Z-0000", Source: "pg1"}}
		}, state: Partial, slot: SlotMissing, notes: []string{"problem:partial-copy"}},
		"a copy that was broken off before": {make: func(_ *inventory.Cluster, r map[string]Result, out map[string]member.Retirement) {
			out["pg3"] = member.Retirement{Run: "20260102T120000Z-aaaa"}
			r["pg3"].Facts.Data = facts.DataDir{Path: "/data", State: facts.Partial, Marker: facts.Marker{Run: "20260102T115959Z-0000", Source: "pg1"}}
		}, state: Retired, notes: []string{"warning:retired"}},
		"nobody retired it": {make: func(_ *inventory.Cluster, _ map[string]Result, out map[string]member.Retirement) { delete(out, "pg3") }, state: Down, slot: SlotMissing, notes: []string{"problem:slot-missing", "problem:down"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, r, out := pair()
			if c.make != nil {
				c.make(cl, r, out)
			}
			rep := Build(cl, r, out)
			row := rep.Hosts[2]
			if row.State != c.state || row.SlotState != c.slot {
				t.Errorf("state %s, slot %s", row.State, row.SlotState)
			}
			if diff := cmp.Diff(c.notes, noted(row.Notes)); diff != "" {
				t.Errorf("pg3: %s", diff)
			}
			if diff := cmp.Diff(c.pg1, noted(rep.Hosts[0].Notes)); diff != "" {
				t.Errorf("pg1: %s", diff)
			}
			if c.state == Retired && !rep.Healthy {
				t.Error("a cluster without it is not healthy")
			}
		})
	}
}

func TestASlotOfARetiredStandbyIsAnOrphanWithTheCommandThatDropsIt(t *testing.T) {
	t.Parallel()
	const drop = "pgrepctl slot drop pg3 --on pg1 --of pg3"
	cl, r, out := pair()
	leave(r, nil)
	own, left := r["pg1"].Facts.Server.Slots[0], r["pg1"].Facts.Server.Slots[1]
	own.RestartLSN, own.Client = at(1600), "pg2"

	status := Build(cl, r, out).Hosts[0].Notes
	if len(status) != 1 || !strings.Contains(status[0].Text, "orphan of pg3") || !strings.HasSuffix(status[0].Hint, drop) {
		t.Errorf("status: %+v", status)
	}

	slots := BuildSlots(cl, r, out, map[string]Sample{"pg1": idle(own, left), "pg2": idle()}, 2*time.Second)
	row := slots.Hosts[0].Slots[1]
	if row.Use != slot.Orphan || row.Retired != "pg3" || row.Drop != drop {
		t.Errorf("slot list: %+v", row)
	}
	if diff := cmp.Diff([]string{"warning:strange-slot", "note:no-slot-limit"}, noted(slots.Hosts[0].Notes)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"note:retired"}, noted(slots.Hosts[2].Notes)); diff != "" || !slots.Healthy {
		t.Errorf("healthy: %t %s", slots.Healthy, diff)
	}

	// Only pg1 was asked.
	alone := BuildSlots(cl, map[string]Result{"pg1": r["pg1"]}, out, map[string]Sample{"pg1": idle(own, left)}, 2*time.Second)
	if row := alone.Hosts[0].Slots[1]; row.Drop != drop {
		t.Errorf("slot list pg1: %+v", row)
	}

	top := BuildTopology(cl, r, out)
	want := "pg1\n  pg2 by pg2\n  pg3 warning:retired\n  pg3 (slot) warning:strange-slot\n"
	if diff := cmp.Diff(want, drawn(top)); diff != "" {
		t.Error(diff)
	}
	if last := top.Roots[0].Downstream[2]; !strings.HasSuffix(last.Difference.Hint, drop) {
		t.Errorf("topology: %+v", last.Difference)
	}
}

func TestAStandbyOfARetiredOneIsToldToNameAnotherUpstream(t *testing.T) {
	t.Parallel()
	cl, r := cluster(), healthy()
	f := r["pg2"].Facts
	f.Server, f.Data.PID = facts.Server{}, 0
	r["pg1"].Facts.Server.Senders, r["pg1"].Facts.Server.Slots = nil, nil
	r["pg3"].Facts.Server.Replay = facts.Replay{}
	notes := Build(cl, r, map[string]member.Retirement{"pg2": {Run: "7"}}).Hosts[2].Notes
	if len(notes) != 1 || notes[0].ID != "no-receiver" || !strings.Contains(notes[0].Hint, "another upstream") {
		t.Errorf("%+v", notes)
	}
}

func TestAStoppedStandbyWhoseSlotIsOfNoUseHasOneRemedy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data  facts.DataState
		slots func(*facts.Server)
		arch  bool
		want  string
	}{
		"lost":                           {facts.Cluster, func(s *facts.Server) { s.Slots[0].WALStatus = "lost" }, false, "to copy what differs, and make the slot anew: pgrepctl standby reseed pg2"},
		"lost, and there are no data":    {facts.Empty, func(s *facts.Server) { s.Slots[0].WALStatus = "lost" }, false, "pgrepctl slot drop pg2 --on pg1 --of pg2; then: pgrepctl standby bootstrap pg2"},
		"lost, with an archive":          {facts.Cluster, func(s *facts.Server) { s.Slots[0].WALStatus = "lost" }, true, "pgrepctl slot drop pg2 --on pg1 --of pg2; then, to make it anew, while the archive gives what is missing: pgrepctl standby bootstrap pg2"},
		"missing":                        {facts.Cluster, func(s *facts.Server) { s.Slots = nil }, false, "whether its data can go on says: pgrepctl standby reseed pg2 --dry-run; if they can, to make it: pgrepctl standby bootstrap pg2"},
		"missing, and there are no data": {facts.Empty, func(s *facts.Server) { s.Slots = nil }, false, "pgrepctl standby bootstrap pg2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, r := cluster(), healthy()
			if c.arch {
				cl.Archives = make([]inventory.Archive, 1)
			}
			f := r["pg2"].Facts
			f.Server, f.Data = facts.Server{}, facts.DataDir{Path: "/data", State: c.data}
			p := &r["pg1"].Facts.Server
			p.Senders, p.Slots[0].Active = nil, false
			c.slots(p)
			var hints []string
			for _, n := range Build(cl, r, nil).Hosts[1].Notes {
				if n.Hint != "" {
					hints = append(hints, n.Hint)
				}
			}
			if !slices.Equal(hints, []string{c.want}) {
				t.Errorf("%q", hints)
			}
		})
	}
}
