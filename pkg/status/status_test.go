package status

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
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

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// receiver reads pg1 and pg2 twice, two seconds apart: pg1 had written up to upstream
// at the first.
func receiver(r map[string]Result, first, second, upstream postgres.LSN) {
	up, s := r["pg1"], r["pg2"]
	was, old := *s.Facts, *up.Facts
	was.Server.Replay.Receive, s.Facts.Server.Replay.Receive = ptr(first), ptr(second)
	old.Server.LSN = upstream
	s.Earlier, s.EarlierAt, s.At = &was, noon, noon.Add(2*time.Second)
	up.Earlier, up.EarlierAt, up.At = &old, noon, noon.Add(2*time.Second)
	r["pg1"], r["pg2"] = up, s
}

// promoted puts pg1 on timeline 4, which it began at fork.
func promoted(r map[string]Result, fork postgres.LSN) {
	f := r["pg1"].Facts
	f.Server.Timeline, f.Data.HistoryOf, f.Data.History = 4, 4, []postgres.Fork{{Timeline: 3, LSN: fork}}
}

func TestEveryProblemNamesWhatToDo(t *testing.T) {
	t.Parallel()
	r := healthy()
	s := &r["pg2"].Facts.Server
	s.Replay.Paused, s.PendingRestart = true, []string{"max_connections"}
	r["pg1"].Facts.Server.Slots[0].WALStatus = "lost"
	promoted(r, 0x4000)
	delete(r, "pg3")
	for _, row := range Build(cluster(), r, nil).Hosts {
		for _, n := range row.Notes {
			if n.Severity == Problem && n.Hint == "" {
				t.Errorf("%s: %s: no hint", row.Host, n.ID)
			}
		}
	}
}

func TestOnlyWhatOneReadingLeavesOpenIsReadAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(r map[string]Result)
		want   []string
	}{
		"all is well": {func(map[string]Result) {}, nil},
		"a moment behind": {func(r map[string]Result) {
			r["pg2"].Facts.Server.Replay.Receive = ptr(postgres.LSN(0x4f00))
			r["pg1"].Facts.Server.Senders[0].Flush = ptr(postgres.LSN(0x4f00))
		}, nil},
		"behind, and without a walsender": {func(r map[string]Result) {
			r["pg2"].Facts.Server.Replay.Receive = ptr(postgres.LSN(0x4f00))
			r["pg1"].Facts.Server.Senders, r["pg1"].Facts.Server.Slots[0].Active = nil, false
		}, []string{"pg2"}},
		"behind, and silent": {func(r map[string]Result) {
			r["pg2"].Facts.Server.Replay.Receive = ptr(postgres.LSN(0x4f00))
			r["pg1"].Facts.Server.Senders[0].ReplyAge = ptr(25.0)
		}, []string{"pg2"}},
		"ahead, and receiving nothing": {func(r map[string]Result) {
			r["pg2"].Facts.Server.Replay, r["pg2"].Facts.Server.LSN = facts.Replay{}, 0x6000
			r["pg1"].Facts.Server.Senders, r["pg1"].Facts.Server.Slots[0].Active = nil, false
		}, []string{"pg1"}},
	} {
		r := healthy()
		c.damage(r)
		if diff := cmp.Diff(c.want, Again(cluster(), r)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestReportFormIsStable(t *testing.T) {
	t.Parallel()
	r := healthy()
	r["pg2"].Facts.Server.Replay.Paused = true
	r["pg1"].Facts.Server.Senders[0].Replay, r["pg1"].Facts.Server.Senders[0].ReplayLag = ptr(postgres.LSN(0x4000)), ptr(12.25)
	r["pg3"] = Result{Err: errors.New("connect: no route to host")}
	got, err := json.MarshalIndent(Build(cluster(), r, nil), "", "  ")
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
