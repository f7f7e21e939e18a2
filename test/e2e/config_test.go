package e2e

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

func TestHBARuleIsPlacedBeforeTheOneThatWouldRejectIt(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	// Spellings and line ends that an editor must keep.
	s.at(t, "h1", `printf 'host replication all 10.77.0.0 255.255.255.0 reject # keep out\r\nhostssl replication replicator samenet reject\n\n\t# last\n' > /tmp/top
cat /tmp/top $config/pg_hba.conf > /tmp/all; cat /tmp/all > $config/pg_hba.conf; rm /tmp/top /tmp/all
as psql -XAtqc "select pg_reload_conf()" >/dev/null`)
	was := s.before(t, lenient)
	before := s.at(t, "h1", "cat $config/pg_hba.conf")
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("before line 1", "reject")
	s.streams(t, "h2")
	after := s.at(t, "h1", "cat $config/pg_hba.conf")
	if first, rest, _ := strings.Cut(after, "\n"); !strings.HasPrefix(first, "hostssl") || !strings.Contains(first, "10.77.0.12/32") || rest != before {
		t.Errorf("pg_hba.conf:\n%s", after[:300])
	}
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	s.unchanged(t, was, lenient)
}

// The file says that the standby may log in, the server has not read it: only a
// real login tells.
func TestLoginIsProvedAgainstTheServerNotTheFile(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.at(t, "h1", `cp $config/pg_hba.conf /tmp/good
echo 'hostssl replication replicator 10.77.0.12/32 scram-sha-256' >> /tmp/good
{ echo 'host replication all all reject'; cat /tmp/good; } > $config/pg_hba.conf
as psql -XAtqc "select pg_reload_conf()" >/dev/null
until as psql -XAtq "host=127.0.0.1 dbname=postgres replication=true" -c IDENTIFY_SYSTEM 2>&1 | grep -q "rejects replication"; do sleep 0.02; done
cat /tmp/good > $config/pg_hba.conf; rm /tmp/good`)
	was := s.before(t, lenient)
	o.call("standby", "bootstrap", "h2", "--yes").exits(4).says("h2", "log in for replication to h1", "pg_hba.conf", "state:", "runs resume "+o.runID(), "runs undo "+o.runID())
	if data := s.at(t, "h2", "ls -A $data 2>/dev/null || true"); data != "" {
		t.Errorf("it copied without access:\n%s", data)
	}
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	s.unchanged(t, was, lenient)
	// With the cause gone the same command does it.
	s.at(t, "h1", `as psql -XAtqc "select pg_reload_conf()" >/dev/null`)
	o.call("standby", "bootstrap", "h2", "--yes").exits(0)
	s.streams(t, "h2")
}

func TestSettingThatTheServerRefusesIsPutBackByteForByte(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s).with("service:", "settings: {log_timezone: Nowhere/City}\n  service:")
	conf := s.at(t, "h1", "cat $config/postgresql.conf")
	was := s.before(t, lenient)
	o.call("standby", "bootstrap", "h2", "--yes").exits(1).says("h1", "postgresql.conf", "log_timezone", "put back byte for byte", "runs undo")
	if now := s.at(t, "h1", "cat $config/postgresql.conf"); now != conf {
		t.Error("postgresql.conf is not as before")
	}
	if got := s.sql(t, "h1", "postgres", "select count(*) from pg_file_settings where error is not null"); got != "0" {
		t.Errorf("%s bad settings are left", got)
	}
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	s.unchanged(t, was, lenient)
}

func TestFailureCanUndoItself(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s).with("service:", "settings: {log_timezone: Nowhere/City}\n  service:")
	was := s.before(t, lenient)
	o.call("standby", "bootstrap", "h2", "--yes", "--on-failure", "undo").exits(9).says("log_timezone", "was undone")
	s.unchanged(t, was, lenient)
	if sum, _ := o.records(); sum.Status != journal.UndoneRun {
		t.Errorf("the run is %s", sum.Status)
	}
}

func TestInventorySettingsReachBothServersAndUndoTakesThemBack(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s).with("service:", "settings: {work_mem: 9MB}\n  service:")
	was := s.before(t, lenient)
	apply(t, o, "h2")
	for _, h := range []string{"h1", "h2"} {
		if got := s.sql(t, h, "postgres", "show work_mem"); got != "9MB" {
			t.Errorf("%s: work_mem = %s", h, got)
		}
	}
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	s.unchanged(t, was, lenient)
}

func TestFileThatSomebodyElseEditsMeanwhileIsLeftToThem(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	apply(t, o, "h2")
	s.at(t, "h1", "echo '# by hand' >> $config/pg_hba.conf")
	hba := s.at(t, "h1", "cat $config/pg_hba.conf")
	o.call("runs", "undo", o.runID(), "--yes").exits(6).says("pg_hba.conf", "somebody else changed it", "hint:")
	if now := s.at(t, "h1", "cat $config/pg_hba.conf"); now != hba {
		t.Error("the other one's edit is lost")
	}
	s.clean(t)
}
