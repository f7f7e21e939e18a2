package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// sizeOf is how much of a file of the data directory is on a host.
func (s *site) sizeOf(t *testing.T, name, file string) int {
	t.Helper()
	n, err := strconv.Atoi(s.at(t, name, "stat -c %s $data/"+file+" 2>/dev/null || echo 0"))
	s.do(t, err)
	return n
}

// PostgreSQL cuts the file of a table that is truncated at once, also under the hands of a
// sender that is reading it. Tablespaces come and go meanwhile.
func TestWhatIsTruncatedMadeAndDroppedWhileItIsCopiedIsNoFailure(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	for _, name := range []string{"h1", "h2"} {
		s.at(t, name, "mkdir -m 755 /ts; install -d -o postgres -g postgres -m 700 /ts/before /ts/meanwhile")
	}
	s.sql(t, "h1", "postgres", "create database bulk")
	s.sql(t, "h1", "postgres", "create tablespace before location '/ts/before'")
	t.Cleanup(func() {
		s.sql(t, "h1", "postgres", "drop database bulk")
		s.sql(t, "h1", "postgres", "drop tablespace meanwhile")
	})
	s.sql(t, "h1", "bulk", "create table long as select g, md5(g::text) from generate_series(1, 2000000) g; create table short tablespace before as select 1 as a")
	s.sql(t, "h1", "bulk", "checkpoint")
	file := s.sql(t, "h1", "bulk", "select pg_relation_filepath('long')")
	s.do(t, s.lab.Slow(t.Context(), "h2", "100mbit"))
	c := o.start("standby", "bootstrap", "h2", "--yes", "--streams", "1")
	o.await(c, "a part of the table", 10*time.Millisecond, func() bool { return s.sizeOf(t, "h2", file) > 8<<20 })
	if n := s.sizeOf(t, "h2", file); n > 80<<20 {
		t.Fatalf("it is late: %d bytes are there", n)
	}
	s.sql(t, "h1", "bulk", "truncate long")
	s.sql(t, "h1", "bulk", "insert into long select g, 'after' from generate_series(1, 1000) g")
	s.sql(t, "h1", "bulk", "drop table short")
	s.sql(t, "h1", "postgres", "drop tablespace before")
	s.sql(t, "h1", "postgres", "create tablespace meanwhile location '/ts/meanwhile'")
	s.sql(t, "h1", "bulk", "create table there tablespace meanwhile as select g from generate_series(1, 1000) g")
	s.fullSpeed(t)
	c.wait().exits(0).says("files were cut short while they were copied")
	s.streams(t, "h2")
	s.caughtUp(t, "h2")
	if h1, h2 := s.counted(t, "h1"), s.counted(t, "h2"); h1 != h2 || !strings.Contains(h1, " 1000") {
		t.Errorf("h1:\n%s\nh2:\n%s", h1, h2)
	}
	s.undamaged(t, "h2")
	s.logIsFreeOfFatal(t, "h2")
}

// The two hosts do not reach each other for a while; the tool reaches both.
func TestLinkBetweenTheHostsThatIsCutInTheCopyIsTriedAgain(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	c := s.copying(t, o)
	s.do(t, s.lab.Part(t.Context(), "h1", "h2"))
	o.await(c, "an end of the copy's connection", 200*time.Millisecond, func() bool { return strings.Contains(c.stdout.String()+c.stderr.String(), "rsync broke") })
	s.do(t, s.lab.Join(t.Context()))
	s.fullSpeed(t)
	c.wait().exits(0).says("rsync broke, exit status 255", "not responding", "try 1 of 3")
	_, recs := o.records()
	backups := 0
	for _, r := range recs {
		if r.Type == journal.Intent && r.Effect == "start-backup" {
			backups++
		}
	}
	if backups != 1 {
		t.Errorf("%d backups", backups)
	}
	s.streams(t, "h2")
	s.sameTables(t, "h2")
}

// The limit of slots is reached in the middle of the copy: hours of more of it would be
// for nothing.
func TestSlotThatIsLostInTheCopyEndsItAndAResumeGoesOn(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	set := func(to string) {
		s.sql(t, "h1", "postgres", "alter system "+to)
		s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	}
	t.Cleanup(func() { set("reset max_slot_wal_keep_size") })
	s.do(t, s.lab.Slow(t.Context(), "h2", "4mbit"))
	c := o.start("standby", "bootstrap", "h2", "--yes")
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 1<<20 })
	set("set max_slot_wal_keep_size = '1MB'")
	for n := 0; alive(c.cmd.Process.Pid); n++ {
		if n > 200 {
			t.Fatal("it copies on")
		}
		s.sql(t, "h1", "postgres", fmt.Sprintf("select pg_logical_emit_message(false, 'x', repeat('x', 1000000)), pg_switch_wal(), %d", n))
		s.sql(t, "h1", "postgres", "checkpoint")
	}
	c.wait().exits(1).says("max_slot_wal_keep_size", "runs resume "+o.runID())
	s.cannotStart(t, "h2")
	set("reset max_slot_wal_keep_size")
	s.fullSpeed(t)
	o.call("runs", "resume", o.runID(), "--yes").exits(0)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
}

// Without slots the primary removes the WAL that the copy began with: what would be copied
// after that could never start.
func TestWALThatIsRemovedInTheCopyEndsItAndAResumeGoesOn(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s).with("  user: replicator\n", "  user: replicator\n  slots: false\n")
	s.do(t, s.lab.Slow(t.Context(), "h2", "4mbit"))
	o.call("standby", "bootstrap", "h2", "--dry-run").exits(0).says("gives up when h1 has removed the WAL that the copy began with")
	c := o.start("standby", "bootstrap", "h2", "--yes")
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 1<<20 })
	for range 4 {
		s.sql(t, "h1", "postgres", "select pg_logical_emit_message(false, 'x', repeat('x', 1000000)), pg_switch_wal()")
		s.sql(t, "h1", "postgres", "checkpoint")
	}
	c.wait().exits(1).says("it has removed the WAL that this copy began with", "neither a slot nor an archive", "runs resume "+o.runID())
	s.cannotStart(t, "h2")
	s.fullSpeed(t)
	o.call("runs", "resume", o.runID(), "--yes").exits(0)
	s.sameTables(t, "h2")
}
