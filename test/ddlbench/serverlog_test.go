package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, text string) *serverLog {
	t.Helper()
	l, err := readServerLog(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// From standbys of 15 and 11 behind a report.
const blockedLog = `2026-11-26 10:20:01.100 UTC [501] postgres@shop LOG:  process 501 still waiting for AccessShareLock on relation 16385 of database 16384 after 10.071 ms at character 87
2026-11-26 10:20:01.100 UTC [501] postgres@shop DETAIL:  Process holding the lock: 77. Wait queue: 501.
2026-11-26 10:20:01.100 UTC [501] postgres@shop STATEMENT:  select 'LOG:  process 9 still waiting for AccessShareLock on relation 1 of database 1 after 10.0 ms'
2026-11-26 10:20:01.104 UTC [502] postgres@shop LOG:  process 502 still waiting for AccessShareLock on relation 16385 of database 16384 after 10.300 ms
2026-11-26 10:20:01.150 UTC [77] LOG:  recovery still waiting after 10.166 ms: recovery conflict on lock
2026-11-26 10:20:01.150 UTC [77] DETAIL:  Conflicting process: 499.
2026-11-26 10:20:11.100 UTC [501] postgres@shop LOG:  process 501 still waiting for AccessShareLock on relation 16385 of database 16384 after 10010.071 ms
2026-11-26 10:20:23.200 UTC [77] LOG:  recovery finished waiting after 22110.500 ms: recovery conflict on lock
2026-11-26 10:20:23.201 UTC [501] postgres@shop LOG:  process 501 acquired AccessShareLock on relation 16385 of database 16384 after 22111.250 ms
2026-11-26 10:20:23.202 UTC [502] postgres@shop LOG:  process 502 acquired AccessShareLock on relation 16385 of database 16384 after 22108.000 ms
2026-11-26 10:20:30.001 UTC [501] postgres@shop LOG:  process 501 still waiting for AccessShareLock on relation 16385 of database 16384 after 10.000 ms
2026-11-26 10:20:30.011 UTC [501] postgres@shop LOG:  process 501 acquired AccessShareLock on relation 16385 of database 16384 after 20.000 ms
`

func TestAWaitIsCountedOnceUntilItIsAcquired(t *testing.T) {
	l := parse(t, blockedLog)
	want := []lockWait{
		{501, "AccessShareLock", 22111250 * time.Microsecond},
		{502, "AccessShareLock", 22108 * time.Millisecond},
		{501, "AccessShareLock", 20 * time.Millisecond},
	}
	if diff := cmp.Diff(want, l.waits, cmp.AllowUnexported(lockWait{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l.replay != 22110500*time.Microsecond || l.cancelled != 0 || longest(l.waits) != 22111250*time.Microsecond {
		t.Errorf("%+v", l)
	}
}

func TestAWaitThatEndsWithAnErrorIsOneAndTheNextIsAnother(t *testing.T) {
	l := parse(t, `2026-11-26 10:20:01.100 UTC [501] postgres@shop LOG:  process 501 still waiting for AccessShareLock on relation 1 of database 2 after 10.0 ms
2026-11-26 10:20:02.100 UTC [501] postgres@shop ERROR:  canceling statement due to user request
2026-11-26 10:20:03.100 UTC [501] postgres@shop LOG:  process 501 still waiting for AccessShareLock on relation 1 of database 2 after 10.0 ms
`)
	if len(l.waits) != 2 {
		t.Errorf("%+v", l.waits)
	}
}

func TestWhatRecoveryCancelsIsCounted(t *testing.T) {
	l := parse(t, `2026-11-26 10:20:01.100 UTC [501] postgres@shop ERROR:  canceling statement due to conflict with recovery
2026-11-26 10:20:01.100 UTC [501] postgres@shop DETAIL:  User was holding a relation lock for too long.
2026-11-26 10:20:01.300 UTC [502] postgres@shop FATAL:  terminating connection due to conflict with recovery
2026-11-26 10:20:01.400 UTC [503] postgres@shop ERROR:  canceling statement due to lock timeout
`)
	if l.cancelled != 2 {
		t.Errorf("%d cancelled", l.cancelled)
	}
}

func TestOfThePrimaryTheLongestAlterIsKnown(t *testing.T) {
	l := parse(t, `2026-11-26 10:20:01.100 UTC [501] postgres@shop LOG:  duration: 1250.500 ms  statement: ALTER TABLE items ADD COLUMN f float8
2026-11-26 10:20:01.200 UTC [501] postgres@shop LOG:  duration: 90.500 ms  execute <unnamed>: alter table items add column g int
2026-11-26 10:20:01.300 UTC [502] postgres@shop LOG:  duration: 5000.1 ms  statement: insert into items (note) values ('alter table')
2026-11-26 10:20:01.400 UTC [503] postgres@shop LOG:  process 503 still waiting for RowExclusiveLock on relation 1 of database 2 after 10.0 ms
`)
	if l.statement != 1250500*time.Microsecond {
		t.Errorf("%s", l.statement)
	}
	if len(l.of("AccessShareLock")) != 0 || len(l.of("RowExclusiveLock")) != 1 {
		t.Errorf("%+v", l.waits)
	}
}
