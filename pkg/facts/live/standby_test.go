package live

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// standby makes one by pg_basebackup, streaming through a slot.
func (s *server) standby(slot string) *server {
	s.t.Helper()
	dir := scratch(s.t, s.user)
	sb := *s
	sb.data, sb.sock, sb.port = filepath.Join(dir, "data"), dir, freePort(s.t)
	s.must("pg_basebackup", "-D", sb.data, "-h", s.sock, "-p", strconv.Itoa(s.port), "-U", "postgres",
		"-R", "-C", "-S", slot, "-c", "fast", "-X", "stream", "-d", "application_name=pg2")
	sb.set("port", strconv.Itoa(sb.port))
	sb.set("unix_socket_directories", "'"+dir+"'")
	s.t.Cleanup(func() { _ = sb.cmd("pg_ctl", "-D", sb.data, "-m", "immediate", "-w", "stop").Run() })
	return &sb
}

func (g *Gatherer) exec(t *testing.T, statements ...string) {
	t.Helper()
	sql, err := g.SQL(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range statements {
		if err := sql.Exec(contextOf(t), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func TestGatherTellsBothEndsOfAStream(t *testing.T) {
	t.Parallel()
	p := newServer(t)
	p.start()
	s := p.standby("pg2")
	s.start()
	pg, _ := p.gatherer()
	sg, _ := s.gatherer()
	pg.exec(t, "create table t (i int)", "insert into t select generate_series(1, 1000)",
		"select pg_create_physical_replication_slot('idle', true)")

	ctx := contextOf(t)
	up, sb := gather(t, pg), gather(t, sg)
	for len(up.Server.Senders) == 0 || up.Server.Senders[0].State != "streaming" ||
		sb.Server.Replay.ReceiverStatus != "streaming" || sb.Server.LSN < up.Server.LSN {
		if ctx.Err() != nil {
			t.Fatalf("never streamed: %+v %+v", up.Server.Senders, sb.Server.Replay)
		}
		up, sb = gather(t, pg), gather(t, sg)
	}
	if v, err := postgres.ParseVersion(p.major); err != nil || v.UsesSignalFiles() != (sb.Server.Replay.ConfiguredSlot == "pg2") {
		t.Errorf("primary_slot_name is %q (%v)", sb.Server.Replay.ConfiguredSlot, err)
	}
	slot, ok := up.Server.Slot("pg2")
	if !ok || !slot.Active || slot.Type != "physical" || slot.Client != up.Server.Senders[0].Application ||
		slot.ActivePID != up.Server.Senders[0].PID || slot.RestartLSN == nil || slot.WALStatus != "reserved" {
		t.Errorf("slot: %+v", slot)
	}
	idle, ok := up.Server.Slot("idle")
	if !ok || idle.Active || idle.Client != "" || idle.RetainedBytes == nil || *idle.RetainedBytes < 0 {
		t.Errorf("idle slot: %+v", idle)
	}
	sender := up.Server.Senders[0]
	if sender.User != "postgres" || sender.Sent == nil || sender.Replay == nil || sender.SyncState != "async" {
		t.Errorf("sender: %+v", sender)
	}
	r := sb.Server.Replay
	if !sb.Server.InRecovery || sb.Server.SystemID != up.Server.SystemID || sb.Server.Timeline != 1 ||
		r.SlotName != "pg2" || r.Receive == nil || r.Replay == nil || r.Paused || r.LastReplayAge == nil {
		t.Errorf("standby: %+v", sb.Server)
	}
	if !sb.Data.Standby || sb.Data.State != facts.Cluster {
		t.Errorf("data directory of the standby: %+v", sb.Data)
	}
	if up.Server.Replay.Replay != nil || up.Server.Replay.Paused {
		t.Errorf("replay of the primary: %+v", up.Server.Replay)
	}

	sg.exec(t, "select pg_wal_replay_pause()")
	if sb = gather(t, sg); !sb.Server.Replay.Paused {
		t.Error("pause not seen")
	}
	sg.exec(t, "select pg_wal_replay_resume()")

	s.must("pg_ctl", "-D", s.data, "-w", "promote")
	if sb = gather(t, sg); sb.Server.InRecovery || sb.Server.Timeline != 2 || sb.Data.Standby {
		b, _ := json.Marshal(sb.Server)
		t.Errorf("promoted: %s", b)
	}
}

// Without an upstream the recovery side of the query is asked on any version:
// no view of it may have rows.
func TestGatherTellsAStandbyWithoutUpstream(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	p := s.gather()
	s.stop("fast")
	s.set("hot_standby", "on")
	name, text := "standby.signal", ""
	if !p.Server.Version.UsesSignalFiles() {
		name, text = "recovery.conf", "standby_mode = on\n"
	}
	write(t, s.user, s.data, map[string]string{name: text})
	s.start()
	g, _ := s.gatherer()
	ctx := contextOf(t)
	f := gather(t, g)
	for !f.Server.Running && ctx.Err() == nil { // pg_ctl returns before it is consistent
		f = gather(t, g)
	}
	if !f.Server.InRecovery || !f.Data.Standby || f.Server.SystemID != p.Server.SystemID || f.Server.Timeline != 1 ||
		f.Server.LSN == 0 || f.Server.Replay.ReceiverStatus != "" || f.Server.Replay.Paused {
		t.Errorf("%+v", f.Server)
	}
}
