package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// ddlStep is a part of TestDeploy's sequence.
type ddlStep struct {
	name string
	run  func(*testing.T, *site, *operator)
	last bool // it leaves another primary behind
}

// deployFaults are bad inputs and faults of a rollout. After each, ddlLeft holds: both
// standbys serve and replay. The failover is the last, for h3 is a primary then.
func deployFaults() []ddlStep {
	return []ddlStep{
		{"the plan says for programs what is done and why", ddlPlanForPrograms, false},
		{"a report that never ends: nothing is left", ddlEndlessReport, false},
		{"a report that is in the way is cancelled, where that is wanted", ddlCancelAfter, false},
		{"all other servers die during a drain: it is given up, and reads are served", ddlOthersDie, false},
		{"the walreceiver of the paused standby dies: it comes back, and the change is made", ddlReceiverDies, false},
		{"commits that wait for the paused standby: refused", ddlCommitsWait, false},
		{"a recovery target: refused", ddlRecoveryTarget, false},
		{"a rewrite or a lock that nobody foresaw: rolled back", ddlUnforeseen, false},
		{"in mode gate nobody is moved, and a holder of a lock is waited for", ddlGate, false},
		{"via the primary, when it is a server of the balancer", ddlViaPrimary, false},
		{"a standby's host is cut off after the COMMIT: the others get their reads back", ddlHostCutOff, false},
		{"a failover in the middle: it stops, nothing is paused, and all serve with the old primary down", ddlFailover, true},
	}
}

func ddlPlanForPrograms(t *testing.T, s *site, o *operator) {
	var p struct {
		Format, Database string
		Parts            []struct {
			Part             int
			Statements       []string
			Class, Mode, Why string
			First, Second    []string
		}
		Steps    []struct{ Step string }
		Warnings []string
	}
	o.call("ddl", "plan", ddlFile(t, "alter table pgbench_tellers add column p int", "create index concurrently tellers_p on pgbench_tellers (p)"), "--database", "bench", "-o", "json").exits(0).decode(&p)
	if len(p.Parts) != 2 || len(p.Steps) < 10 || p.Format != "pgrepctl.ddl-plan/v1" || p.Database != "bench" {
		t.Fatalf("%+v", p)
	}
	if r := p.Parts[0]; r.Part != 1 || r.Class != "lock" || r.Mode != "roll" || r.Why == "" || !slices.Equal(r.First, []string{"h2"}) || !slices.Equal(r.Second, []string{"h3"}) || len(r.Statements) != 1 {
		t.Errorf("part 1: %+v", r)
	}
	if r := p.Parts[1]; r.Class != "none" || r.Mode != "none" || len(r.First)+len(r.Second) != 0 {
		t.Errorf("part 2: %+v", r)
	}
	// The lab's PgBouncer has the default of 15 s.
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "server_login_retry") {
		t.Errorf("warnings: %q", p.Warnings)
	}
}

// report has a client read on a standby, past the balancers, until end.
func (s *site) report(t *testing.T, name, query string) (end func()) {
	t.Helper()
	s.at(t, name, fmt.Sprintf(`cat > /tmp/report.sql <<'SQL'
begin; %s; select pg_sleep(600);
SQL
chmod 644 /tmp/report.sql
PGAPPNAME=report setsid runuser -u postgres -- psql -q bench -f /tmp/report.sql >/dev/null 2>&1 </dev/null &`, query))
	s.eventually(t, "the report runs", func() bool {
		return s.sql(t, name, "postgres", "select count(*) from pg_stat_activity where application_name = 'report' and query like '%pg_sleep%'") == "1"
	})
	return func() {
		s.sql(t, name, "postgres", "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'report'")
		s.eventually(t, "the report is gone", func() bool {
			return s.sql(t, name, "postgres", "select count(*) from pg_stat_activity where application_name = 'report'") == "0"
		})
	}
}

func addColumn(t *testing.T, name string) string {
	t.Helper()
	return ddlFile(t, "alter table pgbench_tellers add column "+name+" int")
}

func ddlEndlessReport(t *testing.T, s *site, o *operator) {
	end := s.report(t, "h2", "select count(*) from pgbench_tellers")
	defer end()
	o.call("ddl", "deploy", addColumn(t, "endless"), "--database", "bench", "--drain-timeout", "1s", "--yes").exits(9).
		says("h2", "after 1s there are still", "1 clients of the server", "taken back")
	s.hasColumn(t, "endless", false)
	end()
	// At the second group it goes on: there is no way back.
	end = s.report(t, "h3", "select count(*) from pgbench_branches")
	defer end()
	o.call("ddl", "deploy", addColumn(t, "ended"), "--database", "bench", "--drain-timeout", "1s", "--yes").exits(0).says("it goes on without waiting")
	if got := s.sql(t, "h3", "postgres", "select count(*) from pg_stat_activity where application_name = 'report'"); got != "1" {
		t.Errorf("the report, which reads another table, was cancelled: %s", got)
	}
	s.hasColumn(t, "ended", true)
}

// ddlCancelAfter: nobody is made to leave, unless the operator says so; and who is idle, only
// if clients read again.
func ddlCancelAfter(t *testing.T, s *site, o *operator) {
	end := s.report(t, "h2", "select count(*) from pgbench_tellers")
	defer end()
	file := addColumn(t, "pressed")
	o.call("ddl", "plan", file, "--database", "bench", "--cancel-after", "1s").exits(0).says("statements that still run after 1s are cancelled")
	o.call("ddl", "deploy", file, "--database", "bench", "--terminate-idle", "--yes").exits(6).says("clients_retry: true")
	o.call("ddl", "deploy", file, "--database", "bench", "--min-serving", "2", "--yes").exits(6).says("at least 2 must")
	s.hasColumn(t, "pressed", false)
	o.call("ddl", "deploy", file, "--database", "bench", "--drain-timeout", "30s", "--cancel-after", "1s", "--yes").exits(0).says("h2", "after 1s 1 statements were cancelled")
	s.hasColumn(t, "pressed", true)
}

func ddlOthersDie(t *testing.T, s *site, o *operator) {
	end := s.report(t, "h2", "select 1")
	defer end()
	c := o.start("ddl", "deploy", addColumn(t, "others"), "--database", "bench", "--drain-timeout", "2m", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Intent && r.Effect == "await-drained" })
	s.at(t, "h3", "as pg_ctlcluster $major main stop -m immediate")
	c.wait().exits(9).says("no other server serves", "taken back")
	if got := s.balancer(t, "h2"); got != "2 0" {
		t.Errorf("h2 does not serve: %s", got)
	}
	s.at(t, "h3", "as pg_ctlcluster $major main start")
	s.caughtUp(t, "h3")
	s.hasColumn(t, "others", false)
}

// ddlReceiverDies: a walreceiver that dies while replay is paused is not started again
// until it goes on, which it does between two attempts and when the second group is drained.
func ddlReceiverDies(t *testing.T, s *site, o *operator) {
	free := s.holdLock(t)
	c := o.start("ddl", "deploy", addColumn(t, "receiver"), "--database", "bench", "--yes")
	o.await(c, "a failed attempt", 1e6, func() bool { return strings.Contains(c.stderr.String(), "a lock was not obtained") })
	s.eventually(t, "a walreceiver died while replay is paused", func() bool {
		return s.sql(t, "h3", "postgres", "select count(*) from (select pg_terminate_backend(pid) from pg_stat_wal_receiver where pg_is_wal_replay_paused()) x") == "1"
	})
	free()
	c.wait().exits(0)
	s.hasColumn(t, "receiver", true)

	// After the COMMIT a report keeps h3 paused, and without a walreceiver.
	end := s.report(t, "h3", "select 1")
	defer end()
	c = o.start("ddl", "deploy", addColumn(t, "receiver2"), "--database", "bench", "--drain-timeout", "4s", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Done && r.Effect == "ddl" })
	s.sql(t, "h3", "postgres", "select pg_terminate_backend(pid) from pg_stat_wal_receiver")
	s.sql(t, "h1", "bench", "create table meanwhile2 ()")
	c.wait().exits(0)
	s.hasColumn(t, "receiver2", true)
	if got := s.sql(t, "h1", "postgres", "select count(*) from pg_replication_slots where not active"); got != "0" {
		t.Errorf("%s slots keep WAL for nobody", got)
	}
}

func ddlCommitsWait(t *testing.T, s *site, o *operator) {
	s.sql(t, "h1", "postgres", "alter system set synchronous_commit = remote_apply")
	s.sql(t, "h1", "postgres", "alter system set synchronous_standby_names = 'h3'")
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	defer func() {
		s.sql(t, "h1", "postgres", "alter system reset synchronous_standby_names")
		s.sql(t, "h1", "postgres", "alter system reset synchronous_commit")
		s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	}()
	s.eventually(t, "commits wait for h3", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_replication where sync_state = 'sync'") == "1"
	})
	o.call("ddl", "deploy", addColumn(t, "waits"), "--database", "bench", "--yes").exits(6).says("remote_apply", "synchronous_commit = on", "h3")
	// A role alone may wait, too.
	s.sql(t, "h1", "postgres", "alter system set synchronous_commit = on")
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	s.sql(t, "h1", "postgres", "create role careful; alter role careful in database bench set synchronous_commit = remote_apply")
	defer s.sql(t, "h1", "postgres", "drop role careful")
	o.call("ddl", "deploy", addColumn(t, "waits"), "--database", "bench", "--yes").exits(6).says("remote_apply for role careful in database bench")
	s.hasColumn(t, "waits", false)
}

func ddlRecoveryTarget(t *testing.T, s *site, o *operator) {
	if s.version().UsesSignalFiles() {
		s.at(t, "h3", `cp -a $config/postgresql.conf /tmp/kept.conf; echo "recovery_target_name = 'never'" >> $config/postgresql.conf; as pg_ctlcluster $major main restart`)
		defer s.at(t, "h3", `cp -a /tmp/kept.conf $config/postgresql.conf; rm /tmp/kept.conf; as pg_ctlcluster $major main restart`)
	} else {
		s.at(t, "h3", `cp -a $data/recovery.conf /tmp/kept.conf; echo "recovery_target_name = 'never'" >> $data/recovery.conf; as pg_ctlcluster $major main restart`)
		defer s.at(t, "h3", `cp -a /tmp/kept.conf $data/recovery.conf; rm /tmp/kept.conf; as pg_ctlcluster $major main restart`)
	}
	s.caughtUp(t, "h3")
	s.eventually(t, "both serve", s.bothServe(t))
	o.call("ddl", "deploy", addColumn(t, "targeted"), "--database", "bench", "--yes").exits(6).says("h3", "recovery target (recovery_target_name = never)", "--follow")
	s.hasColumn(t, "targeted", false)
}

// ddlUnforeseen: an event trigger of the database does more than the statement says.
func ddlUnforeseen(t *testing.T, s *site, o *operator) {
	s.sql(t, "h1", "bench", `create function more() returns event_trigger language plpgsql as $$ begin alter table pgbench_branches alter bbalance type bigint; end $$;
create event trigger more on ddl_command_end when tag in ('CREATE POLICY', 'COMMENT') execute procedure more()`)
	defer s.sql(t, "h1", "bench", "drop event trigger more; drop function more()")
	before := s.sql(t, "h1", "bench", "select relfilenode from pg_class where relname = 'pgbench_branches'")
	o.call("ddl", "deploy", ddlFile(t, "create policy p on pgbench_tellers using (true)"), "--database", "bench", "--yes").exits(6).
		says("statement 1 of 1", "pgbench_branches", "--allow-rewrite", "taken back")
	o.call("ddl", "deploy", ddlFile(t, "comment on table pgbench_tellers is 'more'"), "--database", "bench", "--yes").exits(6).says("--allow-rewrite")
	if after := s.sql(t, "h1", "bench", "select relfilenode from pg_class where relname = 'pgbench_branches'"); after != before {
		t.Error("it was written anew")
	}
	// A lock alone, where none was foreseen.
	s.sql(t, "h1", "bench", `create or replace function more() returns event_trigger language plpgsql as $$ begin alter table pgbench_branches add column more int; end $$`)
	o.call("ddl", "deploy", ddlFile(t, "comment on table pgbench_tellers is 'more'"), "--database", "bench", "--yes").exits(6).says("locks pgbench_branches against readers", "not foreseen", "--mode roll")
	if got := s.sql(t, "h1", "bench", "select count(*) from pg_policy") + s.sql(t, "h1", "bench", "select obj_description('pgbench_tellers'::regclass)"); got != "0" {
		t.Errorf("something is left: %s", got)
	}
}

func ddlGate(t *testing.T, s *site, o *operator) {
	end := s.report(t, "h2", "select count(*) from pgbench_tellers")
	defer end()
	o.call("ddl", "deploy", addColumn(t, "gated"), "--database", "bench", "--mode", "gate", "--lock-wait", "1s", "--yes").exits(9).
		says("for 1s somebody has always held a lock", "h2", "taken back")
	s.hasColumn(t, "gated", false)
	end()
	// A report of another table is in nobody's way.
	end = s.report(t, "h2", "select count(*) from pgbench_branches")
	defer end()
	stop := s.readers(t)
	o.call("ddl", "deploy", addColumn(t, "gated"), "--database", "bench", "--mode", "gate", "--yes").exits(0).says("mode gate", "committed at", "its readers stay")
	stop()
	s.hasColumn(t, "gated", true)
	if got := s.sql(t, "h2", "postgres", "select count(*) from pg_stat_activity where application_name = 'report'"); got != "1" {
		t.Errorf("the report was cancelled: %s", got)
	}
}

func ddlViaPrimary(t *testing.T, s *site, o *operator) {
	file := addColumn(t, "via")
	a := o.call("ddl", "deploy", file, "--database", "bench", "--mode", "via-primary", "--yes").exits(6)
	address := s.lab.Hosts()[0].Address.String()
	line := "server h1 " + address + ":5432 check backup"
	a.says("backend reads of lb has no server h1", line)
	reload := `haproxy -D -f /etc/haproxy/lab.cfg -sf $(cat /run/lab-haproxy.pid) >/dev/null 2>&1`
	s.at(t, "h1", fmt.Sprintf("cp /etc/haproxy/lab.cfg /tmp/lab.cfg; cp -a $config/pg_hba.conf /tmp/hba; cp -a $config/postgresql.conf /tmp/conf; echo '  %s inter 200ms' >> /etc/haproxy/lab.cfg; sed -i '1i host bench postgres %s/32 trust' $config/pg_hba.conf; as psql -XAtqc 'select pg_reload_conf()'; %s", line, address, reload))
	defer s.at(t, "h1", "cp /tmp/lab.cfg /etc/haproxy/lab.cfg; cp -a /tmp/hba $config/pg_hba.conf; as psql -XAtqc 'select pg_reload_conf()'; "+reload)
	s.eventually(t, "h1 could serve", func() bool { return s.balancer(t, "h1") == "2 0" })
	s.eventually(t, "both serve", s.bothServe(t))
	stop := s.readers(t)
	// With h3 away one standby is left, and the mode is chosen.
	o.call("traffic", "drain", "h3", "--yes").exits(0)
	o.call("ddl", "deploy", file, "--database", "bench", "--yes").exits(0).says("mode via-primary", "then the primary", "committed at")
	o.call("traffic", "restore", "h3", "--yes").exits(0)
	if stop() == 0 {
		t.Error("nothing was read")
	}
	s.hasColumn(t, "via", true)
}

// ddlHostCutOff: the tool dies after the COMMIT, h2 has no reads yet, and h3's host is
// cut off. To go on gives h2 its reads; when h3 is back it is done.
func ddlHostCutOff(t *testing.T, s *site, o *operator) {
	c := o.start("ddl", "deploy", addColumn(t, "cut"), "--database", "bench", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Done && r.Effect == "ddl" })
	c.kill()
	s.do(t, s.lab.Cut(t.Context(), "h3"))
	healed := false
	heal := func() {
		if !healed {
			healed = true
			s.do(t, s.lab.Heal(context.Background(), "h3"))
		}
	}
	defer heal()
	a := o.call("ddl", "resume", "--yes", "--connect-timeout", "1s")
	if a.code == 0 {
		t.Errorf("it is done without h3:\n%s%s", a.stdout, a.stderr)
	}
	a.says("h3", "ddl resume")
	s.eventually(t, "h2 serves", func() bool { return s.balancer(t, "h2") == "2 0" })
	if got := s.at(t, "h2", "ls /var/lib/postgresql/maintenance 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("h2 is kept from reads: %s", got)
	}
	heal()
	s.caughtUp(t, "h3")
	o.call("ddl", "resume", "--yes").exits(0)
	s.hasColumn(t, "cut", true)
}

// ddlFailover: the primary is gone, and the paused standby is promoted, and serves. The
// first group gets its reads back, and the run is over, though its lock is on the old primary:
// nobody has a lock there.
func ddlFailover(t *testing.T, s *site, o *operator) {
	free := s.holdLock(t)
	_ = free // it ends with its server
	c := o.start("ddl", "deploy", addColumn(t, "beside_promotion"), "--database", "bench", "--yes")
	o.await(c, "a failed attempt", 1e6, func() bool { return strings.Contains(c.stderr.String(), "a lock was not obtained") })
	s.at(t, "h1", "as pg_ctlcluster $major main stop -m immediate")
	s.at(t, "h3", "as pg_ctlcluster $major main promote")
	a := c.wait()
	if a.code == 0 {
		t.Errorf("it went on:\n%s%s", a.stdout, a.stderr)
	}
	a.says("its server does not run: nobody has the cluster lock there")
	a.says("is taken back: reads, replay and schema are as they were before it")
	// Reads are back while the old primary is still down.
	s.eventually(t, "both serve", s.bothServe(t))
	if got := s.at(t, "h2", "ls /var/lib/postgresql/maintenance 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("h2 is kept from reads, with h1 down: %s", got)
	}
	s.at(t, "h1", "as pg_ctlcluster $major main start")
	o.call("ddl", "abort", "--yes").exits(6).says("no rollout is open")
	s.eventually(t, "both serve", s.bothServe(t))
	for _, name := range []string{"h1", "h3"} {
		s.eventually(t, name+" takes sessions", func() bool { return s.at(t, name, "as psql -XAtqc 'select 1' 2>/dev/null || true") == "1" })
	}
	if got := s.sql(t, "h3", "bench", "select count(*) from pg_attribute where attname = 'beside_promotion'") + s.sql(t, "h2", "postgres", "select pg_is_wal_replay_paused()") + s.sql(t, "h3", "postgres", "select pg_is_in_recovery()"); got != "0ff" {
		t.Errorf("the change, h2 paused, h3 in recovery: %s", got)
	}
	if got := s.at(t, "h2", "ls /var/lib/postgresql/maintenance 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("h2 is kept from reads: %s", got)
	}
}
