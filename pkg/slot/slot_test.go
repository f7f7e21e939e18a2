package slot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

const mb = 1 << 20

func ptr[T any](v T) *T { return &v }

func lsn(n int64) *postgres.LSN { return ptr(postgres.LSN(n)) }

// cluster is pg1 -> pg2 -> pg3, and pg4 of pg1 without a slot.
func cluster(t *testing.T) *inventory.Cluster {
	t.Helper()
	cl, err := inventory.Parse("pgrepctl.yaml", []byte(`cluster: shop
postgres: {version: 15, data_directory: /data, config_directory: /data}
replication: {user: replicator, password: {env: PW}}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: 10.0.0.12, role: standby, slot: second}
  pg3: {address: 10.0.0.13, role: standby, upstream: pg2}
`))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func TestOneRuleSaysWhoseASlotIs(t *testing.T) {
	t.Parallel()
	physical := func(name string) facts.Slot { return facts.Slot{Name: name, Type: "physical"} }
	active := func(name, client string) facts.Slot {
		return facts.Slot{Name: name, Type: "physical", Active: true, Client: client}
	}
	set := func(host, name string) []*facts.Host {
		f := facts.New(host, nil)
		f.Server.InRecovery, f.Server.Replay.ConfiguredSlot = true, name
		return []*facts.Host{facts.New("pg9", nil), f}
	}
	stopped := func(host, name string) []*facts.Host { return []*facts.Host{down(host, name)} }
	for name, c := range map[string]struct {
		on      string
		slot    facts.Slot
		peers   []*facts.Host
		want    slot.Owner
		strange bool
	}{
		"the standby's, under the name that the inventory gives": {"pg1", physical("second"), nil, slot.Owner{Use: slot.Needed, Host: "pg2"}, false},
		"the name of the standby is not its slot":                {"pg1", physical("pg2"), nil, slot.Owner{Use: slot.Orphan}, true},
		"of a cascading standby, on its upstream":                {"pg2", physical("pg3"), nil, slot.Owner{Use: slot.Needed, Host: "pg3"}, false},
		"left on a former upstream":                              {"pg1", physical("pg3"), nil, slot.Owner{Use: slot.Orphan}, true},
		"a standby streams by another slot than it should":       {"pg1", active("old", "pg2"), nil, slot.Owner{Use: slot.Guest, Host: "pg2"}, false},
		"a standby streams from another host than it should":     {"pg1", active("pg3", "pg3"), nil, slot.Owner{Use: slot.Guest, Host: "pg3"}, false},
		"in use by a stranger":                                   {"pg1", active("old", "pg_receivewal"), nil, slot.Owner{Use: slot.Orphan}, false},
		"in use, and nobody says by whom":                        {"pg1", active("old", ""), nil, slot.Owner{Use: slot.Orphan}, false},
		"nobody's":                                               {"pg1", physical("old"), nil, slot.Owner{Use: slot.Orphan}, true},
		"logical":                                                {"pg1", facts.Slot{Name: "sub", Type: "logical"}, nil, slot.Owner{Use: slot.Logical}, true},
		"logical, in use":                                        {"pg1", facts.Slot{Name: "sub", Type: "logical", Active: true}, nil, slot.Owner{Use: slot.Logical}, false},
		"logical, with a standby's name":                         {"pg1", facts.Slot{Name: "second", Type: "logical"}, nil, slot.Owner{Use: slot.Logical}, false},
		"a standby is set to it, whose link is cut":              {"pg1", physical("old"), set("pg2", "old"), slot.Owner{Use: slot.Guest, Host: "pg2"}, false},
		"a standby of another host is set to that name":          {"pg1", physical("old"), set("pg3", "old"), slot.Owner{Use: slot.Orphan}, true},
		"a standby is set to another":                            {"pg1", physical("old"), set("pg2", "older"), slot.Owner{Use: slot.Orphan}, true},
		"a standby whose server is stopped is set to it":         {"pg1", physical("old"), stopped("pg2", "old"), slot.Owner{Use: slot.Guest, Host: "pg2"}, false},
		"a stopped standby of another host is set to that name":  {"pg1", physical("old"), stopped("pg3", "old"), slot.Owner{Use: slot.Orphan}, true},
		"a stopped standby is set to another":                    {"pg1", physical("old"), stopped("pg2", "second"), slot.Owner{Use: slot.Orphan}, true},
		"a copy of the primary's logical one":                    {"pg2", facts.Slot{Name: "sub", Type: "logical", Synced: true}, nil, slot.Owner{Use: slot.Logical}, false},
		"of a base backup":                                       {"pg1", facts.Slot{Name: "b", Type: "physical", Temporary: true, Active: true}, nil, slot.Owner{Use: slot.Temporary}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := cluster(t)
			h, _ := cl.Host(c.on)
			if got := slot.OwnerOf(cl, h, c.slot, c.peers...); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got := slot.Strange(cl, h, c.slot, c.peers...); got != c.strange {
				t.Errorf("strange: %v", got)
			}
		})
	}
}

// full is a server in its file 100, with 4 MB of it written, files from 90 to 103
// and 50 MB free.
func full() facts.WAL {
	return facts.WAL{At: 1000, LSN: 100*16*mb + 4*mb, Redo: lsn(99 * 16 * mb), SegmentSize: 16 * mb,
		Files: []facts.WALFiles{{Timeline: 1, First: 90, Last: 103}}, Space: facts.Space{FreeBytes: 50 * mb}}
}

func TestRoomIsWhatTheServerCanStillWrite(t *testing.T) {
	t.Parallel()
	// 12 MB of the current file, three made ahead, three whole new ones in 50 MB.
	const base = 12*mb + 3*16*mb + 3*16*mb
	for name, c := range map[string]struct {
		change func(w *facts.WAL)
		want   int64
	}{
		"nothing is kept, so all before the checkpoint is used again": {func(*facts.WAL) {}, base + 9*16*mb},
		"a slot keeps all of it":          {func(w *facts.WAL) { w.Slots = []facts.Slot{{Name: "a", RestartLSN: lsn(90 * 16 * mb)}} }, base},
		"a slot keeps more than there is": {func(w *facts.WAL) { w.Slots = []facts.Slot{{Name: "a", RestartLSN: lsn(16 * mb)}} }, base},
		"the oldest slot counts": {func(w *facts.WAL) {
			w.Slots = []facts.Slot{{Name: "a", RestartLSN: lsn(99 * 16 * mb)}, {Name: "b", RestartLSN: lsn(92*16*mb + 1)}}
		}, base + 2*16*mb},
		"a lost slot keeps nothing":         {func(w *facts.WAL) { w.Slots = []facts.Slot{{Name: "a", RestartLSN: lsn(16 * mb), WALStatus: "lost"}} }, base + 9*16*mb},
		"a slot that was never used":        {func(w *facts.WAL) { w.Slots = []facts.Slot{{Name: "a"}} }, base + 9*16*mb},
		"wal_keep_size keeps five files":    {func(w *facts.WAL) { w.Keep = 5 * 16 * mb }, base + 5*16*mb},
		"wal_keep_size keeps more than all": {func(w *facts.WAL) { w.Keep = 1 << 50 }, base},
		"9.5 does not tell the checkpoint":  {func(w *facts.WAL) { w.Redo = nil }, base + 10*16*mb},
		"less than a file is free":          {func(w *facts.WAL) { w.Space.FreeBytes, w.Keep = 15*mb, 1<<50 }, 12*mb + 3*16*mb},
		"the last file, at its end": {func(w *facts.WAL) {
			w.Space.FreeBytes, w.Keep, w.LSN = 0, 1<<50, 101*16*mb-1
			w.Files[0].Last = 100
		}, 1},
		"files of two timelines, with a gap": {func(w *facts.WAL) {
			w.Files = []facts.WALFiles{{Timeline: 1, First: 90, Last: 95}, {Timeline: 2, First: 98, Last: 101}}
		}, 12*mb + 16*mb + 3*16*mb + 6*16*mb + 16*mb},
		"nothing is known": {func(w *facts.WAL) { *w = facts.WAL{} }, 0},
	} {
		w := full()
		c.change(&w)
		if got := slot.Room(w); got != c.want {
			t.Errorf("%s: %d MB, want %d MB", name, got/mb, c.want/mb)
		}
	}
}

func TestForecastOfASlot(t *testing.T) {
	t.Parallel()
	// In two seconds 8 MB are written.
	at := func(s facts.Slot, seconds float64, written int64) facts.WAL {
		w := full()
		w.At, w.LSN, w.Slots = w.At+seconds, w.LSN+postgres.LSN(written), []facts.Slot{s}
		return w
	}
	still := facts.Slot{Name: "a", Type: "physical", RestartLSN: lsn(90 * 16 * mb)}
	moved := func(n int64, active bool) (was, now facts.Slot) {
		was, now = still, still
		was.Active, now.Active = active, active
		now.RestartLSN = lsn(90*16*mb + n)
		return was, now
	}
	room := float64(4*mb + 3*16*mb + 3*16*mb) // once those 8 MB are written
	limit := func(w facts.WAL, safe int64) facts.WAL {
		w.SlotLimit, w.MaxWALSize = ptr(int64(1<<30)), 16*mb
		w.Slots[0].SafeWALSize = ptr(safe)
		return w
	}
	half, halfNow := moved(4*mb, true)
	follows, followsNow := moved(8*mb, true)
	backwards, backwardsNow := moved(20*mb, false)
	near := facts.Slot{Name: "a", Active: true, RestartLSN: lsn(100 * 16 * mb)}
	moved98 := facts.Slot{Name: "a", Type: "physical", RestartLSN: lsn(98 * 16 * mb)}
	late := func(w facts.WAL) facts.WAL {
		w.CheckpointTimeout = 300
		return w
	}
	lost := still
	lost.WALStatus = "lost"
	// logical has a restart_lsn that stands still, and a consumer that has confirmed so far.
	logical := func(confirmed int64) facts.Slot {
		return facts.Slot{Name: "a", Type: "logical", Active: true, RestartLSN: lsn(90 * 16 * mb), ConfirmedFlushLSN: lsn(confirmed)}
	}
	abandoned, synced, old := logical(0), logical(90*16*mb), logical(0)
	abandoned.Active, abandoned.ConfirmedFlushLSN = false, nil
	synced.Active, synced.Synced, old.ConfirmedFlushLSN = false, true, nil
	for name, c := range map[string]struct {
		before, after facts.WAL
		want          slot.Forecast
	}{
		"old files are of use from the next checkpoint on": {at(moved98, 0, 0), at(moved98, 2, 8*mb), slot.Forecast{Growth: ptr(float64(4 * mb)), Full: ptr((room + 8*16*mb) / (4 * mb))}},
		"that checkpoint comes too late":                   {late(at(moved98, 0, 0)), late(at(moved98, 2, 8*mb)), slot.Forecast{Growth: ptr(float64(4 * mb)), Full: ptr(room / (4 * mb))}},
		"nobody uses it":                                   {at(still, 0, 0), at(still, 2, 8*mb), slot.Forecast{Growth: ptr(float64(4 * mb)), Full: ptr(room / (4 * mb))}},
		"its standby is slower than the WAL":               {at(half, 0, 0), at(halfNow, 2, 8*mb), slot.Forecast{Growth: ptr(float64(2 * mb)), Full: ptr(room / (2 * mb))}},
		"its standby follows, far behind":                  {at(follows, 0, 0), at(followsNow, 2, 8*mb), slot.Forecast{Growth: ptr(0.0)}},
		"its standby catches up":                           {at(backwards, 0, 0), at(backwardsNow, 2, 8*mb), slot.Forecast{Growth: ptr(0.0)}},
		"less than a file is no delay":                     {at(near, 0, 0), at(near, 2, 8*mb), slot.Forecast{Growth: ptr(0.0)}},
		"nothing is written":                               {at(still, 0, 0), at(still, 2, 0), slot.Forecast{Growth: ptr(0.0)}},
		"one reading alone":                                {at(still, 0, 0), at(still, 0, 0), slot.Forecast{}},
		"it was not there before":                          {full(), at(still, 2, 8*mb), slot.Forecast{}},
		"it is gone":                                       {at(still, 0, 0), full(), slot.Forecast{}},
		"it has lost its WAL":                              {at(lost, 0, 0), at(lost, 2, 8*mb), slot.Forecast{}},
		"a logical one, whose consumer follows between two steps of restart_lsn": {at(logical(91*16*mb), 0, 0), at(logical(91*16*mb+8*mb), 2, 8*mb), slot.Forecast{Growth: ptr(0.0)}},
		"a logical one, whose consumer catches up":                               {at(logical(91*16*mb), 0, 0), at(logical(92*16*mb), 2, 8*mb), slot.Forecast{Growth: ptr(0.0)}},
		"a logical one, whose consumer confirms every ten seconds":               {at(logical(98*16*mb), 0, 0), at(logical(98*16*mb), 2, 8*mb), slot.Forecast{Growth: ptr(0.0)}},
		"a logical one, whose consumer has confirmed nothing for long":           {at(logical(91*16*mb), 0, 0), at(logical(91*16*mb), 2, 8*mb), slot.Forecast{Growth: ptr(float64(4 * mb)), Full: ptr(room / (4 * mb))}},
		"a logical one, whose consumer is slower than the WAL":                   {at(logical(91*16*mb), 0, 0), at(logical(91*16*mb+4*mb), 2, 8*mb), slot.Forecast{Growth: ptr(float64(2 * mb)), Full: ptr(room / (2 * mb))}},
		"a logical one that nobody uses, before 9.6 too":                         {at(abandoned, 0, 0), at(abandoned, 2, 8*mb), slot.Forecast{Growth: ptr(float64(4 * mb)), Full: ptr(room / (4 * mb))}},
		"a logical one in use, before 9.6":                                       {at(old, 0, 0), at(old, 2, 8*mb), slot.Forecast{}},
		"a standby's copy of a logical one":                                      {at(synced, 0, 0), at(synced, 2, 8*mb), slot.Forecast{}},
		"the limit comes before the end of the disk": {limit(at(still, 0, 0), 0), limit(at(still, 2, 8*mb), 40*mb),
			slot.Forecast{Growth: ptr(float64(4 * mb)), Lost: ptr(10.0)}},
		"the disk ends before a checkpoint enforces the limit": {limit(at(still, 0, 0), 0), limit(at(still, 2, 8*mb), 90*mb),
			slot.Forecast{Growth: ptr(float64(4 * mb)), Lost: ptr(22.5), Full: ptr(room / (4 * mb))}},
		"it is over the limit": {limit(at(still, 0, 0), 0), limit(at(still, 2, 8*mb), -5*mb),
			slot.Forecast{Growth: ptr(float64(4 * mb)), Lost: ptr(0.0)}},
	} {
		if diff := cmp.Diff(c.want, slot.ForecastOf(c.before, c.after, "a")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRateIsThatOfTheServersClock(t *testing.T) {
	t.Parallel()
	before, after := full(), full()
	after.At, after.LSN = before.At+2.5, before.LSN+10*mb
	if got := slot.Rate(before, after); got == nil || *got != 4*mb {
		t.Errorf("got %v", got)
	}
	if got := slot.Rate(after, before); got != nil {
		t.Errorf("backwards: %v", *got)
	}
	if got := slot.Rate(before, before); got != nil {
		t.Errorf("at one moment: %v", *got)
	}
}
