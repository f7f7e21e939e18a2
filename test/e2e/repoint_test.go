package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// onBothSides of PostgreSQL 12 and 13: recovery.conf and a restart for a new upstream,
// or settings and a reload.
func onBothSides(t *testing.T, run func(*testing.T, *site)) {
	t.Parallel()
	for _, l := range []layout{older, etc} {
		t.Run(map[layout]string{older: "11", etc: "15"}[l], func(t *testing.T) { run(t, take(t, l)) })
	}
}

// does asserts that a command does what its dry run listed.
func (o *operator) does(args ...string) *answer {
	o.t.Helper()
	var pre ui.Preview
	o.call(append(args, "--dry-run", "-o", "json")...).exits(0).decode(&pre)
	var rep engine.Report
	a := o.call(append(args, "--yes", "-o", "json")...).exits(0)
	a.decode(&rep)
	if d := cmp.Diff(listed(pre), rep.Done); d != "" {
		o.t.Errorf("%v: what the dry run listed and what the run did (-listed +did):\n%s", args, d)
	}
	return a
}

// cascade is h3 behind h2 behind h1.
func (s *site) cascade(t *testing.T, o *operator) *operator {
	t.Helper()
	o = o.with("h3: {address: 10.77.0.13, role: standby", "h3: {address: 10.77.0.13, upstream: h2, role: standby")
	s.at(t, "h2", `echo "listen_addresses = '*'" >>$config/postgresql.conf`)
	apply(t, o, "h2")
	apply(t, o, "h3")
	return o
}

// follows waits until a host streams from another one, and asserts the slot for it.
func (s *site) follows(t *testing.T, name, upstream string) {
	t.Helper()
	s.eventually(t, name+" streams from "+upstream+" by its slot", func() bool {
		return s.sql(t, upstream, "postgres", "select state, (select active from pg_replication_slots where slot_name = '"+name+"') from pg_stat_replication where application_name = '"+name+"'") == "streaming|t"
	})
}

// TestRetiringAHostThatOthersStreamFromMovesThem: h3 follows h2, and then h1.
func TestRetiringAHostThatOthersStreamFromMovesThem(t *testing.T) {
	onBothSides(t, func(t *testing.T, s *site) {
		o := s.cascade(t, newOperator(t, s))
		o.call("standby", "retire", "h2", "--yes").exits(6).says("h3 streams from it", "--repoint-to h1")
		o.call("standby", "retire", "h2", "--yes", "--repoint-to", "h3").exits(6).says("others cannot be re-pointed to it", "name h1")
		stop := s.load(t)
		o.does("standby", "retire", "h2", "--repoint-to", "h1")
		s.streams(t, "h3")
		s.nothingLeftOf(t, "h2", "10.77.0.12")
		o.call("standby", "retire", "h2", "--repoint-to", "h1", "--yes").exits(0).says("nothing to do", "upstream: h1 for h3")

		o.call("runs", "undo", o.finished("retire-standby")[0], "--yes").exits(0)
		s.follows(t, "h3", "h2")
		if got := s.sql(t, "h1", "postgres", "select slot_name, active from pg_replication_slots"); got != "h2|t" {
			t.Errorf("slots on h1: %s", got)
		}
		stop()
		s.caughtUp(t, "h3")
		s.sameTables(t, "h3")
	})
}

// TestAStandbyThatIsPromotedApartLeavesTheCluster: it takes writes of its own, and the
// cluster knows nothing of it any more. The host below it stays with the cluster.
func TestAStandbyThatIsPromotedApartLeavesTheCluster(t *testing.T) {
	onBothSides(t, func(t *testing.T, s *site) {
		o := s.cascade(t, newOperator(t, s))
		o.call("standby", "retire", "h2", "--promote-apart", "--yes").exits(6).says("h3 streams from it")
		o.call("standby", "retire", "h2", "--promote-apart", "--erase-data", "h2", "--yes").exits(64)
		o.call("standby", "retire", "h2", "--promote-apart", "--repoint-to", "h1", "--dry-run").exits(0).says("point of no return", "can never follow h1 again")
		o.does("standby", "retire", "h2", "--promote-apart", "--repoint-to", "h1").says("delete line", "upstream: h1 for h3")
		s.sql(t, "h2", "bench", "create table apart (n int)")
		s.sql(t, "h1", "bench", "create table together (n int)")
		s.streams(t, "h3")
		s.nothingLeftOf(t, "h2", "10.77.0.12")
		if got := s.sql(t, "h2", "postgres", "select (select count(*) from pg_replication_slots), (select count(*) from pg_stat_wal_receiver)"); got != "0|0" {
			t.Errorf("slots and walreceivers of h2: %s", got)
		}
		if got := s.sql(t, "h3", "bench", "select to_regclass('apart') is null and to_regclass('together') is not null"); got != "t" {
			t.Error("h3 follows h2, and not h1")
		}
		o.call("standby", "retire", "h2", "--promote-apart", "--repoint-to", "h1", "--yes").exits(0).says("nothing to do")
		o.call("runs", "undo", o.finished("retire-standby")[0], "--yes").exits(6).says("cannot be undone", "h2 takes writes of its own")
	})
}

// TestAPromotionWithoutThePrimaryGoesToTheStandbyThatHasMost: h1 has lost its power, and
// h2 did not get what h3 has.
func TestAPromotionWithoutThePrimaryGoesToTheStandbyThatHasMost(t *testing.T) {
	onBothSides(t, func(t *testing.T, s *site) {
		o := newOperator(t, s)
		for _, name := range []string{"h2", "h3"} {
			// Nobody will tell them that h1 is gone.
			s.at(t, name, `printf "%s\n" "listen_addresses = '*'" "wal_receiver_timeout = 2s" >>$config/postgresql.conf`)
			apply(t, o, name)
		}
		timeline := s.timeline(t, "h1")
		s.sql(t, "h1", "bench", "create table first (n int)")
		s.caughtUp(t, "h2")
		s.do(t, s.lab.Cut(t.Context(), "h2"))
		s.sql(t, "h1", "bench", "create table last (n int)")
		s.caughtUp(t, "h3")
		s.do(t, s.lab.Kill(t.Context(), "h1"))
		s.do(t, s.lab.Heal(t.Context(), "h2"))
		for _, name := range []string{"h2", "h3"} {
			s.eventually(t, name+" streams no more", func() bool {
				return s.sql(t, name, "postgres", "select count(*) from pg_stat_wal_receiver where status = 'streaming'") == "0"
			})
		}
		o.call("standby", "promote", "h3", "--yes").exits(5).says("--primary-gone")
		o.call("standby", "promote", "h2", "--primary-gone", "--yes").exits(6).says("would be lost for nothing", "standby promote h3 --primary-gone")
		o.call("standby", "promote", "h3", "--primary-gone", "--dry-run").exits(0).says("IS NOT FENCED", "it has received WAL up to", "point of no return")
		o.does("standby", "promote", "h3", "--primary-gone").says("role: primary for h3", "IS NOT FENCED")
		s.isPrimary(t, "h3", "h2", timeline+1)
		if got := s.sql(t, "h2", "bench", "select count(*) from pg_class where relname in ('first', 'last')"); got != "2" {
			t.Errorf("of two tables h2 has %s", got)
		}
		s.follows(t, "h2", "h3")
		o.call("standby", "promote", "h3", "--primary-gone", "--yes").exits(0).says("nothing to do")
		o.call("runs", "undo", o.lastRun(), "--yes").exits(6).says("cannot be undone")

		// The old primary comes back, as nobody has kept it from: two take writes.
		s.do(t, s.lab.Start(t.Context(), "h1"))
		s.eventually(t, "h1 takes writes", func() bool {
			return s.at(t, "h1", "as psql -XAtqc 'select pg_is_in_recovery()' 2>&1 || true") == "f"
		})
		o = o.with("h1: {address: 10.77.0.11, role: primary", "h1: {address: 10.77.0.11, role: standby", "h3: {address: 10.77.0.13, role: standby", "h3: {address: 10.77.0.13, role: primary")
		o.call("status").exits(0).says("writable twin")
		o.call("plan").exits(6).says("h1", "it takes writes, and is a standby in the inventory")
		o.call("standby", "bootstrap", "h1", "--yes").exits(6)
	})
}
