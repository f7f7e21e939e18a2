package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/status"
)

// cascade puts h3 below h2.
func cascade(o *operator) *operator {
	return o.with("10.77.0.12, role: standby}", "10.77.0.12, role: standby, postgres: {settings: {listen_addresses: '*'}}}",
		"10.77.0.13, role: standby}", "10.77.0.13, role: standby, upstream: h2}")
}

// senders are the walsenders of a host.
func (s *site) senders(t *testing.T, name string) string {
	t.Helper()
	return s.sql(t, name, "postgres", "select string_agg(application_name || '|' || state, ',' order by 1) from pg_stat_replication")
}

func TestACascadedStandbyIsCopiedFromItsUpstreamAndFollowsIt(t *testing.T) {
	s := take(t, etc)
	o := cascade(newOperator(t, s))
	apply(t, o, "h2")
	s.eventually(t, "h2 streams", func() bool { return s.senders(t, "h1") == "h2|streaming" })
	// The day that h2 is the primary, h1 and h3 stream from it.
	rules := s.at(t, "h2", "grep replicator $config/pg_hba.conf")
	for _, a := range []string{"10.77.0.11/32", "10.77.0.13/32"} {
		if strings.Count(rules, a) != 1 {
			t.Errorf("rules for %s in:\n%s", a, rules)
		}
	}
	was := s.before(t, lenient)
	stop := s.load(t)
	apply(t, o, "h3")
	s.sameTables(t, "h3")
	stop()
	if got := s.senders(t, "h1") + " " + s.senders(t, "h2"); got != "h2|streaming h3|streaming" {
		t.Errorf("walsenders of h1 and h2: %s", got)
	}
	if got := s.sql(t, "h2", "postgres", "select slot_name, active from pg_replication_slots"); got != "h3|t" {
		t.Errorf("slots on h2: %s", got)
	}
	if got := s.at(t, "h3", "head -n 4 $data/backup_label.old"); !strings.Contains(got, "BACKUP FROM: standby") {
		t.Errorf("backup label: %s", got)
	}
	s.undamaged(t, "h3")

	s.at(t, "h2", "pg_ctlcluster $major main restart -m fast")
	s.sql(t, "h1", "bench", "update pgbench_branches set bbalance = bbalance + 1")
	s.sameTables(t, "h3")
	s.eventually(t, "h3 streams from h2 again", func() bool { return s.senders(t, "h2") == "h3|streaming" })
	// The walreceiver's FATALs while its upstream was away do not count.
	if bad := s.at(t, "h3", `grep PANIC $log || true`); bad != "" {
		t.Errorf("log of h3:\n%s", bad)
	}

	o.call("runs", "undo", o.lastRun(), "--yes").exits(0).says("undone")
	s.unchanged(t, was, lenient)
}

// Each archive of a standby is its own here. Names of directories may have
// anything that a file system allows.
const (
	archives = `
archive:
- directory: "/var/lib/postgresql/100% of WAL's $(place)"
  shared: false
  create: true
- {directory: /var/lib/postgresql/%f, shared: false, create: true}
hosts:`
	archiveOne = `"/var/lib/postgresql/100% of WAL's \$(place)"`
	archiveTwo = `/var/lib/postgresql/%f`
)

func TestAStandbyReplaysLateCatchesUpFromAnArchiveAndIsWaitedFor(t *testing.T) {
	s := take(t, etc)
	plain := newOperator(t, s).with("\nhosts:", archives)
	late := newOperator(t, s).with("\nhosts:", archives, "10.77.0.12, role: standby}", "10.77.0.12, role: standby, apply_delay: 2h, traffic: none}")
	s.late(t, late)
	// A delay that is taken away ends at once.
	apply(t, plain, "h2")
	s.streams(t, "h2")
	s.fromArchive(t, plain)
	s.at(t, "h2", "pg_ctlcluster $major main stop -m fast; find $data -mindepth 1 -delete; rm -r "+archiveOne+" "+archiveTwo)
	s.sql(t, "h1", "postgres", "select pg_drop_replication_slot('h2')")
	s.waitedFor(t, newOperator(t, s).with("10.77.0.12, role: standby}", "10.77.0.12, role: standby, synchronous: true}"))
}

// late bootstraps h2 two hours late, under load and with an archive.
func (s *site) late(t *testing.T, o *operator) {
	stop := s.load(t)
	apply(t, o, "h2")
	stop()
	s.sql(t, "h1", "postgres", "create table late (i int)")
	at := s.sql(t, "h1", "postgres", "select pg_current_wal_lsn()")
	s.eventually(t, "h2 receives what it shall not replay", func() bool {
		return s.sql(t, "h2", "postgres", "select pg_last_wal_receive_lsn() >= '"+at+"'") == "t"
	})
	if got := s.sql(t, "h2", "postgres", "select to_regclass('late') is null, current_setting('recovery_min_apply_delay')"); got != "t|2h" {
		t.Errorf("on h2: %s", got)
	}
	s.eventually(t, "status tells of the delay, and of nothing bad", func() bool {
		h2 := o.status(t).Hosts[1]
		return h2.State == status.Streaming && hasNote(h2, "delayed") && h2.Worst() == status.Info
	})
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
	// After a restart it asks for nothing until it has replayed what it has.
	s.at(t, "h2", "pg_ctlcluster $major main restart -m fast")
	s.eventually(t, "status tells why it receives nothing", func() bool {
		h2 := o.status(t).Hosts[1]
		return hasNote(h2, "replays-its-own") && h2.Worst() == status.Warning
	})
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do", "replays what it has")
}

func hasNote(r status.Row, id string) bool {
	return slices.ContainsFunc(r.Notes, func(n status.Note) bool { return n.ID == id })
}

// fromArchive takes the slot and the WAL away from a standby that is stopped.
func (s *site) fromArchive(t *testing.T, o *operator) {
	first := s.sql(t, "h1", "postgres", "select pg_walfile_name(pg_current_wal_lsn())")
	s.at(t, "h2", "pg_ctlcluster $major main stop -m fast")
	s.sql(t, "h1", "postgres", "select pg_drop_replication_slot('h2')")
	for i := range 3 {
		ended := s.sql(t, "h1", "postgres", "insert into late select generate_series(1, 1000);\nselect pg_walfile_name(pg_switch_wal())")
		// The archiver of the primary: to one archive, and the other.
		to := archiveOne
		if i == 1 {
			to = archiveTwo
		}
		for _, name := range strings.Fields(s.sql(t, "h1", "postgres", "select name from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$' and name between '"+first+"' and '"+ended+"'")) {
			packed := s.at(t, "h1", "gzip -c $data/pg_wal/"+name+" | base64")
			s.at(t, "h2", "cd "+to+"; base64 -d <<'E2E' | gunzip >"+name+"\n"+packed+"\nE2E\nchown postgres: "+name)
		}
		s.sql(t, "h1", "postgres", "checkpoint")
	}
	o.call("standby", "bootstrap", "h2", "--yes").exits(0)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	if got := s.sql(t, "h2", "postgres", "select count(*) from late"); got != "3000" {
		t.Errorf("%s rows of 3000", got)
	}
	s.sql(t, "h1", "postgres", "drop table late")
	if got := s.at(t, "h2", `grep -c 'restored log file' $log`); got == "0" {
		t.Errorf("%s files came from the archive", got)
	}
}

// waitedFor bootstraps h2 as a synchronous standby and takes it back, and commits
// on h1 never stop.
func (s *site) waitedFor(t *testing.T, o *operator) {
	stop := s.load(t)
	apply(t, o, "h2")
	s.eventually(t, "commits wait for h2", func() bool {
		return s.sql(t, "h1", "postgres", "select current_setting('synchronous_standby_names'), sync_state from pg_stat_replication") == "FIRST 1 (h2)|sync"
	})
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
	o.call("runs", "undo", o.lastRun(), "--yes").exits(0).says("undone")
	stop()
	if got := s.sql(t, "h1", "postgres", "show synchronous_standby_names"); got != "" {
		t.Errorf("after the undo: %s", got)
	}
}
