package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// reseed seeds a host again, and returns the report.
func reseed(t *testing.T, o *operator, name string, more ...string) engine.Report {
	t.Helper()
	var rep engine.Report
	o.call(append([]string{"standby", "reseed", name, "--yes", "-o", "json"}, more...)...).exits(0).decode(&rep)
	return rep
}

// stopServer stops the server of a host, in order.
func (s *site) stopServer(t *testing.T, name string) {
	t.Helper()
	s.at(t, name, "as $bin/pg_ctl -s -w -D $data -m fast stop")
}

// startServer starts it as its owner would.
func (s *site) startServer(t *testing.T, name string) {
	t.Helper()
	s.at(t, name, "if [ $layout = etc ]; then pg_ctlcluster $major main start >/dev/null; else as $bin/pg_ctl -s -w -D $data -l $log start >/dev/null; fi")
}

// damage overwrites pages of a stopped server, the files of commits among them, and
// gives each file the time that it had: size and time tell nothing.
func (s *site) damage(t *testing.T, name string, r *rand.Rand, pages int) {
	t.Helper()
	files := strings.Fields(s.at(t, name, `cd $data; find base global pg_xact pg_clog pg_multixact -type f -size +15 ! -name pg_control ! -name '*.init*' -printf '%p:%s\n' 2>/dev/null | sort || true`))
	if len(files) < 50 {
		t.Fatalf("%d files on %s", len(files), name)
	}
	var script strings.Builder
	script.WriteString("cd $data\n")
	for i := range pages {
		file, size, _ := strings.Cut(files[r.IntN(len(files))], ":")
		if i == 0 {
			for _, f := range files { // always one of the commits
				if strings.HasPrefix(f, "pg_xact/") || strings.HasPrefix(f, "pg_clog/") {
					file, size, _ = strings.Cut(f, ":")
				}
			}
		}
		n, err := strconv.Atoi(size)
		s.do(t, err)
		fmt.Fprintf(&script, "touch -r %s /tmp/was; head -c 8192 /dev/urandom | dd of=%s bs=8192 seek=%d conv=notrunc status=none; touch -r /tmp/was %s\n", file, file, r.IntN(n/8192), file)
	}
	script.WriteString("rm /tmp/was\n")
	s.at(t, name, script.String())
}

// TestReseedMendsPagesThatSizeAndTimeHide: N times pages of a standby are damaged, and
// each time every one is found.
func TestReseedMendsPagesThatSizeAndTimeHide(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	r := s.suite.seed(t)
	apply(t, o, "h2")
	o.call("standby", "reseed", "h2", "--yes").exits(6).says("nothing is wrong with it: it streams", "--force")
	for n := range *s.suite.flags.reseed {
		stop := s.load(t)
		s.stopServer(t, "h2")
		s.damage(t, "h2", r, 1+r.IntN(20))
		o.call("standby", "reseed", "h2", "--yes").exits(6).says("its server does not run", "--force")
		if n == 0 {
			var pre ui.Preview
			o.call("standby", "reseed", "h2", "--force", "--dry-run", "-o", "json").exits(0).decode(&pre)
			rep := reseed(t, o, "h2", "--force")
			if d := cmp.Diff(listed(pre), rep.Done); d != "" {
				t.Errorf("what the dry run listed and what the run did (-listed +did):\n%s", d)
			}
			o.call("runs", "undo", o.finished("reseed-standby")[0], "--yes").exits(6).says("cannot be undone", "overwritten")
		} else {
			reseed(t, o, "h2", "--force")
		}
		s.sameTables(t, "h2")
		stop()
		s.streams(t, "h2")
		s.undamaged(t, "h2")
		s.samePages(t, "h2")
		if t.Failed() {
			t.Fatalf("in cycle %d", n)
		}
	}
	s.passwordIsInThePassfileAlone(t, "h2")
}

// samePages compares the files of relations that nobody writes on either side: the
// catalogs of template0, to the byte.
func (s *site) samePages(t *testing.T, name string) {
	t.Helper()
	oid := s.sql(t, "h1", "postgres", "select oid from pg_database where datname = 'template0'")
	sums := "cd $data/base/" + oid + "; md5sum [0-9]* | sort"
	if d := cmp.Diff(s.at(t, "h1", sums), s.at(t, name, sums)); d != "" {
		t.Errorf("files of template0 (-h1 +%s):\n%s", name, d)
	}
}

// TestReseedOfAServerThatWasPromoted: it took writes of its own, and follows again
// without them.
func TestReseedOfAServerThatWasPromoted(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")
	s.caughtUp(t, "h2")
	timeline := s.timeline(t, "h1")
	s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data promote")
	s.sql(t, "h2", "bench", "create table only_here as select generate_series(1, 10000) n")
	s.sql(t, "h1", "bench", "update pgbench_accounts set abalance = abalance + 1")
	o.call("standby", "reseed", "h2", "--yes", "--force").exits(6).says("takes writes", "stop it by hand")
	s.stopServer(t, "h2")
	o.call("standby", "reseed", "h2", "--dry-run").exits(0).says(fmt.Sprintf("diverged: it is on timeline %d, which left timeline %d of h1 at", timeline+1, timeline), "pg_rewind", "point of no return")
	reseed(t, o, "h2")
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	if got := s.sql(t, "h2", "bench", "select to_regclass('only_here') is null"); got != "t" {
		t.Error("h2 has what only it wrote")
	}
	if got := s.at(t, "h2", fmt.Sprintf("cd $data; ls pg_wal | grep ^%08X || true", timeline+1)); got != "" {
		t.Errorf("WAL of the other history is left: %s", got)
	}
}

// TestReseedOfTheOldPrimary: it was promoted away from while it was cut off, and wrote on.
func TestReseedOfTheOldPrimary(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	for _, name := range []string{"h2", "h3"} {
		s.at(t, name, `echo "listen_addresses = '*'
wal_receiver_timeout = 3s" >>$config/postgresql.conf`)
		apply(t, o, name)
	}
	s.caughtUp(t, "h2")
	s.caughtUp(t, "h3")
	timeline := s.timeline(t, "h1")
	s.do(t, s.lab.Cut(context.Background(), "h1"))
	s.sql(t, "h1", "bench", "create table only_here as select generate_series(1, 10000) n")
	s.eventually(t, "both have noticed it", func() bool {
		return s.sql(t, "h2", "postgres", "select count(*) from pg_stat_wal_receiver where status = 'streaming'")+s.sql(t, "h3", "postgres", "select count(*) from pg_stat_wal_receiver where status = 'streaming'") == "00"
	})
	o.call("standby", "promote", "h2", "--primary-gone", "--yes").exits(0)
	s.do(t, s.lab.Heal(context.Background(), "h1"))
	o = o.with("h1: {address: 10.77.0.11, role: primary", "h1: {address: 10.77.0.11, role: standby", "h2: {address: 10.77.0.12, role: standby", "h2: {address: 10.77.0.12, role: primary")
	o.call("standby", "reseed", "h1", "--yes").exits(6).says("its server is a primary and takes writes")
	s.stopServer(t, "h1")
	o.call("standby", "reseed", "h1", "--dry-run").exits(0).says("it is no standby", "which h2 left at", fmt.Sprintf("for timeline %d", timeline+1), "pg_rewind")
	reseed(t, o, "h1")
	s.eventually(t, "both stream from h2", func() bool {
		return s.sql(t, "h2", "postgres", "select application_name, state from pg_stat_replication order by 1") == "h1|streaming\nh3|streaming"
	})
	if got := s.sql(t, "h1", "bench", "select to_regclass('only_here') is null"); got != "t" {
		t.Error("h1 has what only it wrote")
	}
	o.call("standby", "promote", "h1", "--stop-primary", "--yes").exits(0) // the site's first state
	s.at(t, "h1", "rm $data/backup_label.old")
}

// TestReseedAfterItsSlotWasLost: the slot is made anew, and the standby follows.
func TestReseedAfterItsSlotWasLost(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")
	s.loseSlot(t, "h2")
	s.startServer(t, "h2")
	o.call("status").says("has lost WAL that it needs", "to copy what differs, and make the slot anew")
	reseed(t, o, "h2")
	s.streams(t, "h2")
	s.sameTables(t, "h2")
}

// loseSlot stops a standby for so long that its slot gives up.
func (s *site) loseSlot(t *testing.T, name string) {
	t.Helper()
	s.stopServer(t, name)
	s.sql(t, "h1", "postgres", "alter system set max_slot_wal_keep_size = '1MB'")
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	s.eventually(t, "the slot is lost", func() bool {
		s.sql(t, "h1", "bench", "update pgbench_tellers set tbalance = tbalance + 1")
		s.sql(t, "h1", "postgres", "select pg_switch_wal()")
		s.sql(t, "h1", "postgres", "checkpoint")
		return s.sql(t, "h1", "postgres", "select wal_status from pg_replication_slots where slot_name = '"+name+"'") == "lost"
	})
	s.sql(t, "h1", "postgres", "alter system reset max_slot_wal_keep_size")
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
}

// TestReseedThatKeepsTheOldData: there must be room for both, and the old come back.
func TestReseedThatKeepsTheOldData(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	s.at(t, "h2", `echo "shared_buffers = 16MB" >>$config/postgresql.conf`)
	apply(t, o, "h2")
	s.stopServer(t, "h2")
	// Room for a server, and not for a second copy, however much WAL the first has kept.
	s.mounted(t, "h2", "${data%/*}", "1g")
	s.at(t, "h2", `fallocate -l $(df -PB1 ${data%/*} | awk 'NR == 2 {print $4 - 40 * 1048576}') ${data%/*}/ballast`)
	s.startServer(t, "h2")
	o.call("standby", "reseed", "h2", "--yes", "--force", "--keep-old").exits(6).says("are free", "are needed")
	s.streams(t, "h2")
	s.at(t, "h2", "rm ${data%/*}/ballast")
	inode := s.at(t, "h2", "stat -c %i $data")
	a := o.call("standby", "reseed", "h2", "--yes", "--force", "--keep-old").exits(0).says("the old data are kept", "rm -rf "+s.files.Data+".before-")
	s.sameTables(t, "h2")
	if now := s.at(t, "h2", "stat -c %i $data $data.before-*"); !strings.HasSuffix(now, "\n"+inode) || strings.HasPrefix(now, inode) {
		t.Errorf("inodes of the new and the old data: %s, was %s\n%s", now, inode, a.stderr)
	}
	o.call("runs", "undo", o.finished("reseed-standby")[0], "--yes").exits(0)
	if now := s.at(t, "h2", "stat -c %i $data; ls -d $data.before-* 2>/dev/null || true"); now != inode {
		t.Errorf("the old data are not back: %s, was %s", now, inode)
	}
	s.streams(t, "h2")
	reseed(t, o, "h2", "--force", "--wipe")
	s.streams(t, "h2")
	s.sameTables(t, "h2")
}

// TestReseedBrokenOffInTheCopyGoesOn: what came over the wire does not come again, but what
// was changed since then does, in a file of the same size.
func TestReseedBrokenOffInTheCopyGoesOn(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.sql(t, "h1", "bench", "create table ballast as select md5(n::text) || md5((n+1)::text) as x from generate_series(1, 200000) n")
	s.sql(t, "h1", "bench", "create table small as select n, md5(n::text) as x from generate_series(1, 20000) n")
	// Else autovacuum does it, in the midst of the copy, and they are other files.
	s.sql(t, "h1", "bench", "vacuum analyze ballast")
	s.sql(t, "h1", "bench", "vacuum analyze small")
	s.sql(t, "h1", "bench", "checkpoint")
	apply(t, o, "h2")
	received := func() int {
		n, err := strconv.Atoi(s.at(t, "h2", "cat /sys/class/net/eth0/statistics/rx_bytes"))
		s.do(t, err)
		return n
	}
	size := s.copiedBytes(t, "h2")
	before := received()
	s.do(t, s.lab.Slow(t.Context(), "h2", "20mbit"))
	c := o.start("standby", "reseed", "h2", "--force", "--wipe", "--yes", "--compress", "none")
	o.await(c, "the copy", 20*time.Millisecond, func() bool {
		sum, recs := o.records()
		return sum.Open() && slices.ContainsFunc(recs, func(r journal.Record) bool { return r.Type == journal.Intent && r.Effect == "copy" })
	})
	o.await(c, "most of the copy", 20*time.Millisecond, func() bool { return s.copiedBytes(t, "h2") > size*84/100 })
	t.Logf("at the cut: received %d, there %d", received()-before, s.copiedBytes(t, "h2"))
	s.do(t, s.lab.Cut(t.Context(), "h2"))
	if a := c.wait(); a.code == 0 {
		t.Fatal("it came to its end")
	}
	first := received() - before
	s.do(t, s.lab.Heal(t.Context(), "h2"))
	s.fullSpeed(t)
	s.cannotStart(t, "h2")
	id := o.runID()
	data := s.at(t, "h1", "echo $data")
	if _, recs := o.records(); !slices.ContainsFunc(recs, func(r journal.Record) bool { return r.Type == journal.Note && r.Output["copying-since.h1:"+data] != "" }) {
		t.Error("nobody noted when the copy began")
	}
	// Before the backup of the resume begins, so no WAL brings it.
	s.sql(t, "h1", "bench", "delete from small where n % 7 = 0")
	s.sql(t, "h1", "bench", "checkpoint")
	there := s.copiedBytes(t, "h2")
	t.Logf("of %d bytes there are %d", size, there)
	middle := received()
	o.call("runs", "resume", id, "--yes").exits(0)
	second := received() - middle
	// What was missing, and the WAL that was streamed: the file that the end of a backup
	// closes, and more on a slow machine. Both with the headers of the link.
	label := s.at(t, "h2", `sed -n 's/^START WAL LOCATION: \([^ ]*\) .*/\1/p' $data/backup_label.old`)
	wal, err := strconv.Atoi(s.sql(t, "h2", "postgres", "select (pg_last_wal_receive_lsn() - '"+label+"') + ('"+label+"'::pg_lsn - '0/0') % (16 * 1024 * 1024)"))
	s.do(t, err)
	again := (float64(second) - 1.06*float64(size-there+wal) - 1<<20) / float64(size)
	t.Logf("until the break %d bytes, after it %d, of which %d WAL: %.2f %% again", first, second, wal, 100*again)
	if again > 0.03 {
		t.Errorf("%.1f %% of the bytes came twice", 100*again)
	}
	s.streams(t, "h2")
	if n := s.sql(t, "h2", "bench", "select count(*) from small"); n != "17143" {
		t.Errorf("of small h2 has %s rows: what was deleted after the break is there", n)
	}
	s.sql(t, "h1", "bench", "drop table ballast, small")
	s.sameTables(t, "h2")
}

// copiedBytes are those of a data directory that a copy brings.
func (s *site) copiedBytes(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(s.at(t, name, "du -sb --exclude=pg_wal $data 2>/dev/null | cut -f1 | grep . || echo 0"))
	s.do(t, err)
	return n
}

// TestReseedOnPostgreSQL11: recovery.conf makes the standby, and pg_clog is not far.
func TestReseedOnPostgreSQL11(t *testing.T) {
	ownHosts(t)
	s := newSite(shared, etc, 2, "re11")
	s.major = "11"
	began := time.Now()
	defer func() { summary(t, began) }()
	s.do(t, s.ready(context.Background()))
	defer func() { s.do(t, s.lab.Down(context.Background())) }()
	o := newOperator(t, s)
	s.directories(t)
	s.tablespace(t)
	apply(t, o, "h2")
	s.stopServer(t, "h2")
	s.damage(t, "h2", s.suite.seed(t), 10)
	stop := s.load(t)
	reseed(t, o, "h2", "--force")
	s.sameTables(t, "h2")
	stop()
	s.streams(t, "h2")
	s.inTablespace(t, "h2")
	s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data promote")
	s.sql(t, "h2", "bench", "create table only_here as select generate_series(1, 10000) n")
	s.stopServer(t, "h2")
	reseed(t, o, "h2")
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	if got := s.sql(t, "h2", "bench", "select to_regclass('only_here') is null"); got != "t" {
		t.Error("h2 has what only it wrote")
	}
	reseed(t, o, "h2", "--force", "--keep-old")
	s.streams(t, "h2")
	s.inTablespace(t, "h2")
	o.call("runs", "undo", o.finished("reseed-standby")[0], "--yes").exits(0)
	s.streams(t, "h2")
	s.inTablespace(t, "h2")
	s.sameTables(t, "h2")
}
