package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// What was only idle is not copied again: the slot is made anew, and the data may still do.
func TestALostSlotSaysWhyAndWhatToType(t *testing.T) {
	t.Parallel()
	const (
		renewed = "pgrepctl slot drop pg2 --on pg1 --of pg2; then: pgrepctl slot create --for pg2"
		orElse  = "; if it receives nothing then, its WAL is gone: pgrepctl standby reseed pg2"
	)
	start := "; then " + serviceCommand(cluster().Hosts[1], "start")
	stopped := func(state facts.DataState, standby bool) func(*inventory.Cluster, map[string]Result) {
		return func(_ *inventory.Cluster, r map[string]Result) {
			f := r["pg2"].Facts
			f.Server, f.Data = facts.Server{}, facts.DataDir{Path: "/data", State: state, Standby: standby}
		}
	}
	archive := func(cl *inventory.Cluster, _ map[string]Result) { cl.Archives = make([]inventory.Archive, 1) }
	for name, c := range map[string]struct {
		reason     string
		damage     func(*inventory.Cluster, map[string]Result)
		text, hint string
	}{
		"before 17":                         {"", nil, "slot pg2 on pg1 has lost WAL that it needs", "to copy what differs, and make the slot anew: pgrepctl standby reseed pg2"},
		"over max_slot_wal_keep_size":       {"wal_removed", nil, "(wal_removed)", "to copy what differs, and make the slot anew: pgrepctl standby reseed pg2"},
		"idle":                              {slot.IdleTimeout, nil, "nobody used it for idle_replication_slot_timeout", renewed + orElse},
		"idle, and there is an archive":     {slot.IdleTimeout, archive, "(idle_timeout)", renewed + orElse},
		"idle, of a server that is down":    {slot.IdleTimeout, stopped(facts.Cluster, true), "(idle_timeout)", renewed + start + orElse},
		"idle, of one that does not answer": {slot.IdleTimeout, func(_ *inventory.Cluster, r map[string]Result) { r["pg2"] = Result{} }, "(idle_timeout)", "when pg2 answers: " + renewed + orElse},
		"idle, of one that is not there":    {slot.IdleTimeout, stopped(facts.Absent, false), "(idle_timeout)", "pgrepctl slot drop pg2 --on pg1 --of pg2; then: pgrepctl standby bootstrap pg2"},
		"idle, of one that was a primary":   {slot.IdleTimeout, stopped(facts.Cluster, false), "(idle_timeout)", "to copy what differs, and make the slot anew: pgrepctl standby reseed pg2"},
		"removed, and there is an archive":  {"wal_removed", archive, "(wal_removed)", "pgrepctl slot drop pg2 --on pg1 --of pg2; then, to make it anew, while the archive gives what is missing: pgrepctl standby bootstrap pg2"},
		"removed, of one that was a primary": {"wal_removed", func(cl *inventory.Cluster, r map[string]Result) {
			stopped(facts.Cluster, false)(cl, r)
			archive(cl, r)
			r["pg2"].Facts.Data.Control.SystemID = 77
		}, "(wal_removed)", "to copy what differs, and make the slot anew: pgrepctl standby reseed pg2"},
		"removed, of one that is not there": {"wal_removed", stopped(facts.Empty, false), "(wal_removed)", "pgrepctl slot drop pg2 --on pg1 --of pg2; then: pgrepctl standby bootstrap pg2"},
		"for a reason of a version to come": {"other", nil, "was invalidated (other)", "to copy what differs, and make the slot anew: pgrepctl standby reseed pg2"},
	} {
		cl, r := cluster(), healthy()
		s := &r["pg1"].Facts.Server.Slots[0]
		s.Active, s.WALStatus, s.InvalidationReason = false, "lost", c.reason
		if c.damage != nil {
			c.damage(cl, r)
		}
		notes := Build(cl, r, nil).Hosts[1].Notes
		i := slices.IndexFunc(notes, func(n Note) bool { return n.ID == "slot-lost" })
		if i < 0 || !strings.Contains(notes[i].Text, c.text) || notes[i].Hint != c.hint {
			t.Errorf("%s: %+v", name, notes)
		}
	}
}

func TestSlotListSaysWhyASlotIsLostAndWhatToType(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		slot       facts.Slot
		text, hint string
	}{
		"before 17": {facts.Slot{Name: "pg2", Type: "physical"}, "slot pg2 of pg2 has lost WAL that it needs: pg2 has to be made anew", "pgrepctl standby reseed pg2"},
		"over max_slot_wal_keep_size": {facts.Slot{Name: "pg2", Type: "physical", InvalidationReason: "wal_removed"},
			"slot pg2 of pg2 has lost WAL that it needs (wal_removed): pg2 has to be made anew", "pgrepctl standby reseed pg2"},
		"idle": {facts.Slot{Name: "pg2", Type: "physical", InvalidationReason: slot.IdleTimeout},
			"slot pg2 of pg2 was invalidated, for nobody used it for idle_replication_slot_timeout (idle_timeout): pg2 cannot stream by it any more",
			"pgrepctl slot drop pg2 --on pg1 --of pg2; then: pgrepctl slot create --for pg2; if it receives nothing then, its WAL is gone: pgrepctl standby reseed pg2"},
		"idle, of a standby that should use another": {facts.Slot{Name: "old", Type: "physical", InvalidationReason: slot.IdleTimeout},
			"slot old of pg2 was invalidated, for nobody used it for idle_replication_slot_timeout (idle_timeout): pg2 cannot stream by it any more",
			"to have it use the slot of the inventory: pgrepctl standby bootstrap pg2"},
		"idle, of nobody": {facts.Slot{Name: "older", Type: "physical", InvalidationReason: slot.IdleTimeout},
			"slot older was invalidated, for nobody used it for idle_replication_slot_timeout (idle_timeout): it keeps no WAL", "pgrepctl slot drop older --on pg1"},
		"a decoder's": {facts.Slot{Name: "sub", Type: "logical", InvalidationReason: "rows_removed"},
			"slot sub was invalidated, for rows that it needs are gone (rows_removed): it keeps no WAL", "select pg_drop_replication_slot('sub')"},
	} {
		c.slot.WALStatus, c.slot.RestartLSN = "lost", at(1500)
		r := healthy()
		r["pg2"].Facts.Server.Replay.ConfiguredSlot = "old"
		h := BuildSlots(cluster(), r, nil, map[string]Sample{"pg1": idle(c.slot)}, 2*time.Second).Hosts[0]
		i := slices.IndexFunc(h.Notes, func(n Note) bool { return n.ID == "slot-lost" })
		if i < 0 || h.Notes[i].Text != c.text || h.Notes[i].Hint != c.hint {
			t.Errorf("%s: %+v", name, h.Notes)
		}
		if row := h.Slots[0]; row.Invalidation != c.slot.InvalidationReason || row.RetainedBytes != nil || row.Growth != nil {
			t.Errorf("%s: %+v", name, row)
		}
	}
}

// It would be dropped as nobody's, and its standby would come back to nothing.
func TestASlotThatAStandbyIsSetToIsToldOfAndNotDropped(t *testing.T) {
	t.Parallel()
	cl, r := cluster(), healthy()
	f := r["pg2"].Facts
	f.Server = facts.Server{}
	f.Data = facts.DataDir{Path: "/data", State: facts.Cluster, Standby: true, PrimarySlotName: "old"}
	up := &r["pg1"].Facts.Server
	up.Senders, up.Slots[0].Active = nil, false
	kept := int64(20 * mb)
	up.Slots = append(up.Slots, facts.Slot{Name: "old", Type: "physical", RetainedBytes: &kept})

	notes := Build(cl, r, nil).Hosts[0].Notes
	i := slices.IndexFunc(notes, func(n Note) bool { return n.ID == "other-slot" })
	if i < 0 || !strings.Contains(notes[i].Text, "20.0 MB of WAL; pg2 is set to it") || strings.Contains(notes[i].Hint, "drop") {
		t.Errorf("status: %+v", notes)
	}
	if top := drawn(BuildTopology(cl, r, nil)); !strings.Contains(top, "old (slot) warning:other-slot") {
		t.Errorf("topology: %s", top)
	}
	up.Slots[1].Active = true
	if notes := Build(cl, r, nil).Hosts[0].Notes; slices.ContainsFunc(notes, func(n Note) bool { return n.ID == "other-slot" }) {
		t.Errorf("in use: %+v", notes)
	}
}
