package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// local runs commands here.
type local struct{ out bytes.Buffer } // what came back

func (l *local) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if !c.Leash || c.As != "postgres" {
		return fmt.Errorf("as %q, on a leash: %t", c.As, c.Leash)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, stdio.Err
	err := cmd.Run()
	l.out.Write(out.Bytes())
	_, werr := stdio.Out.Write(out.Bytes())
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &host.ExitError{Cmd: c, Code: exit.ExitCode()}
	}
	return errors.Join(err, werr)
}

// fakeDump is a pg_waldump that has the records of a timeline as text, and ends as the
// real one does: with 0 where it was told to, and with 1 where it cannot go on, as when
// the timeline has no file with the start. The line "end LSN" of a text says up to where
// that WAL is there.
const fakeDump = `#!/bin/sh
while getopts p:t:s:e:r:n: o; do
	case $o in
	p) dir=$OPTARG ;; t) tli=$OPTARG ;; s) from=$OPTARG ;; e) to=$OPTARG ;; r) kind=$OPTARG ;; n) n=$OPTARG ;;
	*) exit 2 ;;
	esac
done
lo=${from#*/}
file=$(printf '%08X%08X%08X' "$tli" "0x${from%/*}" $((0x$lo >> 24)))
[ -f "$dir/dump.$tli" ] && [ -f "$dir/$file" ] || { echo 'pg_waldump: error: could not find file' >&2; exit 1; }
awk -v from="$from" -v to="$to" -v kind="$kind" -v n="$n" '
function key(l, p) { split(toupper(l), p, "/"); sub(/^0+/, "", p[1]); sub(/^0+/, "", p[2]); return sprintf("%8s/%8s", p[1], p[2]) }
/^end / { end = key($2) }
/^rmgr: / {
	match($0, / lsn: [0-9A-Fa-f\/]+/)
	at = key(substr($0, RSTART + 6, RLENGTH - 6))
	if (at < key(from) || to != "" && at >= key(to)) next
	seen++
	if (kind == "" || kind == $2) { print; if (n && ++shown == n) { enough = 1; exit } }
}
END {
	if (enough || seen && to != "" && key(to) <= end) exit 0
	print "pg_waldump: error: " (seen ? "error in WAL record" : "could not find a valid record after " from) | "cat >&2"
	exit 1
}' "$dir/dump.$tli"
`

// site is a WAL directory and a pg_waldump that reads it.
type site struct {
	dir, program string
	run          local
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: filepath.Join(t.TempDir(), "it's $pg_wal"), program: filepath.Join(t.TempDir(), "pg waldump")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hosttest.Program(t, s.program, fakeDump)
	return s
}

func (s *site) put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// segment is an empty WAL file of 16 MiB.
func (s *site) segment(t *testing.T, timeline uint32, at postgres.LSN) {
	t.Helper()
	name, err := postgres.SegmentName(timeline, at, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, name, "")
	if err := os.Truncate(filepath.Join(s.dir, name), 16<<20); err != nil {
		t.Fatal(err)
	}
}

// source is the WAL of a site from 0/3000028 on.
func (s *site) source(timeline int, to postgres.LSN) WALSource {
	return WALSource{Program: s.program, Dir: s.dir, As: "postgres", Timeline: timeline, From: 0x3000028, To: to}
}

// promoted is a site whose upstream was promoted at 0/4000500. It replays timeline 1, and
// has received timeline 2, where a table is dropped.
func promoted(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.put(t, "dump.1", `rmgr: XLOG        len (rec/tot):     30/    30, tx:          0, lsn: 0/03000028, prev 0/03000000, desc: NOOP 
rmgr: Transaction len (rec/tot):     34/    34, tx:        739, lsn: 0/03000100, prev 0/03000028, desc: COMMIT 2026-11-26 06:59:00.000000 UTC
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/04000400, prev 0/03000100, desc: RESTORE_POINT before
end 0/04000500
`)
	s.put(t, "dump.2", `rmgr: XLOG        len (rec/tot):     30/    30, tx:          0, lsn: 0/04000500, prev 0/04000400, desc: END_OF_RECOVERY tli 2; prev tli 1; time 2026-11-26 07:00:00.000000 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 0/04000600, prev 0/04000500, desc: COMMIT 2026-11-26 07:01:00.000000 UTC
rmgr: Standby     len (rec/tot):     42/    42, tx:        741, lsn: 0/05000100, prev 0/04000600, desc: LOCK xid 741 db 16384 rel 16390 
rmgr: Transaction len (rec/tot):     34/    34, tx:        742, lsn: 0/05000200, prev 0/05000100, desc: COMMIT 2026-11-26 07:02:00.000000 UTC
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/05000300, prev 0/05000200, desc: RESTORE_POINT after
rmgr: Transaction len (rec/tot):     34/    34, tx:        741, lsn: 0/05000400, prev 0/05000300, desc: COMMIT 2026-11-26 07:10:00.000000 UTC; rels: base/16384/16390
end 0/05000500
`)
	s.put(t, "00000002.history", "1\t0/4000500\tno recovery target specified\n")
	s.segment(t, 1, 0x3000000)
	s.segment(t, 1, 0x4000000)
	s.segment(t, 2, 0x4000000)
	s.segment(t, 2, 0x5000000)
	return s
}

// ten past seven is when the table is gone.
var accident = Target{Kind: Time, Time: time.Date(2026, 11, 26, 7, 10, 0, 0, time.UTC)}

func TestAPromotionOfTheUpstreamHidesNoLock(t *testing.T) {
	t.Parallel()
	held := []Lock{{0x5000100, 741, 16384, 16390}}
	for _, to := range []postgres.LSN{0, 0x5000500} {
		for reached := range 3 { // as the server tells it: 9.5, a restart, a walreceiver
			s := promoted(t)
			got, err := FindStop(t.Context(), &s.run, s.source(reached, to), accident, 0)
			if err != nil || got.At != 0x5000400 || len(got.Locks) != 1 || got.Locks[0] != held[0] || got.Commits != 1 {
				t.Errorf("timeline %d, up to %s: %+v, %v", reached, to, got, err)
			}
		}
	}
}

func TestARestorePointIsFoundOnBothSidesOfAPromotion(t *testing.T) {
	t.Parallel()
	s := promoted(t)
	for name, want := range map[string]postgres.LSN{"before": 0x4000400, "after": 0x5000300} {
		got, err := RestorePoint(t.Context(), &s.run, s.source(2, 0x5000500), name)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := RestorePoint(t.Context(), &s.run, s.source(2, 0x5000500), "nowhere"); !errors.Is(err, ErrNoRestorePoint) {
		t.Error(err)
	}
}

func TestCommitsAreCountedOnBothSidesOfAPromotion(t *testing.T) {
	t.Parallel()
	s := promoted(t)
	list := []stretch{{1, 0x3000028, 0x4000500, false}, {2, 0x4000500, 0, true}}
	got, err := commits(t.Context(), &s.run, s.source(2, 0), clip(list, 0x3000100, 0x5000400))
	if err != nil || got != 3 {
		t.Errorf("%d commits, %v", got, err)
	}
}

// TestWALThatIsNotReadIsNoAnswer: nothing found in it is not told from no lock and no
// restore point.
func TestWALThatIsNotReadIsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what  string
		spoil func(t *testing.T, s *site)
		to    postgres.LSN
		says  string
	}{
		{"no file with the position", func(t *testing.T, s *site) { s.gone(t, "000000010000000000000003") }, 0, "no file with 0/3000028"},
		{"no WAL", func(t *testing.T, s *site) { s.gone(t, "0*[0-9A-F]") }, 0x5000500, "no file with"},
		{"no directory", func(_ *testing.T, s *site) { s.dir += "/nowhere" }, 0, "nowhere"},
		{"a broken history", func(t *testing.T, s *site) { s.put(t, "00000002.history", "1\n") }, 0, "no LSN"},
		{"no history, all that there is", func(t *testing.T, s *site) { s.gone(t, "00000002.history") }, 0, "no file with"},
		{"a timeline in the middle that cannot be read", func(t *testing.T, s *site) { s.put(t, "dump.1", "") }, 0x5000500, "could not find a valid record after 0/3000028"},
		{"the last timeline cannot be read", func(t *testing.T, s *site) { s.gone(t, "dump.2") }, 0, "could not find file"},
		{"nor up to an end", func(t *testing.T, s *site) { s.gone(t, "dump.2") }, 0x5000500, "could not find file"},
		{"it breaks off before the end", func(t *testing.T, s *site) {
			s.put(t, "dump.2", "rmgr: XLOG        len (rec/tot):     30/    30, tx:          0, lsn: 0/04000500, prev 0/04000400, desc: NOOP \nend 0/04000600\n")
		}, 0x5000500, "error in WAL record"},
		{"it prints nothing and says nothing", func(t *testing.T, s *site) { hosttest.Program(t, s.program, "#!/bin/sh\nexit 0\n") }, 0x5000500, "ended with 1"},
		{"it is killed after it printed", func(t *testing.T, s *site) {
			hosttest.Program(t, s.program, "#!/bin/sh\necho 'rmgr: XLOG tx: 0, lsn: 0/05000400, prev 0/0, desc: NOOP '\nkill -9 $$\n")
		}, 0x5000500, "ended with 137"},
		{"it cannot be loaded", func(t *testing.T, s *site) {
			hosttest.Program(t, s.program, "#!/bin/sh\necho 'error while loading shared libraries' >&2; exit 127\n")
		}, 0x5000500, "shared libraries"},
	} {
		s := promoted(t)
		c.spoil(t, s)
		w := s.source(2, c.to)
		for what, err := range map[string]error{"stop": second(FindStop(t.Context(), &s.run, w, accident, 0)), "restore point": second(RestorePoint(t.Context(), &s.run, w, "after"))} {
			if !errors.Is(err, ErrUnread) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: %v", c.what, what, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// gone takes files away.
func (s *site) gone(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}
