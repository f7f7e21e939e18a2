package check

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// TestWhetherAStandbyIsSynchronousIsSaidOfItsOwnWalsender, which may go by another name. 9.4
// does not tell who uses a slot.
func TestWhetherAStandbyIsSynchronousIsSaidOfItsOwnWalsender(t *testing.T) {
	t.Parallel()
	other := facts.Sender{PID: 7, Application: "walreceiver", SyncState: "sync"}
	backup := facts.Sender{PID: 8, Application: "pg_basebackup", SyncState: "async"}
	slot := facts.Slot{Name: "pg2", Active: true, ActivePID: 7}
	idle, untold := slot, slot
	idle.Active, untold.ActivePID = false, 0
	for name, c := range map[string]struct {
		slot    facts.Slot
		senders []facts.Sender
		want    map[string]string
	}{
		"by its name":      {untold, []facts.Sender{backup, {Application: "pg2", SyncState: "quorum"}}, map[string]string{"pg2": "quorum"}},
		"by its slot":      {slot, []facts.Sender{other, backup}, map[string]string{"pg2": "sync"}},
		"nobody uses it":   {idle, []facts.Sender{other}, map[string]string{}},
		"who is not known": {untold, []facts.Sender{{Application: "walreceiver", SyncState: "sync"}}, map[string]string{}},
	} {
		o := primary(0, 100)
		o.Server.Senders, o.Server.Slots = c.senders, []facts.Slot{c.slot}
		b := NewBoard(pair(), policy(), NewMemory("shop"))
		b.Take(o)
		if d := cmp.Diff(c.want, b.cluster().Sync); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
