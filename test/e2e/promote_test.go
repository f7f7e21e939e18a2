package e2e

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// TestPromotionLosesNothingAndCanBeTakenThereAndBack: h2 becomes the primary and h1
// its standby, under load; then all the way back, with an operator who dies on it.
func TestPromotionLosesNothingAndCanBeTakenThereAndBack(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	for _, name := range []string{"h2", "h3"} {
		s.at(t, name, `echo "listen_addresses = '*'" >>$config/postgresql.conf`)
		apply(t, o, name)
	}
	l := s.ledger(t)
	was, timeline := s.before(t, lenient), s.timeline(t, "h1")
	o.call("standby", "promote", "h2", "--yes").exits(6).says("two primaries", "--stop-primary")
	o.call("standby", "promote", "h2", "--yes", "--primary-gone").exits(6).says("it streams from h1")
	s.unchanged(t, was, lenient)

	var pre ui.Preview
	o.call("standby", "promote", "h2", "--stop-primary", "--dry-run", "-o", "json").exits(0).decode(&pre)
	var rep engine.Report
	a := o.call("standby", "promote", "h2", "--stop-primary", "--yes", "-o", "json").exits(0).says("role: primary for h2", "role: standby for h1")
	a.decode(&rep)
	if d := cmp.Diff(listed(pre), rep.Done); d != "" {
		t.Errorf("what the dry run listed and what the run did (-listed +did):\n%s", d)
	}
	s.isPrimary(t, "h2", "h3", timeline+1)
	if lost := l.missing(t, "h2"); len(lost) > 0 {
		t.Errorf("h2 has not the acknowledged commits %v", lost)
	}
	if got := s.at(t, "h1", "ls $data/standby.signal; pgrep -x postgres || true"); got != s.files.Data+"/standby.signal" {
		t.Errorf("h1 is not stopped and fenced: %s", got)
	}
	o.call("standby", "promote", "h2", "--stop-primary", "--yes").exits(0).says("nothing to do")
	o.call("runs", "undo", o.finished("promote-standby")[0], "--yes").exits(6).says("cannot be undone")

	o = o.with("h1: {address: 10.77.0.11, role: primary", "h1: {address: 10.77.0.11, role: standby", "h2: {address: 10.77.0.12, role: standby", "h2: {address: 10.77.0.12, role: primary")
	apply(t, o, "h1")
	s.eventually(t, "both stream from h2", func() bool {
		return s.sql(t, "h2", "postgres", "select application_name, state from pg_stat_replication order by 1") == "h1|streaming\nh3|streaming"
	})

	// The slots that its standbys had on h1 would keep WAL there for ever.
	o.call("slot", "prune", "--on", "h1", "--yes").exits(0)
	if got := s.sql(t, "h1", "postgres", "select count(*) from pg_replication_slots"); got != "0" {
		t.Errorf("%s slots on h1", got)
	}

	// And back. The operator dies when h2 has just been stopped, and a colleague who
	// knows nothing of it goes on.
	c := o.start("standby", "promote", "h1", "--stop-primary", "--yes")
	o.await(c, "the stop of h2", time.Millisecond, func() bool {
		sum, recs := o.records()
		return sum.Open() && slices.ContainsFunc(recs, func(r journal.Record) bool { return r.Type == journal.Done && r.Effect == "service" })
	})
	c.kill()
	colleague := newOperator(t, s)
	colleague.inventory = o.inventory
	colleague.insist("runs", "resume", o.runID(), "--yes").exits(0)
	s.isPrimary(t, "h1", "h3", timeline+2)
	if lost := l.missing(t, "h1"); len(lost) > 0 {
		t.Errorf("h1 has not the acknowledged commits %v", lost)
	}
	if got := s.sql(t, "h1", "postgres", "select slot_name, active from pg_replication_slots"); got != "h3|t" {
		t.Errorf("slots on h1: %s", got)
	}
}

// isPrimary asserts that a host takes writes and that another follows its timeline.
func (s *site) isPrimary(t *testing.T, name, follows string, timeline int) {
	t.Helper()
	s.sql(t, name, "bench", "create table written_on_"+name+" (n int)")
	s.eventually(t, follows+" streams from "+name, func() bool {
		return s.sql(t, name, "postgres", "select state from pg_stat_replication where application_name = '"+follows+"'") == "streaming"
	})
	s.eventually(t, follows+" has what was written", func() bool {
		return s.sql(t, follows, "bench", "select to_regclass('written_on_"+name+"') is not null") == "t"
	})
	if got := s.sql(t, follows, "postgres", "select received_tli from pg_stat_wal_receiver"); got != strconv.Itoa(timeline) {
		t.Errorf("%s follows timeline %s, want %d", follows, got, timeline)
	}
	s.sql(t, name, "bench", "drop table written_on_"+name)
}

// timeline is that of a primary: the tests before this one on the same hosts may have
// promoted, too.
func (s *site) timeline(t *testing.T, primary string) int {
	t.Helper()
	name := s.sql(t, primary, "postgres", "select pg_walfile_name(pg_current_wal_lsn())")
	n, err := strconv.ParseInt(name[:8], 16, 32)
	s.do(t, err)
	return int(n)
}
