package e2e

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// copying starts a bootstrap of h2 over a slow link, and returns when a part of
// the copy has arrived.
func (s *site) copying(t *testing.T, o *operator, args ...string) *calling {
	t.Helper()
	s.do(t, s.lab.Slow(t.Context(), "h2", "40mbit"))
	c := o.start(append([]string{"standby", "bootstrap", "h2", "--yes"}, args...)...)
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 3<<20 })
	return c
}

func (s *site) fullSpeed(t *testing.T) {
	t.Helper()
	s.do(t, s.lab.Slow(t.Context(), "h2", ""))
}

// copyGoesOn: a part is there of a copy that takes the place of other data. What was
// there before has no marker of a run, and a preview only asks rsync for its version.
func (s *site) copyGoesOn(t *testing.T, name string) bool {
	t.Helper()
	return s.at(t, name, "test -e $data/pgrepctl.run && pgrep -x rsync || true") != "" && s.bytesOn(t, name) > 3<<20
}

func (s *site) bytesOn(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(s.at(t, name, "du -sb $data 2>/dev/null | cut -f1 | grep . || echo 0"))
	s.do(t, err)
	return n
}

// cannotStart asserts that a half copy is one: PostgreSQL itself refuses it.
func (s *site) cannotStart(t *testing.T, name string) {
	t.Helper()
	if out := s.at(t, name, `if as $bin/postgres -D $data -c listen_addresses= -c port=5999 --single template1 </dev/null >/tmp/single 2>&1; then echo started; fi; grep -h -e FATAL -e "could not" -e "does not know where" /tmp/single; rm /tmp/single`); strings.Contains(out, "started") || out == "" {
		t.Errorf("the half copy on %s can start: %s", name, out)
	}
}

func TestToolKilledInTheCopyIsResumedByTheSameCommand(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.copying(t, o).kill()
	s.cannotStart(t, "h2")
	s.eventually(t, "rsync ends with its tool", func() bool {
		return s.at(t, "h2", "pgrep -x rsync || true")+s.at(t, "h1", "pgrep -x rsync || true") == ""
	})
	s.eventually(t, "the backup ends with its tool", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_activity where application_name like 'pgrepctl%'") == "0"
	})
	was := s.bytesOn(t, "h2")
	id := o.runID()
	o.call("runs", "list").exits(0).says(id, "interrupted")
	s.fullSpeed(t)
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("goes on with run " + id)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	if got := o.runID(); got != id {
		t.Errorf("a new run %s was begun", got)
	}
	if now := s.bytesOn(t, "h2"); now < was {
		t.Errorf("%d bytes, %d before", now, was)
	}
	s.asAfterACleanRun(t)
}

// asAfterACleanRun compares what the hosts have now with what an uninterrupted
// bootstrap leaves.
func (s *site) asAfterACleanRun(t *testing.T) {
	t.Helper()
	resumed := s.before(t, lenient)
	s.do(t, s.reset(t.Context()))
	apply(t, newOperator(t, s), "h2")
	s.streams(t, "h2")
	clean := s.before(t, lenient)
	s.same(t, clean.withoutNames(), resumed.withoutNames(), "a clean run leaves (-) and the resumed one left (+)")
}

// withoutNames leaves out what is another in each run: its id, the salt of the
// password, what servers log and when a backup began.
func (now snapshot) withoutNames() snapshot {
	run := regexp.MustCompile(`\d{8}T\d{6}Z-[0-9a-f]{4}`)
	out := snapshot{}
	for name, lines := range now {
		for _, line := range lines {
			if strings.Contains(line, ".log") || strings.Contains(line, "backup_label.old") {
				continue
			}
			line, _, _ = strings.Cut(line, "SCRAM-SHA-256")
			out[name] = append(out[name], run.ReplaceAllString(line, "RUN"))
		}
	}
	return out
}

func TestToolKilledInTheCopyIsUndone(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	was := s.before(t, lenient)
	s.copying(t, o).kill()
	s.fullSpeed(t)
	o.call("runs", "undo", o.runID(), "--yes").exits(0).says("undone")
	s.unchanged(t, was, lenient)
	o.call("standby", "bootstrap", "h2", "--yes").exits(0)
	s.streams(t, "h2")
}

func TestCtrlCInTheCopyClosesWhatIsOpenAndSaysWhatNow(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	was := s.before(t, lenient)
	c := s.copying(t, o)
	began := time.Now()
	c.interrupt()
	a := c.wait().exits(130)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	a.says("stopped by the operator", "runs resume "+o.runID(), "runs undo "+o.runID(), "state:")
	s.fullSpeed(t)
	s.noBracketIsOpen(t)
	s.cannotStart(t, "h2")
	o.call("runs", "list").exits(0).says("stopped")
	o.call("runs", "undo", o.runID(), "--yes").exits(0).says("undone")
	s.unchanged(t, was, lenient)
}

// noBracketIsOpen: what may be left of a run that stopped is journalled effects,
// and nothing that grows, admits or blocks.
func (s *site) noBracketIsOpen(t *testing.T) {
	t.Helper()
	for _, left := range s.before(t, lenient).leftovers() {
		if !strings.Contains(left, "/pgrepctl.run") { // the marker says whose half copy it is
			t.Error("left open: " + left)
		}
	}
	if keys := s.at(t, "h1", "cat /home/admin/.ssh/authorized_keys"); strings.Contains(keys, "pgrepctl:") {
		t.Errorf("the key is still in:\n%s", keys)
	}
}

func TestCtrlCTwiceDropsEverythingAndTheRunCanStillBeResumed(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	c := s.copying(t, o)
	s.do(t, s.lab.Cut(t.Context(), "h1")) // nothing can be closed in order
	c.interruptHeard()
	began := time.Now()
	c.interrupt()
	c.wait().exits(130)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	s.do(t, s.lab.Heal(t.Context(), "h1"))
	s.fullSpeed(t)
	s.goesOnOnceTheLockIsFree(t, o)
	s.streams(t, "h2")
}

// goesOnOnceTheLockIsFree types the command again until the lock of the dead run
// has gone with its session.
func (s *site) goesOnOnceTheLockIsFree(t *testing.T, o *operator) {
	t.Helper()
	s.eventually(t, "the lock is free", func() bool {
		a := o.call("standby", "bootstrap", "h2", "--yes")
		if a.code != 7 {
			a.exits(0)
		}
		return a.code == 0
	})
}

func TestTwoOperatorsAtOnceTheSecondIsToldOfTheFirst(t *testing.T) {
	s := take(t, dataDirectory)
	first := newOperator(t, s)
	c := s.copying(t, first)
	s.do(t, s.lab.Slow(t.Context(), "h2", "8mbit")) // until all others have been told
	id := first.runID()
	// One with journals of his own, and one on the same machine.
	for name, o := range map[string]*operator{"elsewhere": newOperator(t, s), "here": first} {
		a := o.call("standby", "bootstrap", "h2", "--yes").exits(7).says(id, "@", "nothing was changed by this command")
		if a.took > 20*time.Second {
			t.Errorf("%s: it took %s to say so", name, a.took)
		}
	}
	first.call("runs", "undo", id, "--yes").exits(7).says(id)
	newOperator(t, s).call("runs", "abandon", id, "--yes").exits(7).says(id)
	newOperator(t, s).call("runs", "list").exits(0).says(id, "going on")
	s.fullSpeed(t)
	c.wait().exits(0)
	s.streams(t, "h2")
	if sum, _ := first.records(); sum.Status != journal.Succeeded {
		t.Errorf("the first run is %s", sum.Status)
	}
}

func TestStandbyThatLosesPowerInTheCopyIsResumed(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	c := s.copying(t, o)
	s.do(t, s.lab.Kill(t.Context(), "h2"))
	s.do(t, s.lab.Start(t.Context(), "h2"))
	a := c.wait()
	if a.code != 5 && a.code != 1 {
		t.Errorf("exit code %d", a.code)
	}
	a.says("h2", "runs resume "+o.runID())
	s.fullSpeed(t)
	if keys := s.at(t, "h1", "cat /home/admin/.ssh/authorized_keys"); strings.Contains(keys, "pgrepctl:") {
		t.Errorf("h1 could be reached, and the key is still in:\n%s", keys)
	}
	s.cannotStart(t, "h2")
	o.call("standby", "bootstrap", "h2", "--yes").exits(0)
	s.streams(t, "h2")
}

func TestPrimaryThatLosesItsCableInTheCopyGetsRidOfTheBackupByItself(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	c := s.copying(t, o)
	s.do(t, s.lab.Cut(t.Context(), "h1"))
	a := c.wait()
	if a.code != 5 && a.code != 1 {
		t.Errorf("exit code %d", a.code)
	}
	if a.took > 120*time.Second {
		t.Errorf("it took %s to notice", a.took)
	}
	a.says("h1", "runs resume "+o.runID())
	s.do(t, s.lab.Heal(t.Context(), "h1"))
	s.fullSpeed(t)
	s.goesOnOnceTheLockIsFree(t, o)
	s.streams(t, "h2")
}

func TestPrimaryThatRestartsInTheCopyMakesTheRunStartItsBackupAnew(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	c := s.copying(t, o)
	s.at(t, "h1", "as $bin/pg_ctl -s -w -D $data -l $log -m immediate restart")
	c.wait().exits(1).says("session was lost", "runs resume "+o.runID())
	s.cannotStart(t, "h2")
	s.noBracketIsOpen(t)
	s.fullSpeed(t)
	o.call("standby", "bootstrap", "h2", "--yes").exits(0)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
}

func TestJournalIsPrivateAndWhole(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	apply(t, o, "h2")
	sum, recs := o.records()
	if mode := modeOf(t, sum.Path); mode != 0o600 {
		t.Errorf("mode %o", mode)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(read(t, sum.Path))), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
	open := map[string]int{}
	for _, r := range recs {
		switch r.Type {
		case journal.Open:
			open[r.Node]++
		case journal.Close:
			open[r.Node]--
		}
	}
	for node, n := range open {
		if n != 0 {
			t.Errorf("bracket %s: %d open", node, n)
		}
	}
}

// The machine of the operator is gone, journal and all; another one has the
// inventory and nothing else.
func TestRunOfALostMachineIsFinishedFromAnotherOne(t *testing.T) {
	s := take(t, dataDirectory)
	lost := newOperator(t, s)
	s.copying(t, lost).kill()
	id := lost.runID()
	s.fullSpeed(t)
	o := newOperator(t, s)
	o.call("status").exits(0).says("run "+id, "is not finished", "runs resume "+id)
	o.call("doctor", "h2").says("run.interrupted", id)
	o.call("standby", "bootstrap", "h2", "--yes").exits(6).says(id, "another machine", "runs resume "+id)
	o.call("runs", "list").exits(0).says(id, "interrupted", "h1")
	o.call("runs", "show", id).exits(0).says("copy the data directory")
	o.call("runs", "resume", id, "--yes").exits(0)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	// The first machine comes back after all.
	for _, args := range [][]string{{"standby", "bootstrap", "h2", "--yes"}, {"runs", "undo", id, "--yes"}, {"runs", "resume", id, "--yes"}} {
		lost.call(args...).exits(6).says(id, "another operator has ended it", "runs abandon "+id)
	}
	lost.call("status").exits(0).says("another operator has ended it", "runs abandon "+id)
	lost.call("runs", "list").exits(0).says("ended elsewhere")
	lost.call("runs", "abandon", id, "--yes").exits(0)
	lost.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
}

func TestRunOfALostMachineIsUndoneFromAnotherOne(t *testing.T) {
	s := take(t, etc)
	was := s.before(t, lenient)
	lost := newOperator(t, s)
	s.copying(t, lost).kill()
	s.fullSpeed(t)
	newOperator(t, s).call("runs", "undo", lost.runID(), "--yes").exits(0).says("undone")
	s.unchanged(t, was, lenient)
}

// A frozen tool is what a machine without power or network looks like to the
// hosts: no FIN, no word.
func TestToolThatFallsSilentIsCleanedUpAfterByTheHosts(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	c := s.copying(t, o)
	s.do(t, s.lab.Slow(t.Context(), "h2", "1mbit")) // it would last for minutes
	began := time.Now()
	s.do(t, c.cmd.Process.Signal(syscall.SIGSTOP))
	gone := func(what string, within time.Duration, left func() string) {
		t.Helper()
		for left() != "" {
			if time.Since(began) > within {
				t.Errorf("%s after %s: %s", what, within, left())
				return
			}
			pause(200 * time.Millisecond)
		}
		t.Logf("%s: gone after %s", what, time.Since(began).Round(time.Second))
	}
	gone("the copy", 40*time.Second, func() string { return s.at(t, "h2", "pgrep -x rsync || true") })
	gone("its sender", 40*time.Second, func() string { return s.at(t, "h1", "pgrep -x rsync || true") })
	gone("the key", 40*time.Second, func() string { return s.at(t, "h1", "grep pgrepctl: /home/admin/.ssh/authorized_keys || true") })
	gone("the private key", 40*time.Second, func() string { return s.at(t, "h2", "ls -d /dev/shm/pgrepctl-* 2>/dev/null || true") })
	gone("the lock and the backup", 5*time.Minute, func() string {
		return s.sql(t, "h1", "postgres", "select pid from pg_locks where locktype = 'advisory' union all select pid from pg_stat_activity where query like '%pg_backup_start%' and application_name like 'pgrepctl%'")
	})
	c.kill()
	s.fullSpeed(t)
	o.call("standby", "bootstrap", "h2", "--yes").exits(0)
	s.streams(t, "h2")
}

// The second one comes while the first is still closing.
func TestCtrlCTwiceLeavesNoHalfOfTheKey(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	c := s.copying(t, o)
	c.interruptHeard()
	o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Failed && r.Effect == "copy" })
	c.interrupt()
	c.wait().exits(130)
	s.eventually(t, "both halves of the key are gone", func() bool {
		return s.at(t, "h1", "grep pgrepctl: /home/admin/.ssh/authorized_keys || true")+s.at(t, "h2", "ls -d /dev/shm/pgrepctl-* 2>/dev/null || true") == ""
	})
	s.fullSpeed(t)
	s.goesOnOnceTheLockIsFree(t, o)
	s.streams(t, "h2")
}

func TestStandbyThatWasPromotedAndIsDownIsNotTakenBack(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	apply(t, o, "h2")
	s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data promote")
	s.sql(t, "h2", "bench", "create table precious as select 42 as answer")
	s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data -m fast stop")
	o.call("runs", "undo", o.runID(), "--yes").exits(6).says("h2", "promoted", "standby.signal")
	s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data -l $log start")
	if got := s.sql(t, "h2", "bench", "select answer from precious"); got != "42" {
		t.Errorf("got %s", got)
	}
}
