package status

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

const mb = 1 << 20

// idle is a server with 10 GB of room that writes nothing between two readings.
func idle(slots ...facts.Slot) Sample {
	w := facts.WAL{At: 100, LSN: 1600 * mb, SegmentSize: 16 * mb, Slots: slots, ArchiveMode: "off", MaxWALSize: 1 << 30, CheckpointTimeout: 300,
		Space: facts.Space{FreeBytes: 10 << 30, TotalBytes: 20 << 30}}
	after := w
	after.At += 2
	return Sample{Before: w, After: after}
}

// writes makes the server write so many bytes a second.
func (s Sample) writes(perSecond int64) Sample {
	s.After.LSN += postgres.LSN(2 * perSecond)
	return s
}

// decoding has the consumer of each logical slot confirm all that is written, and each
// standby stream it.
func decoding(s Sample) Sample {
	confirmed := func(w facts.WAL) []facts.Slot {
		var out []facts.Slot
		for _, x := range w.Slots {
			if x.Type == "logical" {
				x.ConfirmedFlushLSN = &w.LSN
			} else {
				x.RestartLSN = &w.LSN
			}
			out = append(out, x)
		}
		return out
	}
	s.Before.Slots, s.After.Slots = confirmed(s.Before), confirmed(s.After)
	return s
}

func at(mbs int64) *postgres.LSN { return ptr(postgres.LSN(mbs * mb)) }

func slotsOf(cl *inventory.Cluster, results map[string]Result, pg1 Sample) SlotReport {
	return BuildSlots(cl, results, nil, map[string]Sample{"pg1": pg1,
		"pg2": idle(facts.Slot{Name: "pg3", Type: "physical", Active: true, Client: "pg3", RestartLSN: at(1600)}), "pg3": idle()}, 2*time.Second)
}

func TestSlotReportSaysWhatIsWrongWithSlots(t *testing.T) {
	t.Parallel()
	own := facts.Slot{Name: "pg2", Type: "physical", Active: true, Client: "pg2", RestartLSN: at(1600), WALStatus: "reserved"}
	orphan := facts.Slot{Name: "old", Type: "physical", RestartLSN: at(1500), WALStatus: "reserved"}
	with := func(s facts.Slot, change func(*facts.Slot)) facts.Slot { change(&s); return s }
	limited := func(s Sample, limit int64) Sample {
		s.Before.SlotLimit, s.After.SlotLimit = &limit, &limit
		return s
	}
	for name, c := range map[string]struct {
		sample Sample
		damage func(cl *inventory.Cluster, r map[string]Result)
		want   []string
	}{
		"all is well":                        {sample: limited(idle(own), 1<<30)},
		"no limit":                           {sample: idle(own), want: []string{"note:no-slot-limit"}},
		"a limit that is more than the disk": {sample: limited(idle(own), 1<<40), want: []string{"warning:limit-above-disk"}},
		"an orphan":                          {sample: limited(idle(own, orphan), 1<<30), want: []string{"warning:strange-slot"}},
		"an orphan in use":                   {sample: limited(idle(own, with(orphan, func(s *facts.Slot) { s.Active = true; s.Client = "pg_receivewal" })), 1<<30), want: []string{"note:unknown-receiver"}},
		"an orphan that lost its WAL":        {sample: limited(idle(own, with(orphan, func(s *facts.Slot) { s.WALStatus = "lost" })), 1<<30), want: []string{"warning:slot-lost"}},
		"a logical slot that nobody uses":    {sample: limited(idle(own, with(orphan, func(s *facts.Slot) { s.Type = "logical" })), 1<<30), want: []string{"warning:strange-slot"}},
		"a logical slot in use":              {sample: limited(idle(own, with(orphan, func(s *facts.Slot) { s.Type = "logical"; s.Active = true })), 1<<30)},
		"a logical slot in use, whose restart_lsn waits for its next step": {sample: decoding(limited(idle(own, with(orphan, func(s *facts.Slot) { s.Type = "logical"; s.Active = true })), 1<<30).writes(40 * mb))},
		"a logical slot that has lost rows":                                {sample: limited(idle(own, with(orphan, func(s *facts.Slot) { s.Type = "logical"; s.WALStatus = "lost"; s.InvalidationReason = "rows_removed" })), 1<<30), want: []string{"warning:slot-lost"}},
		"idle for too long":                                                {sample: limited(idle(with(own, func(s *facts.Slot) { s.Active = false; s.WALStatus = "lost"; s.InvalidationReason = slot.IdleTimeout })), 1<<30), want: []string{"problem:slot-lost"}},
		"missing":                                                          {sample: idle(), want: []string{"problem:slot-missing"}},
		"inactive":                                                         {sample: limited(idle(with(own, func(s *facts.Slot) { s.Active = false })), 1<<30), want: []string{"warning:slot-inactive"}},
		"lost":                                                             {sample: limited(idle(with(own, func(s *facts.Slot) { s.Active = false; s.WALStatus = "lost" })), 1<<30), want: []string{"problem:slot-lost"}},
		"unreserved":                                                       {sample: limited(idle(with(own, func(s *facts.Slot) { s.WALStatus = "unreserved" })), 1<<30), want: []string{"problem:slot-unreserved"}},
		"an orphan is unreserved":                                          {sample: limited(idle(own, with(orphan, func(s *facts.Slot) { s.WALStatus = "unreserved" })), 1<<30), want: []string{"warning:strange-slot", "warning:slot-unreserved"}},
		"a guest":                                                          {sample: limited(idle(own, with(orphan, func(s *facts.Slot) { s.Active = true; s.Client = "pg3" })), 1<<30), want: []string{"warning:other-slot"}},
		"full within a day, by an orphan": {sample: idle(own, orphan).writes(1 * mb),
			want: []string{"warning:strange-slot", "problem:disk-full-soon", "note:no-slot-limit"}},
		"full within a week, by a standby that is down": {sample: idle(with(own, func(s *facts.Slot) { s.Active = false })).writes(50_000),
			want: []string{"warning:slot-inactive", "warning:disk-full", "note:no-slot-limit"}},
		"full in a month": {sample: idle(own, orphan).writes(4_000), want: []string{"warning:strange-slot", "note:no-slot-limit"}},
		"the limit comes first, within a day": {sample: limited(idle(with(own, func(s *facts.Slot) { s.Active = false; s.SafeWALSize = ptr(int64(1 << 30)) })), 2<<30).writes(1 * mb),
			want: []string{"warning:slot-inactive", "problem:slot-lost-soon"}},
		"no server": {sample: idle(), damage: func(_ *inventory.Cluster, r map[string]Result) { r["pg1"].Facts.Server = facts.Server{} },
			want: []string{"problem:no-server"}},
		"out of reach": {sample: idle(own), damage: func(_ *inventory.Cluster, r map[string]Result) { r["pg1"] = Result{Err: errors.New("pg1: gone")} }, want: []string{"problem:unreachable"}},
		"lost between": {sample: Sample{Err: errors.New("cut")}, want: []string{"problem:unreachable"}},
		"archiving fails": {sample: limited(idle(own), 1<<30), damage: func(_ *inventory.Cluster, r map[string]Result) {
			r["pg1"].Facts.Server.Archiver = facts.Archiver{LastFailed: ptr(time.Unix(9, 0)), FailedFile: "000"}
		}, want: []string{"warning:archiving-fails"}},
		"12 knows no limit": {sample: idle(own), damage: func(_ *inventory.Cluster, r map[string]Result) {
			r["pg1"].Facts.Server.Version = postgres.MakeVersion(12)
		}, want: []string{"note:no-slot-limit"}},
		"of one that replays what it has": {sample: limited(idle(with(own, func(s *facts.Slot) { s.Active, s.Client = false, "" })), 1<<30), damage: func(cl *inventory.Cluster, r map[string]Result) {
			age := time.Hour.Seconds()
			cl.Hosts[1].ApplyDelay = 2 * time.Hour
			r["pg2"].Facts.Server.Replay = facts.Replay{LastReplayAge: &age}
		}, want: []string{"note:slot-inactive"}},
		"a standby without": {sample: idle(), damage: func(cl *inventory.Cluster, _ map[string]Result) { cl.Hosts[1].Slot = "" }, want: []string{"note:without-slot"}},
		"twelve, without slot": {sample: idle(), damage: func(cl *inventory.Cluster, r map[string]Result) {
			cl.Hosts[1].Slot = ""
			r["pg1"].Facts.Server.Version = postgres.MakeVersion(12)
		}, want: []string{"note:without-slot"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, results := cluster(), healthy()
			if c.damage != nil {
				c.damage(cl, results)
			}
			r := slotsOf(cl, results, c.sample)
			var got []string
			for _, n := range r.Hosts[0].Notes {
				got = append(got, string(n.Severity)+":"+n.ID)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s\n%+v", diff, r.Hosts[0])
			}
			bad := slices.ContainsFunc(r.Hosts[0].Notes, func(n Note) bool { return n.Severity == Problem })
			if r.Healthy == bad {
				t.Errorf("healthy: %v", r.Healthy)
			}
		})
	}
}

func TestASlotThatFillsTheDiskHasTheCommandThatDropsIt(t *testing.T) {
	t.Parallel()
	own := facts.Slot{Name: "pg2", Type: "physical", RestartLSN: at(1600), WALStatus: "reserved"}
	receiver := facts.Slot{Name: "old", Type: "physical", RestartLSN: at(1500), WALStatus: "reserved", Active: true, Client: "pg_receivewal"}
	slow := facts.Slot{Name: "pg2", Type: "physical", RestartLSN: at(1500), WALStatus: "reserved", Active: true, Client: "pg2"}
	for x, want := range map[*facts.Slot]string{
		&slow:     "let pg2 catch up; to give it up, for the sake of this server: pgrepctl slot drop pg2 --on pg1 --of pg2 --terminate",
		&own:      "bring pg2 back; to give it up, for the sake of this server: pgrepctl slot drop pg2 --on pg1 --of pg2",
		&receiver: "bring its receiver back; to give it up: pgrepctl slot drop old --on pg1 --terminate",
	} {
		r := slotsOf(cluster(), healthy(), idle(*x).writes(1*mb))
		i := slices.IndexFunc(r.Hosts[0].Notes, func(n Note) bool { return n.ID == "disk-full-soon" })
		if i < 0 || r.Hosts[0].Notes[i].Hint != want {
			t.Errorf("%s: %+v", x.Name, r.Hosts[0].Notes)
		}
	}
}

// A standby that is away may be set to a slot of any name.
func TestASlotThatAStandbyMayComeBackToIsNotSaidToBeNobodys(t *testing.T) {
	t.Parallel()
	orphan := facts.Slot{Name: "old", Type: "physical", RestartLSN: at(1500), WALStatus: "reserved"}
	stopped := func(name string) *facts.Host {
		f := facts.New(name, nil)
		f.Data = facts.DataDir{State: facts.Cluster, Standby: true, Version: "15", PrimarySlotName: "old"}
		return f
	}
	for name, c := range map[string]struct {
		damage      func(r map[string]Result)
		note, full  string
		drop, owner string
	}{
		"all are read": {func(map[string]Result) {}, "slot old is used by nobody, and keeps WAL until the disk is full",
			"pgrepctl slot drop old --on pg1", "pgrepctl slot drop old --on pg1", ""},
		"one does not answer": {func(r map[string]Result) { r["pg3"] = Result{Err: errors.New("pg3: gone")} },
			"slot old is used by nobody, and keeps WAL until the disk is full, unless pg3 comes back to it, which is not known",
			"if nobody needs it: pgrepctl slot drop old --on pg1", "pgrepctl slot drop old --on pg1", ""},
		"one that is stopped may not have moved": {func(r map[string]Result) { r["pg3"] = Result{Facts: stopped("pg3")} },
			"slot old is used by nobody, and keeps WAL until the disk is full, unless pg3 comes back to it, which is not known",
			"if nobody needs it: pgrepctl slot drop old --on pg1", "pgrepctl slot drop old --on pg1", ""},
		"one that is stopped is set to it": {func(r map[string]Result) { r["pg2"] = Result{Facts: stopped("pg2")} },
			"pg2 streams by slot old, or is set to, and the inventory does not say so",
			"bring pg2 back; to give it up, for the sake of this server: pgrepctl slot drop old --on pg1 --of pg2", "", "pg2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			results := healthy()
			c.damage(results)
			h := slotsOf(cluster(), results, idle(orphan).writes(1*mb)).Hosts[0]
			if len(h.Notes) < 2 || h.Notes[0].Text != c.note || h.Notes[1].Hint != c.full || h.Slots[0].Drop != c.drop || h.Slots[0].Host != c.owner {
				t.Errorf("%+v\n%+v", h.Slots, h.Notes)
			}
		})
	}
}

// The server of a standby looks at the slots of the primary from time to time (17+), and
// its copies of them are in nobody's use until it is promoted.
func TestAStandbysCopyOfALogicalSlotForetellsNothing(t *testing.T) {
	t.Parallel()
	synced := facts.Slot{Name: "sub", Type: "logical", Synced: true, RestartLSN: at(1500), ConfirmedFlushLSN: at(1500), WALStatus: "reserved"}
	r := BuildSlots(cluster(), healthy(), nil, map[string]Sample{"pg1": idle(facts.Slot{Name: "pg2", Type: "physical", Active: true, Client: "pg2", RestartLSN: at(1600)}),
		"pg2": decoding(idle(facts.Slot{Name: "pg3", Type: "physical", Active: true, Client: "pg3"})), "pg3": idle(synced).writes(40 * mb)}, 2*time.Second)
	if h := r.Hosts[2]; !r.Healthy || h.FullSeconds != nil || h.Slots[0].Growth != nil {
		t.Errorf("%+v", h)
	}
}

func TestSlotReportKeepsItsForm(t *testing.T) {
	t.Parallel()
	own := facts.Slot{Name: "pg2", Type: "physical", Active: true, Client: "pg2", RestartLSN: at(1600), WALStatus: "reserved", SafeWALSize: ptr(int64(1 << 30))}
	orphan := facts.Slot{Name: "old", Type: "physical", RestartLSN: at(1500), WALStatus: "extended"}
	results := healthy()
	results["pg3"] = Result{Err: errors.New("pg3: connect: no route to host")}
	got, err := json.MarshalIndent(slotsOf(cluster(), results, idle(own, orphan).writes(1*mb)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "slots.json")
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("%s (-file +now):\n%s", file, diff)
	}
}
