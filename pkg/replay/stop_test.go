package replay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// locking is WAL in which transactions take locks, as pg_waldump prints it.
const locking = `rmgr: Standby     len (rec/tot):     50/    50, tx:          0, lsn: 0/03000028, prev 0/03000000, desc: RUNNING_XACTS nextXid 740 latestCompletedXid 739 oldestRunningXid 740
rmgr: Standby     len (rec/tot):     42/    42, tx:        740, lsn: 0/03000060, prev 0/03000028, desc: LOCK xid 740 db 16384 rel 16390 
rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 0/03000100, prev 0/03000060, desc: COMMIT 2026-11-26 07:00:00.000001 UTC; rels: base/16384/16390
rmgr: Standby     len (rec/tot):     42/    42, tx:        743, lsn: 0/03000200, prev 0/03000100, desc: LOCK xid 743 db 16384 rel 16400 xid 743 db 16384 rel 16401 
rmgr: Standby     len (rec/tot):     42/    42, tx:        745, lsn: 0/03000300, prev 0/03000200, desc: LOCK xid 745 db 16384 rel 16410 
rmgr: Transaction len (rec/tot):     34/    34, tx:        741, lsn: 0/03000400, prev 0/03000300, desc: COMMIT 2026-11-26 07:05:00.000000 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        744, lsn: 0/03000500, prev 0/03000400, desc: COMMIT 2026-11-26 07:06:00.000000 UTC; subxacts: 745 746
rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/03000600, prev 0/03000500, desc: COMMIT 2026-11-26 07:10:00.000000 UTC; rels: base/16384/16400
rmgr: Standby     len (rec/tot):     42/    42, tx:        750, lsn: 0/03000900, prev 0/03000800, desc: LOCK xid 750 db 16384 rel 16420 
rmgr: Transaction len (rec/tot):     34/    34, tx:        750, lsn: 0/03000a00, prev 0/03000900, desc: COMMIT 2026-11-26 07:11:00.000000 UTC
end 0/03000A80
`

// lockingSite is a site with that WAL.
func lockingSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.segment(t, 1, 0x3000000)
	s.put(t, "dump.1", locking)
	return s
}

func TestTheLocksThatAreHeldWhereReplayStopsAreFound(t *testing.T) {
	t.Parallel()
	at := func(h, m, s int) Target {
		return Target{Kind: Time, Time: time.Date(2026, 11, 26, h, m, s, 0, time.UTC)}
	}
	inclusive := at(7, 10, 0)
	inclusive.Inclusive = true
	two := []Lock{{0x3000200, 743, 16384, 16400}, {0x3000200, 743, 16384, 16401}}
	for _, c := range []struct {
		what   string
		target Target
		stands postgres.LSN
		want   Stop
	}{
		{"at its commit, to the microsecond", at(7, 10, 0), 0, Stop{At: 0x3000600, Locks: two, Commits: 2}},
		{"before its commit", at(7, 9, 0), 0, Stop{At: 0x3000600, Locks: two, Commits: 2}},
		{"with its commit: the next one holds another", inclusive, 0, Stop{At: 0x3000a00, Locks: []Lock{{0x3000900, 750, 16384, 16420}}}},
		{"before any of it", at(7, 0, 0), 0, Stop{At: 0x3000100, Locks: []Lock{{0x3000060, 740, 16384, 16390}}}},
		{"no commit that late", at(8, 0, 0), 0, Stop{}},
		{"at a position, with two in the middle", Target{Kind: LSN, LSN: 0x3000450}, 0, Stop{At: 0x3000450, Locks: append(append([]Lock{}, two...), Lock{0x3000300, 745, 16384, 16410}), Commits: 1}},
		{"a child ends with its parent", Target{Kind: LSN, LSN: 0x3000580}, 0, Stop{At: 0x3000580, Locks: two, Commits: 2}},
		{"at a position where all are over", Target{Kind: LSN, LSN: 0x3000700}, 0, Stop{At: 0x3000700}},
		{"at a restore point", Target{Kind: Name, Name: "x"}, 0x3000180, Stop{At: 0x3000180}},
	} {
		s := lockingSite(t)
		got, err := FindStop(t.Context(), &s.run, s.source(1, 0), c.target, c.stands)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if len(got.Locks) == 0 {
			got.Locks = nil
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, d)
		}
	}
}

func TestCommitsThatLockNothingStayOnTheHost(t *testing.T) {
	t.Parallel()
	s := lockingSite(t)
	if _, err := FindStop(t.Context(), &s.run, s.source(1, 0), Target{Kind: LSN, LSN: 0x3000700}, 0); err != nil {
		t.Fatal(err)
	}
	if out := s.run.out.String(); strings.Contains(out, "tx:        741") || !strings.Contains(out, "tx:        743") {
		t.Errorf("printed:\n%s", out)
	}
}

// TestTheEndsOfManyLocksAreFound: their transactions together are longer than what one
// argument of a program may be.
func TestTheEndsOfManyLocksAreFound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.segment(t, 1, 0x3000000)
	var text strings.Builder
	for i := range 20000 {
		at := postgres.LSN(0x3000028 + 16*i)
		fmt.Fprintf(&text, "rmgr: Standby     len (rec/tot):     42/    42, tx:  %d, lsn: %s, prev 0/0, desc: LOCK xid %d db 16384 rel 16390 \n", 1000000+i, at, 1000000+i)
		fmt.Fprintf(&text, "rmgr: Transaction len (rec/tot):     34/    34, tx:  %d, lsn: %s, prev 0/0, desc: COMMIT 2026-11-26 07:00:00.%06d UTC\n", 1000000+i, at+8, i)
	}
	s.put(t, "dump.1", text.String())
	last := Target{Kind: Time, Time: time.Date(2026, 11, 26, 7, 0, 0, 19999000, time.UTC)}
	want := postgres.LSN(0x3000028 + 16*19999)
	got, err := FindStop(t.Context(), &s.run, s.source(1, 0), last, 0)
	if err != nil || got.At != want+8 || len(got.Locks) != 1 || got.Locks[0].At != want {
		t.Errorf("stops at %s with %d locks, %v", got.At, len(got.Locks), err)
	}
}

// TestALockThatAFailoverEndedIsNotHeld: no record tells the end of its transaction.
func TestALockThatAFailoverEndedIsNotHeld(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what         string
		xid          uint32
		oldest, next uint32
		held         bool
	}{
		{"its transaction ran", 741, 741, 745, true},
		{"it was over", 741, 742, 742, false},
		{"over, with transactions counted anew", 4294967290, 3, 3, false},
		{"newer than the counting anew", 5, 4294967290, 6, true},
	} {
		s := promoted(t)
		s.put(t, "dump.1", fmt.Sprintf(`rmgr: Standby     len (rec/tot):     42/    42, tx:        %d, lsn: 0/03000100, prev 0/03000028, desc: LOCK xid %[1]d db 16384 rel 16390 
end 0/04000500
`, c.xid))
		s.put(t, "dump.2", fmt.Sprintf(`rmgr: XLOG        len (rec/tot):     30/    30, tx:          0, lsn: 0/04000500, prev 0/04000400, desc: END_OF_RECOVERY tli 2
rmgr: Standby     len (rec/tot):     50/    50, tx:          0, lsn: 0/04000600, prev 0/04000500, desc: RUNNING_XACTS nextXid %d latestCompletedXid 1 oldestRunningXid %d
rmgr: Transaction len (rec/tot):     34/    34, tx:        900, lsn: 0/05000400, prev 0/04000600, desc: COMMIT 2026-11-26 07:10:00.000000 UTC
`, c.next, c.oldest))
		got, err := FindStop(t.Context(), &s.run, s.source(2, 0), accident, 0)
		if err != nil || got.At != 0x5000400 || (len(got.Locks) == 1) != c.held {
			t.Errorf("%s: %+v, %v", c.what, got, err)
		}
		before := Target{Kind: LSN, LSN: 0x4000580}
		if got, err := FindStop(t.Context(), &s.run, s.source(2, 0), before, 0); err != nil || len(got.Locks) != 1 {
			t.Errorf("%s, before that is known: %+v, %v", c.what, got, err)
		}
	}
}

// TestWhatComesAfterTheStopNeedNotBeRead: a commit that was found is before the place
// where pg_waldump gives up.
func TestWhatComesAfterTheStopNeedNotBeRead(t *testing.T) {
	t.Parallel()
	s := promoted(t)
	s.gone(t, "dump.2")
	early := Target{Kind: Time, Time: time.Date(2026, 11, 26, 6, 59, 0, 0, time.UTC)}
	if got, err := FindStop(t.Context(), &s.run, s.source(2, 0x5000500), early, 0); err != nil || got.At != 0x3000100 {
		t.Errorf("%+v, %v", got, err)
	}
	point := Target{Kind: Name, Name: "before"}
	if got, err := FindStop(t.Context(), &s.run, s.source(2, 0x5000500), point, 0x4000400); err != nil || got.At != 0x4000400 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAStopIsSeenInTheWALThatWasReceived(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at, to, end postgres.LSN
		want        bool
	}{{0, 0, 0, false}, {0, 0x5000000, 0, false}, {0x4000000, 0, 0, true}, {0x4000000, 0x4000000, 0, true}, {0x4000000, 0x3FFFFFF, 0, false},
		{0, 0, 0x5000000, false}, {0x4000000, 0, 0x4000000, true}, {0x4000000, 0, 0x3FFFFFF, false}} {
		if got := (Stop{At: c.at, End: c.end}).Seen(WALSource{To: c.to}); got != c.want {
			t.Errorf("at %s of what was received to %s, and ends at %s: %t", c.at, c.to, c.end, got)
		}
	}
}

// A server that is started goes again through WAL that it has replayed: a lock in that it
// takes whatever the target is, and one that is held for long is logged again later.
func TestALockInWhatIsReplayedIsNoPlaceToStopBefore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reached       postgres.LSN
		held, ahead   int
		commits       int
		first, target postgres.LSN
	}{
		{0, 0, 3, 1, 0x3000200, 0x3000450},
		{0x3000200, 0, 3, 1, 0x3000200, 0x3000450},
		{0x3000280, 2, 1, 1, 0x3000300, 0x3000450},
		{0x3000400, 3, 0, 0, 0, 0x3000450},
		{0x3000280, 2, 0, 0, 0, 0x3000580}, // those after it are over
	} {
		s := lockingSite(t)
		w := s.source(1, 0)
		w.Reached = c.reached
		got, err := FindStop(t.Context(), &s.run, w, Target{Kind: LSN, LSN: c.target}, 0)
		if err != nil || len(got.Held) != c.held || len(got.Locks) != c.ahead || got.Commits != c.commits || c.ahead > 0 && got.Locks[0].At != c.first {
			t.Errorf("from %s on: %+v, %v", c.reached, got, err)
		}
	}
	s := lockingSite(t)
	s.put(t, "dump.1", strings.Replace(locking, "RUNNING_XACTS nextXid 740", "LOCK xid 743 db 16384 rel 16400", 1))
	w := s.source(1, 0)
	w.Reached = 0x3000100
	got, err := FindStop(t.Context(), &s.run, w, Target{Kind: LSN, LSN: 0x3000580}, 0)
	if err != nil || len(got.Held) != 1 || got.Held[0].At != 0x3000028 || len(got.Locks) != 1 || got.Locks[0].Relation != 16401 {
		t.Errorf("logged again: %+v, %v", got, err)
	}
}

func TestWhereWALEndsIsReadFromWhatPgWaldumpSays(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]postgres.LSN{
		"": 0,
		"pg_waldump: error: error in WAL record at 0/3000178: invalid record length at 0/30001B0: wanted 24, got 0\n": 0x30001B0,
		"pg_waldump: error: error in WAL record at 0/03000178: invalid record length at 0/030001B0: expected at least 24, got 0\n" +
			"pg_waldump: error: error in WAL record at 0/03000100: invalid record length at 0/03000178: expected at least 24, got 0\n": 0x30001B0,
		"pg_xlogdump: FATAL:  error in WAL record at 0/3000178: unexpected pageaddr 0/1002000 in log segment 000000010000000000000003, offset 8192\n": 0x3000178,
		"pg_waldump: error: could not find file \"000000010000000000000004\": No such file or directory\n":                                            0,
	} {
		if got := endIn(words); got != want {
			t.Errorf("%s: %s", words, got)
		}
	}
}
