package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCopyFromAnotherStandby: h3 is copied from h2, and streams from h1.
func TestCopyFromAnotherStandby(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")
	o.call("standby", "bootstrap", "h3", "--from", "h3", "--yes").exits(6).says("nothing can be copied from h3 to itself")
	s.sql(t, "h2", "postgres", "select pg_wal_replay_pause()")
	o.call("standby", "bootstrap", "h3", "--from", "h2", "--yes").exits(6).says("its replay is paused")
	s.sql(t, "h2", "postgres", "select pg_wal_replay_resume()")
	stop := s.load(t)
	o.call("standby", "bootstrap", "h3", "--from", "h2", "--yes").exits(0)
	s.sameTables(t, "h3")
	if got := s.at(t, "h3", "grep '^BACKUP FROM' $data/backup_label.old"); got != "BACKUP FROM: standby" {
		t.Errorf("h3 is of %s", got)
	}
	if got := s.sql(t, "h1", "postgres", "select application_name, state from pg_stat_replication order by 1"); got != "h2|streaming\nh3|streaming" {
		t.Errorf("from h1 stream: %s", got)
	}
	s.undamaged(t, "h3")
	s.noBracketIsOpen(t)
	if got := s.at(t, "h2", "grep -c pgrepctl: /home/admin/.ssh/authorized_keys || true"); got != "0" {
		t.Errorf("%s keys are left on h2", got)
	}
	s.stopServer(t, "h3")
	s.damage(t, "h3", s.suite.seed(t), 5)
	reseed(t, o, "h3", "--force", "--from", "h2")
	s.sameTables(t, "h3")
	stop()
	s.undamaged(t, "h3")
}

// TestSourceThatIsPromotedInTheCopyEndsIt: what was copied cannot start, and is gone on
// with from another source.
func TestSourceThatIsPromotedInTheCopyEndsIt(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")
	apply(t, o, "h3")
	s.do(t, s.lab.Slow(t.Context(), "h3", "40mbit"))
	c := o.start("standby", "reseed", "h3", "--wipe", "--force", "--from", "h2", "--compress", "none", "--yes")
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool {
		return s.copyGoesOn(t, "h3")
	})
	s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data promote")
	s.do(t, s.lab.Slow(t.Context(), "h3", ""))
	c.wait().exits(1).says("promoted")
	s.cannotStart(t, "h3")
	id := o.runID()
	o.call("runs", "resume", id, "--yes").says("it was promoted")
	o.call("runs", "abandon", id, "--yes").exits(0)
	reseed(t, o, "h3")
	s.sameTables(t, "h3")
	if got := s.sql(t, "h1", "postgres", "select application_name, state from pg_stat_replication order by 1"); got != "h3|streaming" {
		t.Errorf("from h1 stream: %s", got)
	}
}

// TestCopyThroughThisMachine: the hosts do not let each other in, and need not.
func TestCopyThroughThisMachine(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s).with("h2: {address: 10.77.0.12, role: standby", "h2: {address: 10.77.0.12, copy: relay, role: standby")
	s.sql(t, "h1", "bench", "create table ballast as select md5(n::text) || md5((n+1)::text) as x from generate_series(1, 300000) n")
	s.at(t, "h1", "printf 'Match Address 10.77.0.12\\n  DenyUsers *\\n' >>/etc/ssh/sshd_config\n"+reloadSSHD)
	stop := s.load(t)
	c := o.start("standby", "bootstrap", "h2", "--yes")
	peak := c.memory(t)
	c.wait().exits(0).says("through this machine")
	bar := 64 << 10
	if raceDetector {
		bar *= 5 // it remembers who touched each word last: "5-10x", go.dev/doc/articles/race_detector
	}
	if most := peak(); most > bar {
		t.Errorf("the tool took %d kB", most)
	} else {
		t.Logf("the tool took %d kB", most)
	}
	stop()
	s.sql(t, "h1", "bench", "drop table ballast")
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	s.undamaged(t, "h2")
	if got := s.at(t, "h1", "grep -c pgrepctl: /home/admin/.ssh/authorized_keys || true") + s.at(t, "h2", "ls -d /dev/shm/pgrepctl-* 2>/dev/null || true"); got != "0" {
		t.Errorf("left: %s", got)
	}
	// Killed in the middle nothing goes on, and the same command does.
	s.stopServer(t, "h2")
	s.do(t, s.lab.Slow(t.Context(), "h2", "20mbit"))
	c = o.start("standby", "reseed", "h2", "--force", "--wipe", "--yes")
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool {
		return s.copyGoesOn(t, "h2")
	})
	c.kill()
	s.cannotStart(t, "h2")
	s.eventually(t, "all that carried it has ended", func() bool {
		return s.at(t, "h2", "pgrep -x rsync || true; pgrep -fa 'sh -c cat' | grep pgrepctl- || true; ls -d /dev/shm/pgrepctl-* 2>/dev/null || true")+s.at(t, "h1", "pgrep -x rsync || true") == ""
	})
	s.fullSpeed(t)
	id := o.runID()
	o.call("standby", "reseed", "h2", "--force", "--wipe", "--yes").exits(0).says(id)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
}

// memory follows the most that the tool had resident, in kB.
func (c *calling) memory(t *testing.T) func() int {
	t.Helper()
	file := fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid)
	most, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		for {
			b, err := os.ReadFile(file)
			if err != nil {
				return
			}
			_, rest, ok := strings.Cut(string(b), "VmHWM:")
			if !ok {
				return // a zombie has none
			}
			if n := 0; ok {
				if _, err := fmt.Sscan(rest, &n); err == nil {
					most = max(most, n)
				}
			}
			pause(50 * time.Millisecond)
		}
	}()
	return func() int { <-ended; return most }
}

// TestFileThatTheSourceCannotReadEndsTheCopyWithItsName: it might be a table.
func TestFileThatTheSourceCannotReadEndsTheCopyWithItsName(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	s.at(t, "h1", "umask 077; echo secret >$data/of-root")
	t.Cleanup(func() { s.at(t, "h1", "rm -f $data/of-root") })
	o.call("standby", "bootstrap", "h2", "--yes").exits(1).says("of-root", "Permission denied")
	s.cannotStart(t, "h2")
	s.noBracketIsOpen(t)
	s.at(t, "h1", "rm $data/of-root")
	o.call("runs", "resume", o.runID(), "--yes").exits(0)
	s.streams(t, "h2")
}

// TestFileOf2GiBIsCopiedAndCompared: sizes do not end at 31 bits.
func TestFileOf2GiBIsCopiedAndCompared(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	s.at(t, "h1", "as truncate -s 2200M $data/big; as sh -c 'date | dd of=$0/big bs=1 seek=2200000000 conv=notrunc status=none' $data")
	t.Cleanup(func() { s.at(t, "h1", "rm -f $data/big") })
	apply(t, o, "h2")
	s.stopServer(t, "h2")
	sum := s.at(t, "h1", "md5sum <$data/big")
	if got := s.at(t, "h2", "md5sum <$data/big"); got != sum {
		t.Errorf("copied: %s, want %s", got, sum)
	}
	s.at(t, "h2", "cd $data; touch -r big /tmp/was; echo x | dd of=big bs=1 seek=2199999999 conv=notrunc status=none; touch -r /tmp/was big; rm /tmp/was")
	reseed(t, o, "h2", "--force")
	if got := s.at(t, "h2", "md5sum <$data/big"); got != sum {
		t.Errorf("compared: %s, want %s", got, sum)
	}
}
