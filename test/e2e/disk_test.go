package e2e

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// mounted puts a small memory file system over a directory of a host, with what
// the directory held.
func (s *site) mounted(t *testing.T, name, dir, size string) {
	t.Helper()
	s.at(t, name, `mkdir /tmp/kept; cp -a `+dir+`/. /tmp/kept/
mount -t tmpfs -o size=`+size+`,mode=700,uid=postgres,gid=postgres tmpfs `+dir+`
cp -a /tmp/kept/. `+dir+`/; rm -r /tmp/kept`)
}

func (s *site) grow(t *testing.T, name, dir, size string) {
	t.Helper()
	s.at(t, name, "mount -o remount,size="+size+" "+dir)
}

func (s *site) freeMiB(t *testing.T, name, dir string) int {
	t.Helper()
	n, err := strconv.Atoi(s.at(t, name, "df -Pm "+dir+" | awk 'NR == 2 {print $4}'"))
	s.do(t, err)
	return n
}

func TestDiskOfTheStandbyThatFillsUpInTheCopyIsNamedAndTheRunResumed(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.mounted(t, "h2", "${data%/*}", "24m")
	a := o.call("standby", "bootstrap", "h2", "--yes", "--accept", "target.space").exits(1)
	id := o.runID()
	a.says("h2: copy the data directory from h1", "No space left on device", "/var/lib/postgresql/15/data", "runs resume "+id, "runs undo "+id)
	s.cannotStart(t, "h2")
	s.noBracketIsOpen(t)
	// As long as nobody makes room it says the same again.
	o.call("runs", "resume", id, "--yes").exits(1).says("no space left on device", "pgrepctl.run")
	s.grow(t, "h2", "${data%/*}", "1g")
	o.call("runs", "resume", id, "--yes").exits(0)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
}

// smallWAL puts h1's WAL on a disk of its own until the test ends.
func (s *site) smallWAL(t *testing.T) {
	t.Helper()
	stop := func() {
		s.at(t, "h1", `as $bin/pg_ctl -s -w -D $data -l $log -m fast stop
# Of a server that was shut down one segment is needed; the others are old, or new ones made ahead.
keep=$($bin/pg_controldata $data | sed -n 's/.*REDO WAL file: *//p')
find $data/pg_wal -maxdepth 1 -type f ! -name $keep -delete`)
	}
	start := func() { s.at(t, "h1", "as $bin/pg_ctl -s -w -D $data -l $log start >/dev/null") }
	stop()
	s.mounted(t, "h1", "$data/pg_wal", "256m")
	start()
	t.Cleanup(func() {
		stop()
		s.at(t, "h1", `mkdir /tmp/kept; cp -a $data/pg_wal/. /tmp/kept/
umount $data/pg_wal
find $data/pg_wal -mindepth 1 -delete; cp -a /tmp/kept/. $data/pg_wal/; rm -r /tmp/kept`)
		start()
	})
}

// fillWAL lets a bootstrap copy slowly while h1 writes 15 MB/s, until it gives
// up.
func (s *site) fillWAL(t *testing.T, o *operator) *answer {
	t.Helper()
	s.do(t, s.lab.Slow(t.Context(), "h2", "8mbit"))
	c := o.start("standby", "bootstrap", "h2", "--yes")
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 1<<20 })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.lab.Run(ctx, "h1", []string{"sh", "-c", asPostgres + "cd /; as psql -Xq"},
			host.Stdio{In: strings.NewReader("select pg_logical_emit_message(true, 'fill', repeat('x', 1500000)) \\watch 0.1\n")})
	}()
	// It writes until the copy is given up, and no longer: how long the brackets take to
	// close is the machine's affair.
	o.await(nil, "word of the copy", 20*time.Millisecond, func() bool {
		return strings.Contains(c.stdout.String()+c.stderr.String(), "nearly full") || !alive(c.cmd.Process.Pid)
	})
	s.at(t, "h1", "pkill -KILL -x psql || true")
	a := c.wait()
	cancel()
	<-ended
	return a
}

func TestCopyGivesUpBeforeItsSlotFillsTheDiskOfThePrimary(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(t *testing.T, s *site, o *operator, id string, was snapshot){
		"it is resumed when there is room": func(t *testing.T, s *site, o *operator, id string, _ snapshot) {
			s.grow(t, "h1", "$data/pg_wal", "2g")
			o.call("runs", "resume", id, "--yes").exits(0)
			s.streams(t, "h2")
			s.sameTables(t, "h2")
		},
		"an undo frees the WAL": func(t *testing.T, s *site, o *operator, id string, was snapshot) {
			before := s.freeMiB(t, "h1", "$data/pg_wal")
			o.call("runs", "undo", id, "--yes").exits(0)
			s.unchanged(t, was, lenient)
			// What is not kept is freed or used again, so it grows no further.
			s.sql(t, "h1", "postgres", "checkpoint")
			for range 4 {
				s.sql(t, "h1", "postgres", "select pg_logical_emit_message(true, 'fill', repeat('x', 15000000));\ncheckpoint")
			}
			if after := s.freeMiB(t, "h1", "$data/pg_wal"); after < before {
				t.Errorf("%d MiB are free, %d before the undo", after, before)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := take(t, dataDirectory)
			o := newOperator(t, s)
			s.smallWAL(t)
			was := s.before(t, lenient)
			server := s.at(t, "h1", "head -n 1 $data/postmaster.pid")
			o.call("standby", "bootstrap", "h2", "--dry-run").exits(0).says("gives up when h1 has less than 10 %")
			a := s.fillWAL(t, o).exits(1)
			id := o.runID()
			a.says("h1: its disk for WAL is nearly full", "/var/lib/postgresql/15/data/pg_wal", "the slot has ended with the backup's session", "once there is room on h1", "runs resume "+id, "runs undo "+id)
			s.eventually(t, "no slot is left on h1", func() bool { return s.slotNames(t, "h1") == "" })
			if free := s.freeMiB(t, "h1", "$data/pg_wal"); free < 16 {
				t.Errorf("only %d MiB are left for h1's WAL", free)
			}
			s.sql(t, "h1", "bench", "update pgbench_branches set bbalance = bbalance + 1")
			if now := s.at(t, "h1", "head -n 1 $data/postmaster.pid"); now != server {
				t.Error("the server of h1 has restarted")
			}
			s.cannotStart(t, "h2")
			s.noBracketIsOpen(t)
			s.fullSpeed(t)
			then(t, s, o, id, was)
		})
	}
}
