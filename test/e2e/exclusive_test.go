package e2e

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// exclusiveTool is the tool built for 9.5's way to back up, which 10 to 14 still have:
// of 9.4 and 9.5 themselves no servers can be had.
func exclusiveTool(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "pgrepctl")
	if err := build(binary, raceDetector, "-tags", "exclusivebackup"); err != nil {
		t.Fatal(err)
	}
	return binary
}

func TestExclusiveBackupEndsWhateverHappens(t *testing.T) {
	ownHosts(t)
	binary := exclusiveTool(t)
	s := newSite(shared, etc, 2, "exclusive")
	s.major = "11"
	defer func() {
		if s.made {
			s.do(t, s.lab.Down(context.Background()))
		}
	}()
	for _, sub := range []struct {
		name string
		run  func(*testing.T, *site, *operator)
	}{
		{"it is announced, made and undone", exclusiveAnnounced},
		{"the tool is killed: the host ends it, and nobody else's", exclusiveKilled},
		{"the tool and its switch are killed: the undo ends it", exclusiveLeft},
		{"the primary crashes under it: what was announced starts it again", exclusiveCrash},
	} {
		t.Run(sub.name, func(t *testing.T) {
			began := time.Now()
			defer func() { summary(t, began) }()
			s.do(t, s.ready(context.Background()))
			o := newOperator(t, s)
			o.binary = binary
			sub.run(t, s, o)
		})
	}
}

// backupMode is the label of the exclusive backup on h1, or "none".
func (s *site) backupMode(t *testing.T) string {
	t.Helper()
	if s.sql(t, "h1", "postgres", "select pg_is_in_backup()") != "t" {
		return "none"
	}
	// It may end in between.
	return s.at(t, "h1", "sed -n 's/^LABEL: //p' $data/backup_label 2>/dev/null || true")
}

func exclusiveAnnounced(t *testing.T, s *site, o *operator) {
	was := s.before(t, lenient)
	o.call("standby", "bootstrap", "h2", "--dry-run").exits(0).says("exclusive: PostgreSQL 9.5 has no other", "! hazard:",
		"sudo -u postgres mv "+s.files.Data+"/backup_label "+s.files.Data+"/backup_label.old", "h1 ends the backup of this run by itself", "end the exclusive backup of this run",
		"reserve WAL for slot h2 (h2 streams from it")
	stop := s.load(t)
	apply(t, o, "h2")
	s.sameTables(t, "h2")
	stop()
	s.streams(t, "h2")
	if got := s.backupMode(t); got != "none" {
		t.Errorf("backup mode of h1: %s", got)
	}
	if got := s.at(t, "h2", "sed -n 's/^LABEL: //p' $data/backup_label.old"); !strings.HasPrefix(got, "pgrepctl:"+o.runID()+":") {
		t.Errorf("label of the copy: %s", got)
	}
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	s.unchanged(t, was, lenient)
}

// copying is a bootstrap in the midst of its copy.
func (o *operator) copying(t *testing.T, s *site) *calling {
	t.Helper()
	s.do(t, s.lab.Slow(t.Context(), "h2", "40mbit"))
	c := o.start("standby", "bootstrap", "h2", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool {
		return r.Type == journal.Intent && strings.Contains(r.Text, "copy the data directory")
	})
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 3<<20 })
	if got := s.backupMode(t); !strings.HasPrefix(got, "pgrepctl:"+o.runID()+":") {
		t.Fatalf("backup mode of h1: %s", got)
	}
	if got := s.sql(t, "h1", "postgres", "select restart_lsn is not null, active from pg_replication_slots"); got != "t|f" && got != "" {
		t.Errorf("slot: reserved, active: %s", got)
	}
	return c
}

func exclusiveKilled(t *testing.T, s *site, o *operator) {
	o.copying(t, s).kill()
	s.eventually(t, "h1 leaves backup mode", func() bool { return s.backupMode(t) == "none" })
	(&proof{}).fenced(t, s)
	s.fullSpeed(t)
	// Neither an undo nor a run touches one that somebody else has begun since.
	s.sql(t, "h1", "postgres", "select pg_start_backup('nightly', true)")
	o.insist("runs", "undo", o.runID(), "--yes").exits(0)
	was := s.before(t, strict)
	o.call("standby", "bootstrap", "h2", "--yes").exits(6).says("source.exclusive-backup", "select pg_stop_backup()")
	s.unchanged(t, was, strict)
	if got := s.backupMode(t); got != "nightly" {
		t.Errorf("backup mode of h1: %s", got)
	}
	s.sql(t, "h1", "postgres", "select pg_stop_backup()")
}

func exclusiveLeft(t *testing.T, s *site, o *operator) {
	was := s.before(t, lenient)
	c := o.copying(t, s)
	c.freeze()
	// The switch itself, and not the leash that it is on.
	s.at(t, "h1", "pkill -KILL -f '^/bin/sh -c # Arguments: the statement'; until pkill -KILL -P 1 -f '^sleep 2147483647$'; do sleep 0.02; done")
	c.kill()
	s.fullSpeed(t)
	// Nothing on the host knows of it any more.
	if got := s.backupMode(t); !strings.HasPrefix(got, "pgrepctl:"+o.runID()+":") {
		t.Fatalf("backup mode of h1: %s", got)
	}
	o.call("runs", "undo", o.runID(), "--dry-run").exits(0).says("end the exclusive backup of this run")
	o.insist("runs", "undo", o.runID(), "--yes").exits(0)
	if got := s.backupMode(t); got != "none" {
		t.Errorf("backup mode of h1: %s", got)
	}
	s.unchanged(t, was, lenient)
}

// exclusiveCrash is without slots: nothing keeps the WAL that the label wants.
func exclusiveCrash(t *testing.T, s *site, o *operator) {
	o = o.with("replication:\n", "replication:\n  slots: false\n")
	c := o.copying(t, s)
	s.do(t, s.lab.Slow(t.Context(), "h2", "4mbit")) // it is to go on until the crash
	s.sql(t, "h1", "bench", "create table filler as select g, repeat('x', 1000) from generate_series(1, 20000) g")
	for range 3 {
		s.sql(t, "h1", "postgres", "select pg_switch_wal()")
		s.sql(t, "h1", "postgres", "checkpoint")
	}
	// No start before the last of its processes has seen that: it still has the memory.
	s.at(t, "h1", "kill -KILL $(head -n 1 $data/postmaster.pid); while pgrep -x postgres >/dev/null; do sleep 0.02; done")
	recipe := regexp.MustCompile(`sudo -u postgres (mv \S+/backup_label \S+/backup_label\.old); then start it`).FindStringSubmatch(c.stdout.String() + c.stderr.String())
	if c.wait().exits(1); recipe == nil {
		t.Fatal("what to do was not said before")
	}
	s.fullSpeed(t)
	if got := s.at(t, "h1", "pg_ctlcluster 11 main start >/dev/null 2>&1 && echo started || grep -o 'FATAL:  could not .*' $log | tail -n 1"); !strings.HasPrefix(got, "FATAL:  could not") {
		t.Fatalf("start of h1: %s", got)
	}
	s.at(t, "h1", recipe[1]+"; pg_ctlcluster 11 main start")
	s.eventually(t, "h1 runs", func() bool { return s.backupMode(t) == "none" })
	s.sql(t, "h1", "bench", "drop table filler")
	o.insist("runs", "resume", o.runID(), "--yes").exits(0)
	s.caughtUp(t, "h2")
	s.sameTables(t, "h2")
}
