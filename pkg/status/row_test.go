package status

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestRowsSayWhatIsTrue(t *testing.T) {
	t.Parallel()
	type hosts = map[string]Result
	type want struct {
		Host  string
		State State
		Slot  SlotState
		Lag   *int64
		Sec   *float64
		Notes []string // severity:id
	}
	zero, nought := ptr(int64(0)), ptr(0.0)
	for name, c := range map[string]struct {
		damage func(cl *inventory.Cluster, r hosts)
		want   want
	}{
		"primary":           {want: want{Host: "pg1", State: Running}},
		"standby":           {want: want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought}},
		"cascading standby": {want: want{Host: "pg3", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought}},
		"behind": {
			func(_ *inventory.Cluster, r hosts) {
				s := &r["pg1"].Facts.Server.Senders[0]
				s.Replay, s.ReplayLag = ptr(postgres.LSN(0x4000)), ptr(1.5)
			},
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: ptr(int64(0x1000)), Sec: ptr(1.5)},
		},
		"below an upstream that has received more than it has replayed": {
			func(_ *inventory.Cluster, r hosts) {
				up := &r["pg2"].Facts.Server
				up.Replay.Receive, up.Replay.Paused = ptr(postgres.LSN(0x9000)), true
				up.Senders[0].Replay, up.Senders[0].ReplayLag = ptr(postgres.LSN(0x6000)), ptr(40.0)
			},
			want{Host: "pg3", State: Streaming, Slot: SlotActive, Lag: ptr(int64(0x3000)), Sec: ptr(40.0)},
		},
		"read a moment later than its upstream": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.Senders[0].Replay = ptr(postgres.LSN(0x5001))
			},
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought},
		},
		"an interrupted run, one that goes on, and another cluster's": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Runs = []facts.Run{{ID: "run1", Cluster: "shop"}, {ID: "run2", Cluster: "shop"}, {ID: "run3", Cluster: "other"}}
				r["pg1"].Facts.Server.Lock = &facts.LockHolder{Application: "pgrepctl run2 anna@desk"}
			},
			want{Host: "pg1", State: Running, Notes: []string{"warning:run-interrupted", "note:run-going-on"}},
		},
		"catching up": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"].Facts.Server.Senders[0].State = "catchup" },
			want{Host: "pg2", State: Catchup, Slot: SlotActive, Lag: zero, Sec: nought},
		},
		"known by its slot only": {
			func(_ *inventory.Cluster, r hosts) {
				s := &r["pg1"].Facts.Server
				s.Senders[0].Application = "walreceiver"
				s.Senders = append([]facts.Sender{{PID: 6, Application: "walreceiver", State: "catchup"}}, s.Senders...)
			},
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought},
		},
		"not known by name nor slot": {
			func(cl *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.Senders[0].Application = "walreceiver"
				r["pg1"].Facts.Server.Slots = nil
				cl.Hosts[1].Slot = ""
			},
			want{Host: "pg2", State: Streaming, Lag: zero, Sec: nought, Notes: []string{"warning:not-recognised"}},
		},
		"no receiver": {
			func(_ *inventory.Cluster, r hosts) {
				p, s := r["pg1"].Facts, r["pg2"].Facts
				p.Server.Senders, p.Server.Slots[0].Active = nil, false
				s.Server.Replay = facts.Replay{LastReplayAge: ptr(60.0)}
				s.Server.LSN = 0x3000
			},
			want{Host: "pg2", State: NoReceiver, Slot: SlotInactive, Lag: ptr(int64(0x2000)), Sec: ptr(60.0),
				Notes: []string{"warning:slot-inactive", "problem:no-receiver"}},
		},
		"pause forgotten": {
			func(_ *inventory.Cluster, r hosts) { r["pg2"].Facts.Server.Replay.Paused = true },
			want{Host: "pg2", State: Paused, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:replay-paused"}},
		},
		"paused by a run that goes on": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg2"].Facts.Server.Replay.Paused = true
				r["pg1"].Facts.Runs = []facts.Run{{ID: "run1", Cluster: "shop", Vars: map[string]string{"host": "pg2"}}}
				r["pg1"].Facts.Server.Lock = &facts.LockHolder{Application: "pgrepctl run1 anna@desk"}
			},
			want{Host: "pg2", State: Paused, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"note:replay-paused"}},
		},
		"paused by a run that was interrupted": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg2"].Facts.Server.Replay.Paused = true
				r["pg1"].Facts.Runs = []facts.Run{{ID: "run1", Cluster: "shop", Vars: map[string]string{"host": "pg2"}}}
			},
			want{Host: "pg2", State: Paused, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:replay-paused"}},
		},
		"paused by a run that is done": {
			func(_ *inventory.Cluster, r hosts) {
				res := r["pg2"]
				res.Facts.Server.Replay.Paused, res.Pause = true, &Pause{Run: "run1", Operator: "anna@desk", At: noon}
				r["pg2"] = res
			},
			want{Host: "pg2", State: Paused, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"warning:replay-paused"}},
		},
		"paused by a run that is done for long": {
			func(_ *inventory.Cluster, r hosts) {
				res := r["pg2"]
				res.Facts.Server.Replay.Paused, res.Pause, res.At = true, &Pause{Run: "run1", Operator: "anna@desk", At: noon}, noon.Add(forgotten+time.Second)
				r["pg2"] = res
			},
			want{Host: "pg2", State: Paused, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:replay-paused"}},
		},
		"paused by a run that is done for long, and late on purpose": {
			func(cl *inventory.Cluster, r hosts) {
				res := r["pg2"]
				cl.Hosts[1].ApplyDelay = 2 * time.Hour
				res.Facts.Server.Replay.Paused, res.Pause, res.At = true, &Pause{Run: "run1", Operator: "anna@desk", At: noon}, noon.Add(forgotten+time.Second)
				r["pg2"] = res
			},
			want{Host: "pg2", State: Paused, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"warning:replay-paused", "note:delayed"}},
		},
		"paused by the server, for its settings": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg2"].Facts.Server.Replay.Paused = true
				r["pg1"].Facts.Server.Limits = map[string]int{"max_connections": 200, "max_wal_senders": 10}
				r["pg2"].Facts.Server.Limits = map[string]int{"max_connections": 100, "max_wal_senders": 20}
			},
			want{Host: "pg2", State: Paused, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:limits-too-low"}},
		},
		"receiver that stands still while the upstream writes": {
			func(_ *inventory.Cluster, r hosts) { receiver(r, 0x4000, 0x4000, 0x4800) },
			want{Host: "pg2", State: Stuck, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:receiver-stuck"}},
		},
		"receiver that is slow": {
			func(_ *inventory.Cluster, r hosts) { receiver(r, 0x4000, 0x4100, 0x4800) },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought},
		},
		"receiver that has all there was": {
			func(_ *inventory.Cluster, r hosts) { receiver(r, 0x4800, 0x4800, 0x4800) },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought},
		},
		"no receiver, for its upstream is down": {
			func(_ *inventory.Cluster, r hosts) {
				p := r["pg1"].Facts
				p.Server, p.Data.PID = facts.Server{}, 0
				r["pg2"].Facts.Server.Replay = facts.Replay{}
			},
			want{Host: "pg2", State: NoReceiver, Notes: []string{"problem:no-receiver"}},
		},
		"ahead of its upstream": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.Senders, r["pg2"].Facts.Server.Replay = nil, facts.Replay{}
				r["pg2"].Facts.Server.LSN = 0x6000
				up, s := r["pg1"], r["pg2"]
				s.At, up.At = noon, noon.Add(2*time.Second)
				r["pg1"], r["pg2"] = up, s
			},
			want{Host: "pg2", State: NoReceiver, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:diverged", "problem:no-receiver"}},
		},
		"read later than its upstream": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.Senders, r["pg2"].Facts.Server.Replay = nil, facts.Replay{}
				r["pg2"].Facts.Server.LSN = 0x6000
			},
			want{Host: "pg2", State: NoReceiver, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:no-receiver"}},
		},
		"beyond the point where its upstream left the timeline": {
			func(_ *inventory.Cluster, r hosts) { promoted(r, 0x4fff) },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:diverged"}},
		},
		"before the point where its upstream left the timeline": {
			func(_ *inventory.Cluster, r hosts) { promoted(r, 0x5000) },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:other-timeline"}},
		},
		"on a timeline that left its upstream's": {
			func(_ *inventory.Cluster, r hosts) {
				f := r["pg2"].Facts
				f.Server.Timeline, f.Data.HistoryOf, f.Data.History = 4, 4, []postgres.Fork{{Timeline: 3, LSN: 0x4000}}
			},
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:diverged"}},
		},
		"a standby was promoted beside it": {
			func(_ *inventory.Cluster, r hosts) {
				s := &r["pg2"].Facts.Server
				s.InRecovery, s.Timeline = false, 4
			},
			want{Host: "pg1", State: Running, Notes: []string{"problem:two-primaries"}},
		},
		"the roles are exchanged": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.InRecovery, r["pg2"].Facts.Server.InRecovery = true, false
			},
			want{Host: "pg2", State: Twin, Slot: SlotActive, Notes: []string{"problem:role-differs"}},
		},
		"slot missing": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"].Facts.Server.Slots = nil },
			want{Host: "pg2", State: Streaming, Slot: SlotMissing, Lag: zero, Sec: nought, Notes: []string{"problem:slot-missing"}},
		},
		"slot lost": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"].Facts.Server.Slots[0].WALStatus = "lost" },
			want{Host: "pg2", State: Streaming, Slot: SlotLost, Lag: zero, Sec: nought, Notes: []string{"problem:slot-lost"}},
		},
		"slot about to be lost": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"].Facts.Server.Slots[0].WALStatus = "unreserved" },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:slot-unreserved"}},
		},
		"writable twin": {
			func(_ *inventory.Cluster, r hosts) { r["pg2"].Facts.Server.InRecovery = false },
			want{Host: "pg2", State: Twin, Slot: SlotActive, Notes: []string{"problem:writable-twin"}},
		},
		"another system that takes writes": {
			func(_ *inventory.Cluster, r hosts) {
				s := &r["pg2"].Facts.Server
				s.InRecovery, s.SystemID = false, "78"
			},
			want{Host: "pg2", State: Twin, Slot: SlotActive, Notes: []string{"problem:other-system"}},
		},
		"promoted while the primary is away": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg2"].Facts.Server.InRecovery = false
				r["pg1"] = Result{Err: errors.New("no route")}
			},
			want{Host: "pg2", State: Twin, Notes: []string{"problem:role-differs"}},
		},
		"writable twin without a slot": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg2"].Facts.Server.InRecovery, r["pg1"].Facts.Server.Slots = false, nil
			},
			want{Host: "pg2", State: Twin, Slot: SlotMissing, Notes: []string{"problem:writable-twin"}},
		},
		"primary in recovery": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"].Facts.Server.InRecovery = true },
			want{Host: "pg1", State: NoReceiver, Notes: []string{"problem:role-differs"}},
		},
		"other system identifier": {
			func(_ *inventory.Cluster, r hosts) { r["pg2"].Facts.Server.SystemID = "78" },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:other-system"}},
		},
		"other timeline": {
			func(_ *inventory.Cluster, r hosts) { r["pg2"].Facts.Server.Timeline = 4 },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:other-timeline"}},
		},
		"other upstream": {
			func(_ *inventory.Cluster, r hosts) { r["pg3"].Facts.Server.Replay.SenderHost = "10.0.0.11" },
			want{Host: "pg3", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"warning:other-upstream"}},
		},
		"upstream by name": {
			func(_ *inventory.Cluster, r hosts) { r["pg3"].Facts.Server.Replay.SenderHost = "pg2.example.org" },
			want{Host: "pg3", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought},
		},
		"delayed": {
			func(cl *inventory.Cluster, _ hosts) { cl.Hosts[1].ApplyDelay = 2 * time.Hour },
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"note:delayed"}},
		},
		"delayed, and replays what it has": {
			func(cl *inventory.Cluster, r hosts) {
				age := (2*time.Hour + 10*time.Minute).Seconds()
				cl.Hosts[1].ApplyDelay = 2 * time.Hour
				r["pg1"].Facts.Server.Senders = nil
				r["pg2"].Facts.Server.Replay = facts.Replay{LastReplayAge: &age}
			},
			want{Host: "pg2", State: NoReceiver, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"warning:replays-its-own", "note:delayed"}},
		},
		"delayed, and replays what it has, so that its slot is not in use": {
			func(cl *inventory.Cluster, r hosts) {
				age := time.Hour.Seconds()
				cl.Hosts[1].ApplyDelay = 2 * time.Hour
				r["pg1"].Facts.Server.Senders, r["pg1"].Facts.Server.Slots[0].Active = nil, false
				r["pg2"].Facts.Server.Replay = facts.Replay{LastReplayAge: &age}
			},
			want{Host: "pg2", State: NoReceiver, Slot: SlotInactive, Lag: zero, Sec: nought, Notes: []string{"warning:replays-its-own", "note:delayed"}},
		},
		"delayed, and has not replayed a promotion": {
			func(cl *inventory.Cluster, r hosts) {
				promoted(r, 0x5000)
				cl.Hosts[1].ApplyDelay = 2 * time.Hour
			},
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"note:other-timeline", "note:delayed"}},
		},
		"at a recovery target": {
			func(cl *inventory.Cluster, r hosts) {
				age := time.Hour.Seconds()
				cl.Hosts[1].ApplyDelay = 2 * time.Hour
				r["pg1"].Facts.Server.Senders, r["pg1"].Facts.Server.Slots[0].Active = nil, false
				r["pg2"].Facts.Server.Replay = facts.Replay{LastReplayAge: &age, Paused: true, PauseState: "paused", Target: "recovery_target_lsn = 0/4000"}
			},
			want{Host: "pg2", State: Paused, Slot: SlotInactive, Lag: zero, Sec: nought, Notes: []string{"warning:at-target", "note:delayed"}},
		},
		"delayed, and much later than that": {
			func(cl *inventory.Cluster, r hosts) {
				age := (3 * time.Hour).Seconds()
				cl.Hosts[1].ApplyDelay = 2 * time.Hour
				r["pg1"].Facts.Server.Senders = nil
				r["pg2"].Facts.Server.Replay = facts.Replay{LastReplayAge: &age}
			},
			want{Host: "pg2", State: NoReceiver, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"problem:no-receiver", "note:delayed"}},
		},
		"synchronous by the inventory alone": {
			func(cl *inventory.Cluster, r hosts) {
				cl.Hosts[1].Synchronous = true
				r["pg1"].Facts.Server.Senders[0].SyncState = "async"
			},
			want{Host: "pg2", State: Streaming, Slot: SlotActive, Lag: zero, Sec: nought, Notes: []string{"warning:not-synchronous"}},
		},
		"upstream unreachable": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"] = Result{Err: errors.New("no route")} },
			want{Host: "pg2", State: Streaming},
		},
		"unreachable": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg2"] = Result{Err: &fault.Error{Class: fault.Unreachable, Err: errors.New("no route"), Hint: "pgrepctl doctor"}}
			},
			want{Host: "pg2", State: Unreachable, Slot: SlotActive, Notes: []string{"problem:unreachable"}},
		},
		"down": {
			func(_ *inventory.Cluster, r hosts) {
				f := r["pg2"].Facts
				f.Server, f.Data.PID, f.Data.Control.State = facts.Server{}, 0, postgres.ShutDownInRecovery
			},
			want{Host: "pg2", State: Down, Slot: SlotActive, Notes: []string{"problem:down"}},
		},
		"not ready": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg2"].Facts.Server = facts.Server{NotReady: "the database system is starting up"}
			},
			want{Host: "pg2", State: Starting, Slot: SlotActive, Notes: []string{"problem:not-ready"}},
		},
		"partial copy": {
			func(_ *inventory.Cluster, r hosts) {
				f := r["pg2"].Facts
				f.Server, f.Data = facts.Server{}, facts.DataDir{Path: "/data", State: facts.Partial, Marker: facts.Marker{Run: "r1", Source: "pg1"}}
			},
			want{Host: "pg2", State: Partial, Slot: SlotActive, Notes: []string{"problem:partial-copy"}},
		},
		"empty": {
			func(_ *inventory.Cluster, r hosts) {
				f := r["pg2"].Facts
				f.Server, f.Data = facts.Server{}, facts.DataDir{Path: "/data", State: facts.Absent}
			},
			want{Host: "pg2", State: Empty, Slot: SlotActive, Notes: []string{"problem:empty"}},
		},
		"foreign": {
			func(_ *inventory.Cluster, r hosts) {
				f := r["pg2"].Facts
				f.Server, f.Data = facts.Server{}, facts.DataDir{Path: "/data", State: facts.Foreign, Note: "it is not a directory"}
			},
			want{Host: "pg2", State: Foreign, Slot: SlotActive, Notes: []string{"problem:foreign-data"}},
		},
		"another server on the port": {
			func(_ *inventory.Cluster, r hosts) {
				f := r["pg1"].Facts
				f.Server.DataDirectory, f.Data.PID = "/other", 0
			},
			want{Host: "pg1", State: Running, Notes: []string{"problem:another-server"}},
		},
		"data directory behind a symlink": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"].Facts.Server.DataDirectory = "/link" },
			want{Host: "pg1", State: Running},
		},
		"restart pending": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.PendingRestart = []string{"max_connections"}
			},
			want{Host: "pg1", State: Running, Notes: []string{"problem:pending-restart"}},
		},
		"archiver fails": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.Archiver = facts.Archiver{LastFailed: ptr(time.Unix(2, 0)), LastArchived: ptr(time.Unix(1, 0))}
			},
			want{Host: "pg1", State: Running, Notes: []string{"warning:archiving-fails"}},
		},
		"archiver works again": {
			func(_ *inventory.Cluster, r hosts) {
				r["pg1"].Facts.Server.Archiver = facts.Archiver{LastFailed: ptr(time.Unix(1, 0)), LastArchived: ptr(time.Unix(2, 0))}
			},
			want{Host: "pg1", State: Running},
		},
		"slot of nobody": {
			func(_ *inventory.Cluster, r hosts) {
				s := &r["pg1"].Facts.Server
				s.Slots = append(s.Slots, facts.Slot{Name: "old", RetainedBytes: ptr(int64(1 << 30))}, facts.Slot{Name: "backup", Temporary: true}, facts.Slot{Name: "other", Active: true})
			},
			want{Host: "pg1", State: Running, Notes: []string{"warning:strange-slot"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, r := cluster(), healthy()
			if c.damage != nil {
				c.damage(cl, r)
			}
			rep := Build(cl, r, nil)
			i := slices.IndexFunc(rep.Hosts, func(row Row) bool { return row.Host == c.want.Host })
			row := rep.Hosts[i]
			got := want{Host: row.Host, State: row.State, Slot: row.SlotState, Lag: row.LagBytes, Sec: row.LagSeconds}
			for _, n := range row.Notes {
				got.Notes = append(got.Notes, string(n.Severity)+":"+n.ID)
				canBeTyped(t, n.Hint)
			}
			if row.Worst() == Problem && !slices.ContainsFunc(row.Notes, func(n Note) bool { return n.Severity == Problem && n.Hint != "" }) {
				t.Error("a problem, and nothing to do")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if row.Worst() == Problem && rep.Healthy {
				t.Error("a problem, and healthy")
			}
		})
	}
}

func TestRowsComeInTheInventorysOrderAndOnlyIfAsked(t *testing.T) {
	t.Parallel()
	r := healthy()
	delete(r, "pg2")
	rep := Build(cluster(), r, nil)
	if len(rep.Hosts) != 2 || rep.Hosts[0].Host != "pg1" || rep.Hosts[1].Host != "pg3" || !rep.Healthy {
		t.Errorf("%+v", rep)
	}
}
