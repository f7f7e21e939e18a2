package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// TestDeploy is one sequence on one set of hosts: a primary and two standbys behind HAProxy
// and PgBouncer.
func TestDeploy(t *testing.T) {
	t.Parallel()
	for _, major := range strings.Fields(*shared.flags.deploy) {
		t.Run(major, func(t *testing.T) {
			ownHosts(t)
			s := newSite(shared, etc, 3, "deploy"+major)
			s.major = major
			began := time.Now()
			s.do(t, s.ready(context.Background()))
			// After that of the balancers, which are on it.
			t.Cleanup(func() { summary(t, began); s.do(t, s.lab.Down(context.Background())) })
			deploySequence(t, s)
		})
	}
}

func deploySequence(t *testing.T, s *site) {
	plain := newOperator(t, s)
	apply(t, plain, "h2")
	apply(t, plain, "h3")
	s.balancers(t)
	o := newOperator(t, s).with("hosts:\n", s.traffic())
	s.eventually(t, "both serve", s.bothServe(t))
	for _, step := range append([]ddlStep{
		{"it is rolled out beside readers, and none fails", ddlBesideReaders, false},
		{"a lock that is held is tried for again, and replay goes on between", ddlLockHeld, false},
		{"a lock that is never let go leaves nothing", ddlLockNeverFree, false},
		{"a statement that fails leaves nothing", ddlStatementFails, false},
		{"what is no schema change, or must not be, is refused", ddlRefused, false},
		{"the tool dies before the COMMIT: aborted, nothing is left", ddlKilledAndAborted, false},
		{"the tool dies before the COMMIT: resumed, it is done", ddlKilledAndResumed, false},
		{"the tool dies after the COMMIT: it only goes forward", ddlKilledAfterCommit, false},
		{"a paused standby dies: nothing is left, and the other one serves", ddlStandbyDies, false},
		{"a standby dies after the COMMIT: the others have it, and it follows later", ddlStandbyDiesAfterCommit, false},
		{"HAProxy is reloaded, and forgets the drain", ddlHAProxyForgets, false},
		{"HAProxy forgets the drain of the second group: it is done all the same", ddlHAProxyForgetsLate, false},
		{"the tool dies at the COMMIT, and the primary crashes: what it says counts", ddlPrimaryCrashes, false},
		{"an index is made beside all that, and what a failure leaves is dropped", ddlConcurrently, false},
	}, deployFaults()...) {
		t.Run(step.name, func(t *testing.T) {
			in := *o
			in.t, in.home = t, t.TempDir()
			step.run(t, s, &in)
			if !step.last {
				s.ddlLeft(t)
			}
		})
	}
}

func (s *site) bothServe(t *testing.T) func() bool {
	return func() bool { return s.balancer(t, "h2") == "2 0" && s.balancer(t, "h3") == "2 0" }
}

// ddlLeft is true after each deploy, whatever became of it: both standbys serve and
// replay, and no lock and no trigger is left.
func (s *site) ddlLeft(t *testing.T) {
	t.Helper()
	s.eventually(t, "both serve", s.bothServe(t))
	for _, name := range []string{"h2", "h3"} {
		s.caughtUp(t, name)
		if got := s.sql(t, name, "postgres", "select pg_is_wal_replay_paused()"); got != "f" {
			t.Errorf("%s: replay is %s", name, got)
		}
		if got := s.at(t, name, "ls /var/lib/postgresql/maintenance 2>&1 || true"); !strings.Contains(got, "No such file") {
			t.Errorf("%s: the health file is still there: %s", name, got)
		}
	}
	if got := s.sql(t, "h1", "bench", "select count(*) from pg_event_trigger"); got != "0" {
		t.Errorf("%s event triggers are left", got)
	}
	if got := s.sql(t, "h1", "bench", "select count(*) from pg_index where not indisvalid"); got != "0" {
		t.Errorf("%s invalid indexes are left", got)
	}
}

// ddl writes a file of statements.
func ddlFile(t *testing.T, statements ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "change.sql")
	if err := os.WriteFile(name, []byte(strings.Join(statements, ";\n")+";\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// hasColumn on each of the hosts.
func (s *site) hasColumn(t *testing.T, column string, want bool) {
	t.Helper()
	for _, name := range []string{"h1", "h2", "h3"} {
		if name != "h1" {
			s.caughtUp(t, name)
		}
		got := s.sql(t, name, "bench", "select count(*) from pg_attribute where attrelid = 'pgbench_tellers'::regclass and attname = '"+column+"' and not attisdropped")
		if (got == "1") != want {
			t.Errorf("%s: column %s: %s", name, column, got)
		}
	}
}

// holdLock has a session on the primary read a table in a transaction until free.
func (s *site) holdLock(t *testing.T) (free func()) {
	t.Helper()
	s.at(t, "h1", `cat > /tmp/hold.sql <<'SQL'
begin; select count(*) from pgbench_tellers; select pg_sleep(600);
SQL
chmod 644 /tmp/hold.sql
PGAPPNAME=holder setsid runuser -u postgres -- psql -q bench -f /tmp/hold.sql >/dev/null 2>&1 </dev/null &`)
	s.eventually(t, "the lock is held", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_activity where application_name = 'holder' and query like '%pg_sleep%'") != "0"
	})
	return func() {
		s.sql(t, "h1", "postgres", "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'holder'")
		s.eventually(t, "the lock is free", func() bool {
			return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_activity where application_name = 'holder'") == "0"
		})
	}
}

func ddlBesideReaders(t *testing.T, s *site, o *operator) {
	file := ddlFile(t, "alter table pgbench_tellers add column beside text", "create index on pgbench_tellers (beside)")
	stop := s.readers(t)
	o.call("ddl", "plan", file, "--database", "bench").exits(0).says("mode roll", "2 statements", "keep reads away from h2", "pause replay", "point of no return", "prove the DDL")
	s.hasColumn(t, "beside", false)
	o.call("ddl", "deploy", file, "--database", "bench", "--yes").exits(0).says("committed at", "attempt 1")
	if stop() == 0 {
		t.Error("nothing was read")
	}
	s.hasColumn(t, "beside", true)
	o.call("ddl", "status").exits(0).says("committed at", "done", "1/1")
}

func ddlLockHeld(t *testing.T, s *site, o *operator) {
	free := s.holdLock(t)
	c := o.start("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column held text"), "--database", "bench", "--yes")
	o.await(c, "a failed attempt", 1e6, func() bool { return strings.Contains(c.stderr.String(), "a lock was not obtained") })
	s.sql(t, "h1", "bench", "create table meanwhile ()") // which h3 has to have before the next attempt is over
	s.caughtUp(t, "h3")
	free()
	a := c.wait().exits(0)
	if strings.Contains(a.stdout, "attempt 1,") {
		t.Errorf("there was one attempt: %s", a.stdout)
	}
	s.hasColumn(t, "held", true)
}

func ddlLockNeverFree(t *testing.T, s *site, o *operator) {
	free := s.holdLock(t)
	defer free()
	o.call("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column never text"), "--database", "bench", "--lock-wait", "2s", "--yes").exits(9).
		says("a lock was not obtained", "--lock-wait", "taken back")
	s.hasColumn(t, "never", false)
}

func ddlStatementFails(t *testing.T, s *site, o *operator) {
	var list []string
	for i := range 5 {
		list = append(list, fmt.Sprintf("alter table pgbench_tellers add column third%d int", i))
	}
	list[2] = "alter table pgbench_tellers add column third0 int"
	o.call("ddl", "deploy", ddlFile(t, list...), "--database", "bench", "--yes").exits(9).says("statement 3 of 5", "already exists", "taken back")
	s.hasColumn(t, "third0", false)
	list[2] = "alter table pgbench_tellers add column third2 int int" // what only the server can read
	o.call("ddl", "deploy", ddlFile(t, list...), "--database", "bench", "--yes").exits(9).says("statement 3 of 5", "syntax error", "change.sql:3", "taken back")
	s.hasColumn(t, "third0", false)
	// What the role may not do is such a failure.
	s.sql(t, "h1", "postgres", "create role weak")
	o.call("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column weak int"), "--database", "bench", "--role", "weak", "--yes").exits(9).says("must be owner")
	s.sql(t, "h1", "postgres", "drop role weak")
}

func ddlRefused(t *testing.T, s *site, o *operator) {
	for _, c := range []struct {
		text string
		code int
		says string
	}{
		{"begin; alter table pgbench_tellers add column r int; commit", 65, "BEGIN"},
		{"update pgbench_tellers set tbalance = 0", 65, "UPDATE"},
		{"alter table pgbench_tellers add column r int;\n\\i other.sql", 65, "psql"},
		{"alter table pgbench_tellers alter column tbalance type bigint", 6, "--allow-rewrite"},
		{"drop database bench", 6, ""},
	} {
		o.call("ddl", "deploy", ddlFile(t, c.text), "--database", "bench", "--yes").exits(c.code).says(c.says)
	}
	add := ddlFile(t, "alter table pgbench_tellers add column refused int")
	for _, command := range []string{"plan", "deploy"} {
		args := []string{"ddl", command, add, "--database", "bench", "--role", "nobody"}
		if command == "deploy" {
			args = append(args, "--yes")
		}
		o.call(args...).exits(6).says("h1", `no role "nobody"`)
	}
	o.call("ddl", "deploy", add, "--database", "bench", "--mode", "none", "--yes").exits(6).says("locks out readers")
	s.sql(t, "h3", "postgres", "select pg_wal_replay_pause()")
	o.call("ddl", "deploy", add, "--database", "bench", "--yes").exits(6).says("paused already", "h3")
	s.sql(t, "h3", "postgres", "select pg_wal_replay_resume()")
	s.hasColumn(t, "refused", false)
	o.call("ddl", "abort", "--yes").exits(6).says("no rollout is open")
}

// killedInAttempt kills a deploy that waits for a lock.
func (s *site) killedInAttempt(t *testing.T, o *operator, column string) (file string, free func()) {
	t.Helper()
	free = s.holdLock(t)
	file = ddlFile(t, "alter table pgbench_tellers add column "+column+" int")
	c := o.start("ddl", "deploy", file, "--database", "bench", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Intent && r.Effect == "ddl" })
	if a := c.kill(); a.code != -1 {
		t.Fatalf("it ended by itself (exit %d):\n%s%s", a.code, a.stdout, a.stderr)
	}
	s.eventually(t, "the leash has resumed replay", func() bool {
		return s.sql(t, "h3", "postgres", "select pg_is_wal_replay_paused()") == "f"
	})
	return file, free
}

func ddlKilledAndAborted(t *testing.T, s *site, o *operator) {
	_, free := s.killedInAttempt(t, o, "aborted")
	defer free()
	o.call("ddl", "status").exits(0).says("not committed", "ddl resume", "ddl abort")
	o.call("ddl", "abort", "--yes").exits(0)
	s.hasColumn(t, "aborted", false)
}

func ddlKilledAndResumed(t *testing.T, s *site, o *operator) {
	file, free := s.killedInAttempt(t, o, "resumed")
	free()
	// The statements are those that the run began with.
	s.do(t, os.WriteFile(file, []byte("nonsense"), 0o600))
	o.call("ddl", "resume", "--yes").exits(0)
	s.hasColumn(t, "resumed", true)
}

func ddlKilledAfterCommit(t *testing.T, s *site, o *operator) {
	for i, at := range []func(journal.Record) bool{
		func(r journal.Record) bool { return r.Type == journal.Note },
		func(r journal.Record) bool { return r.Type == journal.Done && r.Effect == "ddl" },
		func(r journal.Record) bool {
			return r.Type == journal.Intent && r.Effect == "balance" && strings.Contains(r.Text, "let reads in to h2")
		},
		func(r journal.Record) bool {
			return r.Type == journal.Intent && r.Effect == "balance" && strings.Contains(r.Text, "keep reads away from h3")
		},
		func(r journal.Record) bool { return r.Type == journal.Undone && r.Effect == "replay" },
	} {
		column := fmt.Sprintf("forward%d", i)
		in := *o
		in.home = t.TempDir()
		c := in.start("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column "+column+" int"), "--database", "bench", "--yes")
		in.awaitRecord(c, at)
		c.kill()
		if i > 0 {
			in.call("ddl", "abort", "--yes").exits(6).says("only goes forward", "ddl resume")
		}
		in.call("ddl", "resume", "--yes").exits(0)
		s.hasColumn(t, column, true)
		s.ddlLeft(t)
	}
}

func ddlStandbyDies(t *testing.T, s *site, o *operator) {
	free := s.holdLock(t)
	defer free()
	c := o.start("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column dies int"), "--database", "bench", "--lock-wait", "30s", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Intent && r.Effect == "ddl" })
	s.at(t, "h3", "as pg_ctlcluster $major main stop -m immediate")
	c.wait().exits(9).says("h3")
	s.eventually(t, "h2 serves", func() bool { return s.balancer(t, "h2") == "2 0" })
	s.at(t, "h3", "as pg_ctlcluster $major main start")
	s.caughtUp(t, "h3")
	s.hasColumn(t, "dies", false)
}

func ddlStandbyDiesAfterCommit(t *testing.T, s *site, o *operator) {
	c := o.start("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column later int"), "--database", "bench", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Done && r.Effect == "ddl" })
	s.at(t, "h3", "as pg_ctlcluster $major main stop -m immediate")
	if a := c.wait(); a.code == 0 {
		t.Fatalf("it is done without h3:\n%s%s", a.stdout, a.stderr)
	} else {
		a.says("ddl resume", "committed")
	}
	s.eventually(t, "h2 serves", func() bool { return s.balancer(t, "h2") == "2 0" })
	s.at(t, "h3", "as pg_ctlcluster $major main start")
	s.caughtUp(t, "h3")
	o.call("ddl", "resume", "--yes").exits(0)
	s.hasColumn(t, "later", true)
}

func ddlHAProxyForgets(t *testing.T, s *site, o *operator) {
	free := s.holdLock(t)
	c := o.start("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column forgot int"), "--database", "bench", "--yes")
	o.await(c, "a failed attempt", 1e6, func() bool { return strings.Contains(c.stderr.String(), "a lock was not obtained") })
	s.at(t, "h1", `haproxy -D -f /etc/haproxy/lab.cfg -sf $(cat /run/lab-haproxy.pid) >/dev/null 2>&1`)
	s.eventually(t, "h2 serves", func() bool { return s.balancer(t, "h2") == "2 0" })
	free()
	c.wait().exits(9).says("reloaded HAProxy")
	s.hasColumn(t, "forgot", false)
}

// ddlHAProxyForgetsLate: after the COMMIT the drain of h3 is not waited for any longer, and
// the rollout goes on by itself.
func ddlHAProxyForgetsLate(t *testing.T, s *site, o *operator) {
	end := s.report(t, "h3", "select 1")
	defer end()
	c := o.start("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column forgotten int"), "--database", "bench", "--drain-timeout", "1m", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool {
		return r.Type == journal.Intent && r.Effect == "await-drained" && r.Host == "h3"
	})
	s.at(t, "h1", `haproxy -D -f /etc/haproxy/lab.cfg -sf $(cat /run/lab-haproxy.pid) >/dev/null 2>&1`)
	c.wait().exits(0)
	s.hasColumn(t, "forgotten", true)
}

// ddlPrimaryCrashes: nobody has written down whether it is committed.
func ddlPrimaryCrashes(t *testing.T, s *site, o *operator) {
	for i, end := range []string{"resume", "abort"} {
		in := *o
		in.home = t.TempDir()
		column := fmt.Sprintf("crash%d", i)
		c := in.start("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column "+column+" int"), "--database", "bench", "--yes")
		in.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Note })
		c.kill()
		s.at(t, "h1", "as pg_ctlcluster $major main stop -m immediate; as pg_ctlcluster $major main start")
		s.eventually(t, "h1 takes sessions", func() bool { return s.at(t, "h1", "as psql -XAtqc 'select 1' 2>/dev/null || true") == "1" })
		for _, name := range []string{"h2", "h3"} {
			s.caughtUp(t, name)
		}
		a := in.call("ddl", end, "--yes")
		if end == "abort" && a.code == 6 { // it was committed
			a.says("go forward instead")
			a, end = in.call("ddl", "resume", "--yes"), "resume"
		}
		a.exits(0)
		s.hasColumn(t, column, end == "resume")
		s.ddlLeft(t)
	}
}

func ddlConcurrently(t *testing.T, s *site, o *operator) {
	o.call("ddl", "deploy", ddlFile(t, "alter table pgbench_tellers add column i int", "create index concurrently tellers_i on pgbench_tellers (i)", "drop index concurrently tellers_i"),
		"--database", "bench", "--yes").exits(0).says("part 3 of 3", "mode none")
	s.hasColumn(t, "i", true)
	o.call("ddl", "deploy", ddlFile(t, "create unique index concurrently tellers_bid on pgbench_accounts (bid)"), "--database", "bench", "--yes").exits(9).says("duplicated", "half made is dropped", "tellers_bid")
	// Killed, it goes on in the server; resumed, it is there once.
	free := s.holdLock(t)
	c := o.start("ddl", "deploy", ddlFile(t, "create index concurrently tellers_k on pgbench_tellers (tid)"), "--database", "bench", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Note })
	s.eventually(t, "the index is being made", func() bool {
		return s.sql(t, "h1", "bench", "select count(*) from pg_index where not indisvalid") == "1"
	})
	c.kill()
	o.call("ddl", "status").exits(0).says("begun, in no transaction, and perhaps done")
	free()
	o.call("ddl", "resume", "--yes").exits(0)
	if got := s.sql(t, "h1", "bench", "select count(*) from pg_index where indexrelid = 'tellers_k'::regclass and indisvalid"); got != "1" {
		t.Errorf("tellers_k: %s", got)
	}
}
