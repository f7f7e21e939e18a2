package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// TestRetiredStandbyLeavesNothingAnywhere is the life of two standbys that leave
// under load, one of them for ever.
func TestRetiredStandbyLeavesNothingAnywhere(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")
	apply(t, o, "h3")
	s.sql(t, "h1", "postgres", "alter system set synchronous_standby_names = 'ANY 1 (h2, h3)'")
	s.sql(t, "h1", "postgres", "alter system set wal_sender_timeout = '3s'") // h3 will vanish
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	s.eventually(t, "both are synchronous", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_replication where sync_state = 'quorum'") == "2"
	})
	var pre ui.Preview
	was := s.before(t, strict)
	o.call("standby", "retire", "h2", "--dry-run", "-o", "json").exits(0).decode(&pre)
	s.unchanged(t, was, strict)
	stop := s.load(t)
	rep := retire(t, o, "h2")
	if d := cmp.Diff(listed(pre), rep.Done); d != "" {
		t.Errorf("what the dry run listed and what the run did (-listed +did):\n%s", d)
	}
	s.nothingLeftOf(t, "h2", "10.77.0.12")
	if got := s.sql(t, "h1", "postgres", "show synchronous_standby_names"); got != "ANY 1 (h3)" {
		t.Errorf("commits wait for %s", got)
	}
	if got := s.at(t, "h2", "ls $data/global/pg_control; pgrep -x postgres || true"); got != s.files.Data+"/global/pg_control" {
		t.Errorf("on h2: %s", got)
	}

	o.call("standby", "retire", "h2", "--yes").exits(0).says("nothing to do", "delete line", "inventory.yaml")

	// The inventory still has it, and is no reason to make it again.
	o.call("plan").exits(6).says("h2: it was taken out of the cluster by run "+o.finished("retire-standby")[0], "delete line", "standby bootstrap h2")
	o.call("apply", "--yes").exits(6).says("it was taken out of the cluster")
	o.call("plan", "--without", "h2").exits(0)
	o.call("status").exits(0).says("warning: h2: it was taken out of the cluster", "delete line")
	if h2 := o.status(t).Hosts[1]; h2.State != status.Retired || h2.Worst() != status.Warning {
		t.Errorf("status: %+v", h2)
	}

	runs := o.finished("retire-standby")
	o.call("runs", "undo", runs[0], "--yes").exits(0).says("undone")
	s.eventually(t, "both are synchronous again", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_replication where sync_state = 'quorum' and state = 'streaming'") == "2"
	})
	s.sameTables(t, "h2")
	s.passwordIsInThePassfileAlone(t, "h2")

	// This time for ever.
	o.call("standby", "retire", "h2", "--yes", "--erase-data", "h3").exits(64).says("its own name")
	o.call("standby", "retire", "h2", "--dry-run", "--erase-data", "h2").exits(0).says("point of no return", "erase what is in "+s.files.Data)
	o.call("standby", "retire", "h2", "--yes", "--erase-data", "h2").exits(0)
	s.nothingLeftOf(t, "h2", "10.77.0.12")
	if got := s.at(t, "h2", "find $data -mindepth 1; ls -A /var/lib/postgresql/.pgrepctl 2>/dev/null || true"); got != "" {
		t.Errorf("left on h2:\n%s", got)
	}
	o.call("runs", "undo", o.finished("retire-standby")[0], "--yes").exits(6).says("cannot be undone", "the data of h2 are gone")

	// The last one, whose host has lost power: its slot keeps WAL.
	s.do(t, s.lab.Kill(context.Background(), "h3"))
	o.call("standby", "retire", "h3", "--yes").exits(5).says("--gone")
	s.eventually(t, "the walsender of h3 has ended", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_replication") == "0"
	})
	o.call("standby", "retire", "h3", "--gone", "--yes").exits(6).says("the only one", "--accept sync.quorum")
	o.call("standby", "retire", "h3", "--gone", "--yes", "--accept", "sync.quorum").exits(0).says("which was not asked", "delete line")
	stop()
	s.nothingLeftOf(t, "h3", "10.77.0.13")
	if got := s.sql(t, "h1", "postgres", "select count(*) from pg_replication_slots"); got != "0" {
		t.Errorf("%s slots keep WAL", got)
	}
	// Somebody makes its slot again: an orphan, though the inventory still has the standby.
	s.sql(t, "h1", "postgres", "select pg_create_physical_replication_slot('h3', true)")
	const drop = "pgrepctl slot drop h3 --on h1 --of h3"
	o.call("status", "--connect-timeout", "3s").exits(0).says("h3 orphan", "warning: h3: it was taken out of the cluster", "if nobody needs it: ", strings.TrimPrefix(drop, "pgrepctl "))
	o.call("slot", "list", "h1", "--sample", "0").exits(0).says("orphan of h3", strings.TrimPrefix(drop, "pgrepctl "))
	o.call(append(strings.Fields(drop)[1:], "--yes")...).exits(0)
	s.nothingLeftOf(t, "h3", "10.77.0.13")
	s.sql(t, "h1", "postgres", "checkpoint")
	if got := s.sql(t, "h1", "postgres", "select count(*) < 20 from pg_ls_waldir()"); got != "t" {
		t.Error("WAL is kept though nobody needs it")
	}
}

// retire takes a host out and returns the report.
func retire(t *testing.T, o *operator, name string, more ...string) engine.Report {
	t.Helper()
	var rep engine.Report
	o.call(append([]string{"standby", "retire", name, "--yes", "-o", "json"}, more...)...).exits(0).decode(&rep)
	return rep
}

// nothingLeftOf asserts that no server knows a host any more, and that it does not
// know the password.
func (s *site) nothingLeftOf(t *testing.T, name, address string) {
	t.Helper()
	if got := s.sql(t, "h1", "postgres", "select slot_name from pg_replication_slots where slot_name = '"+name+"' union all select application_name from pg_stat_replication where application_name = '"+name+"'"); got != "" {
		t.Errorf("h1 has a slot or a walsender: %s", got)
	}
	if got := s.at(t, "h1", "grep -n '"+address+"' $config/pg_hba.conf /home/admin/.ssh/authorized_keys || true"); got != "" {
		t.Errorf("left on h1: %s", got)
	}
	if got := s.sql(t, "h1", "postgres", "select line_number from pg_hba_file_rules where address = '"+address+"'"); got != "" {
		t.Errorf("h1 still lets it in: line %s", got)
	}
	status, err := s.lab.Status(context.Background())
	s.do(t, err)
	for _, h := range status {
		if h.Name == name && h.Power == "on" {
			if got := s.at(t, name, "grep -rlF '"+s.password(t)+"' /var/lib/postgresql/.pgrepctl /var/lib/postgresql/.pgpass /root /home 2>/dev/null || true"); got != "" {
				t.Errorf("the password is on %s in %s", name, got)
			}
		}
	}
	s.clean(t)
}

// runs are the operator's, the first one first.
func (o *operator) runs() []journal.Summary {
	o.t.Helper()
	var list struct{ Runs []journal.Summary }
	o.call("runs", "list", "-o", "json").exits(0).decode(&list)
	return list.Runs
}

// finished are the operator's runs of a plan, the last one first.
func (o *operator) finished(plan string) []string {
	o.t.Helper()
	var out []string
	for _, r := range o.runs() {
		if r.Run.Plan == plan {
			out = append([]string{r.ID}, out...)
		}
	}
	return out
}
