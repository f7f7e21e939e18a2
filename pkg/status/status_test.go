package status

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func ptr[T any](v T) *T { return &v }

func cluster() *inventory.Cluster {
	host := func(name, address string, role inventory.Role, up string) *inventory.Host {
		h := &inventory.Host{Name: name, Address: address, Role: role, UpstreamName: up}
		h.Postgres.Port = 5432
		if up != "" {
			h.Slot = name
		}
		return h
	}
	return &inventory.Cluster{Name: "shop", Hosts: []*inventory.Host{
		host("pg1", "10.0.0.11", inventory.Primary, ""),
		host("pg2", "10.0.0.12", inventory.Standby, "pg1"),
		host("pg3", "10.0.0.13", inventory.Standby, "pg2"),
	}}
}

// healthy is the cluster as it should be: pg1 -> pg2 -> pg3.
func healthy() map[string]Result {
	server := func(name string, recovery bool) *facts.Host {
		f := facts.New(name, nil)
		f.Server = facts.Server{Running: true, Version: postgres.MakeVersion(15, 20), SystemID: "77", Timeline: 3,
			LSN: 0x5000, InRecovery: recovery, DataDirectory: "/data"}
		f.Data = facts.DataDir{Path: "/data", State: facts.Cluster, PID: 42, Standby: recovery}
		return f
	}
	sender := func(name string) []facts.Sender {
		return []facts.Sender{{PID: 7, Application: name, State: "streaming", Sent: ptr(postgres.LSN(0x5000)), Replay: ptr(postgres.LSN(0x5000))}}
	}
	slot := func(name string) []facts.Slot {
		return []facts.Slot{{Name: name, Type: "physical", Active: true, ActivePID: 7, WALStatus: "reserved", RetainedBytes: ptr(int64(4096))}}
	}
	p, a, b := server("pg1", false), server("pg2", true), server("pg3", true)
	p.Server.Senders, p.Server.Slots = sender("pg2"), slot("pg2")
	a.Server.Senders, a.Server.Slots = sender("pg3"), slot("pg3")
	a.Server.Replay = facts.Replay{ReceiverStatus: "streaming", SenderHost: "10.0.0.11", SlotName: "pg2"}
	b.Server.Replay = facts.Replay{ReceiverStatus: "streaming", SenderHost: "10.0.0.12", SlotName: "pg3"}
	return map[string]Result{"pg1": {Facts: p}, "pg2": {Facts: a}, "pg3": {Facts: b}}
}

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
		"upstream unreachable": {
			func(_ *inventory.Cluster, r hosts) { r["pg1"] = Result{Err: errors.New("no route")} },
			want{Host: "pg2", State: Streaming},
		},
		"unreachable": {
			func(_ *inventory.Cluster, r hosts) { r["pg2"] = Result{Err: errors.New("no route")} },
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
			want{Host: "pg1", State: Running, Notes: []string{"warning:pending-restart"}},
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
			rep := Build(cl, r)
			i := slices.IndexFunc(rep.Hosts, func(row Row) bool { return row.Host == c.want.Host })
			row := rep.Hosts[i]
			got := want{Host: row.Host, State: row.State, Slot: row.SlotState, Lag: row.LagBytes, Sec: row.LagSeconds}
			for _, n := range row.Notes {
				got.Notes = append(got.Notes, string(n.Severity)+":"+n.ID)
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
	rep := Build(cluster(), r)
	if len(rep.Hosts) != 2 || rep.Hosts[0].Host != "pg1" || rep.Hosts[1].Host != "pg3" || !rep.Healthy {
		t.Errorf("%+v", rep)
	}
}

func TestReportFormIsStable(t *testing.T) {
	t.Parallel()
	r := healthy()
	r["pg2"].Facts.Server.Replay.Paused = true
	r["pg1"].Facts.Server.Senders[0].Replay, r["pg1"].Facts.Server.Senders[0].ReplayLag = ptr(postgres.LSN(0x4000)), ptr(12.25)
	r["pg3"] = Result{Err: errors.New("connect: no route to host")}
	got, err := json.MarshalIndent(Build(cluster(), r), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(got, '\n'))
}

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}
