package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// TestReplay is one sequence on one set of hosts for each version: h2 is an ordinary
// standby, h3 a delayed one.
func TestReplay(t *testing.T) {
	t.Parallel()
	for _, major := range strings.Fields(*shared.flags.replay) {
		t.Run(major, func(t *testing.T) {
			ownHosts(t)
			s := newSite(shared, etc, 3, "replay"+major)
			s.major = major
			began := time.Now()
			s.do(t, s.ready(context.Background()))
			defer func() { summary(t, began); s.do(t, s.lab.Down(context.Background())) }()
			replaySequence(t, s)
		})
	}
}

func replaySequence(t *testing.T, s *site) {
	o := newOperator(t, s).with("h3: {address: 10.77.0.13, role: standby", "h3: {address: 10.77.0.13, role: standby, apply_delay: 1h")
	o.call("standby", "bootstrap", "h2", "--yes").exits(0)
	newOperator(t, s).call("standby", "bootstrap", "h3", "--yes").exits(0)
	for _, step := range []struct {
		name string
		run  func(*testing.T, *site, *operator)
	}{
		{"a paused standby stands still, says so, and goes on", pauseWaitResume},
		{"a delayed standby stops before an accident, is dumped, and follows again", stopsBeforeAnAccident},
		{"a restore point is found, and the run is taken back by name of the host", stopsAtARestorePoint},
		{"a pause on a leash ends when its holder dies", pauseOnALeash},
		{"a hold needs no primary, and names who did not answer", holdsWithoutThePrimary},
	} {
		t.Run(step.name, func(t *testing.T) {
			in := *o
			in.t = t
			step.run(t, s, &in)
		})
	}
}

func (o *operator) replayOf(t *testing.T, name string) replay.Row {
	t.Helper()
	var r replay.Report
	o.call("replay", "status", name, "--sample", "100ms", "-o", "json").exits(0).decode(&r)
	return r.Hosts[0]
}

func pauseWaitResume(t *testing.T, s *site, o *operator) {
	s.sql(t, "h1", "bench", "update pgbench_branches set bbalance = bbalance + 1") // of which the age is known
	s.caughtUp(t, "h2")
	o.call("replay", "pause", "h2", "--dry-run").exits(0).says("pause replay")
	if r := o.replayOf(t, "h2"); r.State != replay.NotPaused {
		t.Fatalf("a dry run paused: %+v", r)
	}
	o.call("replay", "pause", "h2", "--yes").exits(0).says("done", "receives and does not replay", "free")
	at := *o.replayOf(t, "h2").Replay
	s.sql(t, "h1", "bench", "create table later as select * from pgbench_accounts limit 1000")
	s.eventually(t, "h2 receives and does not replay", func() bool { return *o.replayOf(t, "h2").HeldBytes > 0 })
	r := o.replayOf(t, "h2")
	if *r.Replay != at || r.State != replay.Paused || r.BehindSeconds == nil || *r.BehindBytes < *r.HeldBytes || r.FreeBytes == nil {
		t.Errorf("paused at %s: %+v", at, r)
	}
	again := "nothing to do"
	if !s.version().AtLeast(14) { // which does not say whether a pause that was asked for holds
		again = "wait until the pause of replay holds"
	}
	o.call("replay", "pause", "h2", "--yes").exits(0).says(again)
	o.call("replay", "wait", "h2", "--primary-now", "--timeout", "60s").exits(1).says("replay is paused", "replay resume h2")
	o.call("replay", "resume", "h2", "--yes").exits(0).says("done")
	o.call("replay", "wait", "h2", "--primary-now", "--timeout", "60s").exits(0).says("h2 has replayed")
	o.call("replay", "resume", "h2", "--yes").exits(0).says("nothing to do")
	o.call("replay", "wait", "h2", "--lsn", "FF/0", "--timeout", "8s").exits(1).says("it has replayed up to", "before that")
	// A bracket in a plan: paused while its body runs, and no longer.
	file := filepath.Join(t.TempDir(), "bracket.yaml")
	s.do(t, os.WriteFile(file, []byte("name: bracket\ndoc: Makes a role while replay is paused.\nsteps:\n- lock: {}\n  do:\n  - at: h2\n    replay-paused: {leash: 5m}\n    do:\n    - role: {name: meanwhile, replication: true}\n"), 0o600))
	o.call("run", file, "--yes").exits(0).says("arm a leash", "pause replay", "resume replay")
	s.caughtUp(t, "h2")
	o.call("runs", "undo", o.lastRun(), "--yes").exits(0)
	// The pause, taken back after a second one, is the state that was found.
	o.call("replay", "pause", "h2", "--yes").exits(0)
	o.call("runs", "undo", o.lastRun(), "--yes").exits(0)
	s.caughtUp(t, "h2")
}

// lastRun is the id of the run that began last.
func (o *operator) lastRun() string {
	o.t.Helper()
	runs := o.runs()
	if len(runs) == 0 {
		o.t.Fatal("there is no run")
	}
	return runs[len(runs)-1].ID
}

// delay makes h3 replay an hour late, as bootstrap does of a host with apply_delay.
func (s *site) delay(t *testing.T, d string) {
	t.Helper()
	if s.version().UsesSignalFiles() {
		s.sql(t, "h3", "postgres", "alter system set recovery_min_apply_delay = '"+d+"'")
		s.sql(t, "h3", "postgres", "select pg_reload_conf()")
		s.eventually(t, "h3 has its delay", func() bool { return s.sql(t, "h3", "postgres", "show recovery_min_apply_delay") == d })
		return
	}
	s.at(t, "h3", "sed -i '/recovery_min_apply_delay/d' $data/recovery.conf; echo \"recovery_min_apply_delay = '"+d+"'\" >>$data/recovery.conf; pg_ctlcluster $major main restart -m fast")
}

// dumpsWAL reports whether h3 can read its WAL: binaries of other versions than the
// packages' come without pg_waldump.
func (s *site) dumpsWAL(t *testing.T) bool {
	t.Helper()
	return s.at(t, "h3", "test -x $bin/pg_waldump && echo yes || true") == "yes"
}

// received returns when h3 has received all that h1 has written by now.
func (s *site) received(t *testing.T) {
	t.Helper()
	lsn := s.sql(t, "h1", "postgres", "select pg_current_wal_lsn()")
	s.eventually(t, "h3 receives "+lsn, func() bool {
		return s.sql(t, "h3", "postgres", "select pg_last_wal_receive_lsn() >= '"+lsn+"'") == "t"
	})
}

// withoutAutovacuum: no commit comes between a time and the accident after it.
func (s *site) withoutAutovacuum(t *testing.T, name string) {
	s.sql(t, name, "postgres", "alter system set autovacuum = off")
	s.sql(t, name, "postgres", "select pg_reload_conf()")
	s.eventually(t, name+" has no autovacuum worker", func() bool {
		return s.sql(t, name, "postgres", "select count(*) from pg_stat_activity where backend_type like 'autovacuum%'") == "0"
	})
}

func stopsBeforeAnAccident(t *testing.T, s *site, o *operator) {
	s.withoutAutovacuum(t, "h1")
	s.sql(t, "h1", "bench", "create table precious as select generate_series(1, 100) as n")
	s.caughtUp(t, "h3")
	s.delay(t, "1h")
	early := s.sql(t, "h1", "postgres", "select now() - interval '1 hour'")
	s.sql(t, "h1", "bench", "insert into precious select generate_series(101, 200)")
	before := s.sql(t, "h1", "postgres", "select clock_timestamp()")
	position := s.sql(t, "h1", "postgres", "select pg_current_wal_lsn()")
	s.sql(t, "h1", "bench", "drop table precious")
	s.received(t)
	count := func() string {
		return s.sql(t, "h3", "bench", "set lock_timeout = '10s'; select count(*) from precious")
	}
	if got := count(); got != "100" {
		t.Fatalf("delayed, h3 has %s rows", got)
	}

	// The delay has nearly an hour to go, and the pause holds all the same.
	o.call("standby", "hold", "--dry-run").exits(0).says("pause replay", "no apply delay")
	a := o.call("standby", "hold", "--yes").exits(0).says("h3", "paused", "unchanged", "it has no apply delay")
	t.Logf("hold took %s", a.took)
	o.call("standby", "hold", "--yes").exits(0).says("replay is paused already")

	o.call("replay", "until", "h3", "--time", early, "--yes").exits(6).says("past the target", "it has replayed up to")
	o.call("replay", "until", "h3", "--lsn", "0/1000000", "--yes").exits(6).says("past the target", "0/1000000")
	o.call("replay", "until", "h3", "--time", "2026-11-26 07:00:00", "--yes").exits(64).says("has no zone")
	target := []string{"--time", before}
	if !s.dumpsWAL(t) {
		o.call("replay", "until", "h3", "--time", before, "--dry-run").exits(6).says("pg_waldump", "--locked")
		target = []string{"--lsn", position, "--locked"}
	}
	until := func(more ...string) *answer {
		return o.call(slices.Concat([]string{"replay", "until", "h3"}, target, more)...)
	}
	pre := until("--dry-run").exits(0).says("stop the server", "recovery_target_lsn", "start the server", "wait until replay stands")
	if got := count(); got != "100" {
		t.Fatalf("after a dry run h3 has %s rows\n%s", got, pre.stdout)
	}
	if len(target) == 2 && !strings.Contains(pre.stderr, "the target is moved") {
		t.Errorf("the lock of the DROP is not told of:\n%s", pre.stderr)
	}
	until("--yes").exits(0).says("stands at", "pg_dump", "runs undo", "--follow", "last transaction replayed")
	if got := count(); got != "200" {
		t.Errorf("at the target h3 has %s rows", got)
	}
	// The DROP has locked the table, and replay stops before that: else a dump waits for ever.
	dump := s.at(t, "h3", "as /usr/lib/postgresql/*/bin/pg_dump --lock-wait-timeout=10s -t precious bench | grep -c '^[0-9]'")
	if dump != "200" {
		t.Errorf("the dump has %s rows", dump)
	}
	if got := s.sql(t, "h1", "postgres", "select slot_name from pg_replication_slots where slot_name = 'h3'"); got != "h3" {
		t.Error("its slot is gone")
	}
	run := o.lastRun()
	until("--yes").exits(0).says("nothing to do")
	o.call("replay", "status", "h3").exits(0).says("at target", "promotes it")
	o.call("replay", "resume", "h3", "--yes").exits(6).says("promotes the server", "--follow")
	o.call("standby", "hold", "--release", "--yes").exits(0)
	if got := s.sql(t, "h3", "postgres", "select pg_is_in_recovery()"); got != "t" {
		t.Fatal("h3 was promoted")
	}

	o.call("runs", "undo", run, "--yes").exits(0).says("undone")
	r := o.replayOf(t, "h3")
	if r.State != replay.NotPaused || r.Target != "" || r.ApplyDelaySeconds == nil || *r.ApplyDelaySeconds != 3600 {
		t.Errorf("after the undo: %+v", r)
	}
	// Its lock is replayed and its commit is not: the table is there, for an hour.
	if got := s.sql(t, "h3", "bench", "select count(*) from pg_class where relname = 'precious'"); got != "1" {
		t.Errorf("delayed again, h3 has %s tables", got)
	}
	// It receives again when what was on its disk is replayed.
	s.delay(t, "0")
	s.eventually(t, "h3 streams again", func() bool {
		return s.sql(t, "h1", "postgres", "select state from pg_stat_replication where application_name = 'h3'") == "streaming"
	})
	s.caughtUp(t, "h3")
	s.delay(t, "1h")
}

func stopsAtARestorePoint(t *testing.T, s *site, o *operator) {
	s.sql(t, "h1", "bench", "create table before ()")
	position := s.sql(t, "h1", "postgres", "select pg_create_restore_point('it''s before')")
	s.sql(t, "h1", "bench", "create table junk ()")
	s.received(t)
	target := []string{"--lsn", position, "--locked"}
	if s.dumpsWAL(t) {
		o.call("replay", "until", "h3", "--name", "nowhere", "--yes").exits(6).says("no such restore point")
		target = []string{"--name", "it's before"}
	}
	// The tool dies in the middle, and the run is gone on with.
	c := o.start(slices.Concat([]string{"replay", "until", "h3", "--yes"}, target)...)
	o.awaitRecord(c, func(r journal.Record) bool {
		return r.Type == journal.Intent && r.Step == "recovery-target" && strings.HasPrefix(r.Text, "start the server")
	})
	c.kill()
	o.call("runs", "resume", o.lastRun(), "--yes").exits(0).says("done")
	if got := s.sql(t, "h3", "bench", "select string_agg(relname, ' ') from pg_class where relname in ('before', 'junk')"); got != "before" {
		t.Errorf("at the restore point there is %s", got)
	}
	o.call("replay", "resume", "h3", "--follow", "--yes").exits(0).says("undone")
	if r := o.replayOf(t, "h3"); r.Target != "" || *r.ApplyDelaySeconds != 3600 {
		t.Errorf("following again: %+v", r)
	}
	s.delay(t, "0")
	o.call("replay", "wait", "h3", "--primary-now", "--timeout", "60s").exits(0)
	s.delay(t, "1h")
}

func pauseOnALeash(t *testing.T, s *site, o *operator) {
	file := filepath.Join(t.TempDir(), "leash.yaml")
	s.do(t, os.WriteFile(file, []byte("name: leash\ndoc: Waits for a commit that never comes.\nsteps:\n- lock: {}\n  do:\n  - at: h2\n    replay-paused: {leash: 5m}\n    do:\n"+
		"    - {at: h3, recovery-target: {until: time 2099-01-01 00:00:00Z, timeout: 10m}}\n"), 0o600))
	c := o.start("run", file, "--yes")
	o.awaitRecord(c, func(r journal.Record) bool {
		return r.Type == journal.Intent && strings.HasPrefix(r.Text, "wait until replay stands")
	})
	paused := func() string { return s.sql(t, "h2", "postgres", "select pg_is_wal_replay_paused()") }
	if got := paused(); got != "t" {
		t.Errorf("inside the bracket h2 is paused: %s", got)
	}
	c.kill()
	s.eventually(t, "h2 resumes by itself", func() bool { return paused() == "f" })
	o.call("runs", "undo", o.lastRun(), "--yes").exits(0).says("undone")
	s.caughtUp(t, "h2")
	if r := o.replayOf(t, "h3"); r.Target != "" || *r.ApplyDelaySeconds != 3600 {
		t.Errorf("after the undo: %+v", r)
	}
}

func holdsWithoutThePrimary(t *testing.T, s *site, o *operator) {
	s.do(t, s.lab.Kill(t.Context(), "h1"))
	o.call("replay", "pause", "h3", "--yes", "--connect-timeout", "2s").exits(5).says("--without-primary")
	a := o.call("standby", "hold", "--yes", "--connect-timeout", "2s").exits(0).says("paused")
	if a.took > 10*time.Second {
		t.Errorf("a hold without the primary took %s", a.took)
	}
	o.call("standby", "hold", "--release", "--yes", "--connect-timeout", "2s").exits(0).says("resumed")
	o.call("replay", "pause", "h3", "--yes", "--connect-timeout", "2s", "--without-primary").exits(0).says("done")
	o.call("replay", "resume", "h3", "--yes", "--connect-timeout", "2s", "--without-primary").exits(0).says("done")
	s.do(t, s.lab.Kill(t.Context(), "h3"))
	o.call("standby", "hold", "--yes", "--connect-timeout", "2s").exits(8).says("h3", "not done there")
	o.call("replay", "status", "--connect-timeout", "2s").exits(8).says("not known")
	fmt.Fprint(testingOutput{t}, a.stdout)
}

// testingOutput is the log of a test.
type testingOutput struct{ t *testing.T }

func (o testingOutput) Write(b []byte) (int, error) { o.t.Log(string(b)); return len(b), nil }
