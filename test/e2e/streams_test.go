package e2e

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// bulk gives h1 a database of some hundred MB, a part of it in the tablespace.
func (s *site) bulk(t *testing.T) {
	t.Helper()
	s.sql(t, "h1", "postgres", "create database bulk")
	t.Cleanup(func() { s.sql(t, "h1", "postgres", "drop database bulk") })
	for _, in := range []string{"pg_default", "pg_default", "pg_default", "fast"} {
		s.sql(t, "h1", "bulk", "create table t"+strconv.FormatInt(time.Now().UnixNano(), 10)+" tablespace "+in+" as select g, md5(g::text) from generate_series(1, 600000) g")
	}
}

// churn makes, fills, shrinks and drops relations and databases on h1 until stop.
func (s *site) churn(t *testing.T) (stop func()) {
	t.Helper()
	ended := make(chan error, 1)
	var out buffer
	go func() {
		ended <- s.lab.Run(context.Background(), "h1", []string{"sh", "-c", asPostgres + `cd /; n=1; while [ ! -e /tmp/settle ]; do n=$((n + 1))
as psql -Xqv ON_ERROR_STOP=1 -d bulk <<SQL || exit 1
create table a$n as select g, md5(g::text) from generate_series(1, 20000) g;
create index on a$n (g);
create table b$n tablespace fast as select g, repeat('x', 500) from generate_series(1, 5000) g;
insert into a$n select g, 'more' from generate_series(1, 20000) g;
delete from b$n where g > 100; vacuum b$n;
truncate a$n;
drop table if exists a$((n - 2)), b$((n - 2));
SQL
as psql -Xqv ON_ERROR_STOP=1 -d postgres -c "create database c$n" -c "drop database if exists c$((n - 1))" || exit 1
done; as psql -Xqc "drop database c$n"`}, host.Stdio{Out: &out, Err: &out})
	}()
	return func() {
		t.Helper()
		s.at(t, "h1", "touch /tmp/settle")
		if err := <-ended; err != nil {
			t.Errorf("it stopped making tables: %v\n%s", err, out.String())
		}
	}
}

// counted hashes every table of a database, as sameTables does of bench.
func (s *site) counted(t *testing.T, name string) string {
	t.Helper()
	return s.hashed(t, name, "bulk")
}

func (s *site) rsyncs(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(s.at(t, name, "pgrep -cx ssh || true"))
	s.do(t, err)
	return n
}

func TestStreamsUnderLoadMakeAnEqualStandby(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	s.directories(t)
	s.tablespace(t)
	s.bulk(t)
	s.do(t, s.lab.Slow(t.Context(), "h2", "400mbit"))
	stop, settle := s.load(t), s.churn(t)
	c := o.start("standby", "bootstrap", "h2", "--yes", "-o", "json", "--streams", "3", "--commit-limit", "none")
	most := 0
	o.await(c, "three streams at a time", 20*time.Millisecond, func() bool { most = max(most, s.rsyncs(t, "h2")); return most >= 3 })
	// What churns may write more than this link carries: its standby would never catch up.
	o.await(c, "the end of the copy", 20*time.Millisecond, func() bool {
		return s.at(t, "h2", "test ! -e $data/global/pg_control || echo ended") != ""
	})
	s.fullSpeed(t)
	a := c.wait().exits(0)
	var rep engine.Report
	a.decode(&rep)
	if n := rep.Outputs["copy.streams."+s.files.Data[strings.LastIndex(s.files.Data, "/")+1:]]; n != "3" {
		t.Errorf("outputs: %v", rep.Outputs)
	}
	s.sameTables(t, "h2")
	stop()
	settle()
	s.streams(t, "h2")
	s.inTablespace(t, "h2")
	s.undamaged(t, "h2")
	s.caughtUp(t, "h2")
	if h1, h2 := s.counted(t, "h1"), s.counted(t, "h2"); h1 != h2 || !strings.Contains(h1, " 600000") {
		t.Errorf("h1:\n%s\nh2:\n%s", h1, h2)
	}
	s.logIsFreeOfFatal(t, "h2")
}

func TestBrokenStreamIsTriedAgainUnderTheSameBackup(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	s.directories(t)
	s.tablespace(t)
	s.bulk(t)
	s.do(t, s.lab.Slow(t.Context(), "h2", "100mbit"))
	c := o.start("standby", "bootstrap", "h2", "--yes", "--streams", "3")
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 20<<20 })
	if s.rsyncs(t, "h2") < 2 {
		t.Error("there is one stream only")
	}
	s.at(t, "h2", "kill -KILL $(pgrep -x rsync | head -n 1)")
	s.eventually(t, "the stream is missing", func() bool { return s.rsyncs(t, "h2") < 3 })
	s.fullSpeed(t)
	c.wait().exits(0).says("rsync broke", "try 1 of 3")
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
	s.sameTables(t, "h2")
	s.caughtUp(t, "h2")
	if h1, h2 := s.counted(t, "h1"), s.counted(t, "h2"); h1 != h2 {
		t.Errorf("h1:\n%s\nh2:\n%s", h1, h2)
	}
	s.undamaged(t, "h2")
}

func TestLimitOfTheCopyHoldsForAllStreamsTogether(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	const limit = 6 << 20
	s.at(t, "h2", "cat /sys/class/net/eth0/statistics/rx_bytes >/tmp/rx")
	var rep engine.Report
	o.call("standby", "bootstrap", "h2", "--yes", "-o", "json", "--streams", "2", "--bwlimit", "6MB").exits(0).decode(&rep)
	n, err := strconv.Atoi(s.at(t, "h2", "echo $(($(cat /sys/class/net/eth0/statistics/rx_bytes) - $(cat /tmp/rx)))"))
	s.do(t, err)
	// Not of the copy is what it has streamed since: a backup ends with a new WAL file.
	wal, err := strconv.Atoi(s.sql(t, "h2", "postgres", "select pg_wal_lsn_diff(written_lsn, receive_start_lsn)::bigint from pg_stat_wal_receiver"))
	s.do(t, err)
	n -= wal
	took, err := strconv.ParseFloat(rep.Outputs["copy.seconds.data"], 64)
	s.do(t, err)
	if rate := float64(n) / took; rate > 1.2*limit || rate < limit/4 {
		t.Errorf("%d bytes in %.1f s: %.1f MB/s", n, took, rate/(1<<20))
	}
	s.streams(t, "h2")
}

func TestCopyIsHeldWhileCommitsTakeTooLong(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.do(t, s.lab.Slow(t.Context(), "h2", "100mbit")) // until it is seen to be held
	stop := s.load(t)
	c := o.start("standby", "bootstrap", "h2", "--yes", "-o", "json", "--streams", "2", "--commit-limit", "1us")
	o.await(c, "a held rsync", 20*time.Millisecond, func() bool {
		return s.at(t, "h2", `for p in $(pgrep -x rsync); do cut -d' ' -f3 /proc/$p/stat 2>/dev/null; done | grep -c T || true`) != "0"
	})
	stop() // and the copy goes on, as when others are done with their work
	s.fullSpeed(t)
	a := c.wait().exits(0)
	said := false
	for line := range strings.Lines(a.stderr) {
		var e event.Event
		if json.Unmarshal([]byte(line), &e) == nil && e.Progress != nil && strings.HasPrefix(e.Progress.Note, "slowed down by ") {
			said = true
		}
	}
	if !said || !strings.Contains(a.stderr, "before the copy, which slows down") {
		t.Errorf("it did not say so:\n%s", a.stderr)
	}
	s.sameTables(t, "h2")
	s.streams(t, "h2")
}
