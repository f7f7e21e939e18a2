package replay

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// dumps are what pg_waldump prints with -r Standby and -r Transaction.
var dumps = map[string]string{
	"Standby": `rmgr: Standby     len (rec/tot):     50/    50, tx:          0, lsn: 0/03000028, prev 0/03000000, desc: RUNNING_XACTS nextXid 740 latestCompletedXid 739 oldestRunningXid 740
rmgr: Standby     len (rec/tot):     42/    42, tx:        740, lsn: 0/03000060, prev 0/03000028, desc: LOCK xid 740 db 16384 rel 16390 
rmgr: Standby     len (rec/tot):     42/    42, tx:        743, lsn: 0/03000200, prev 0/03000100, desc: LOCK xid 743 db 16384 rel 16400 xid 743 db 16384 rel 16401 
rmgr: Standby     len (rec/tot):     42/    42, tx:        745, lsn: 0/03000300, prev 0/03000200, desc: LOCK xid 745 db 16384 rel 16410 
rmgr: Standby     len (rec/tot):     42/    42, tx:        750, lsn: 0/03000900, prev 0/03000800, desc: LOCK xid 750 db 16384 rel 16420 
`,
	"Transaction": `rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 0/03000100, prev 0/03000060, desc: COMMIT 2026-11-26 07:00:00.000001 UTC; rels: base/16384/16390
rmgr: Transaction len (rec/tot):     34/    34, tx:        741, lsn: 0/03000400, prev 0/03000300, desc: COMMIT 2026-11-26 07:05:00.000000 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        744, lsn: 0/03000500, prev 0/03000400, desc: COMMIT 2026-11-26 07:06:00.000000 UTC; subxacts: 745 746
rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/03000600, prev 0/03000500, desc: COMMIT 2026-11-26 07:10:00.000000 UTC; rels: base/16384/16400
rmgr: Transaction len (rec/tot):     34/    34, tx:        750, lsn: 0/03000a00, prev 0/03000900, desc: COMMIT 2026-11-26 07:11:00.000000 UTC
`,
}

// printed runs stopScript with a pg_waldump that prints the dumps.
func printed(t *testing.T, at, side string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range dumps {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "pg_waldump")
	hosttest.Program(t, program, "#!/bin/sh\nfor last; do :; done\ncat \"$2/$last\"\nexit 1\n")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", stopScript, "pgrepctl-stop", program, dir, "1", "0/3000000", "", at, side).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
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
		{"at its commit, to the microsecond", at(7, 10, 0), 0, Stop{At: 0x3000600, Locks: two}},
		{"before its commit", at(7, 9, 0), 0, Stop{At: 0x3000600, Locks: two}},
		{"with its commit: the next one holds another", inclusive, 0, Stop{At: 0x3000a00, Locks: []Lock{{0x3000900, 750, 16384, 16420}}}},
		{"before any of it", at(7, 0, 0), 0, Stop{At: 0x3000100, Locks: []Lock{{0x3000060, 740, 16384, 16390}}}},
		{"no commit that late", at(8, 0, 0), 0, Stop{}},
		{"at a position, with two in the middle", Target{Kind: LSN, LSN: 0x3000450}, 0, Stop{At: 0x3000450, Locks: append(append([]Lock{}, two...), Lock{0x3000300, 745, 16384, 16410})}},
		{"a child ends with its parent", Target{Kind: LSN, LSN: 0x3000580}, 0, Stop{At: 0x3000580, Locks: two}},
		{"at a position where all are over", Target{Kind: LSN, LSN: 0x3000700}, 0, Stop{At: 0x3000700}},
		{"at a restore point", Target{Kind: Name, Name: "x"}, 0x3000180, Stop{At: 0x3000180}},
	} {
		stamp, side := "", "before"
		if c.target.Kind == Time {
			stamp = c.target.Time.Format("2006-01-02 15:04:05.000000")
		}
		if c.target.Inclusive {
			side = "after"
		}
		got := stopIn(printed(t, stamp, side), c.target, c.stands)
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
	if out := printed(t, "2026-11-26 09:00:00.000000", "before"); strings.Contains(out, "tx:        741") {
		t.Errorf("printed:\n%s", out)
	}
}
