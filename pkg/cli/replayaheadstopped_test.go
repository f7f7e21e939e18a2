package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// parts answers each script of a look ahead by what is in it.
type parts struct {
	managers, files, stop, points string
	code                          int // of all that reads WAL
}

func (p *parts) Run(_ context.Context, c host.Cmd, stdio host.Stdio) error {
	text, script := p.files, c.Argv[2]
	switch {
	case strings.Contains(script, "patroni"):
		text = p.managers
	case p.code != 0:
		return &host.ExitError{Cmd: c, Code: p.code}
	case strings.Contains(script, "RUNNING_XACTS"):
		text = p.stop
	case strings.Contains(script, "RESTORE_POINT"):
		text = p.points
	case strings.Contains(script, "n + 0"):
		text = "0\n"
	}
	_, err := io.WriteString(stdio.Out, text)
	return err
}

// A stopped standby is started with the target: what its replay goes through is in its files.
func TestALookAheadOfAStoppedStandby(t *testing.T) {
	t.Parallel()
	h := &inventory.Host{Name: "pg4", Postgres: inventory.Postgres{Version: "15", DataDirectory: "/srv/pg", OSUser: "postgres"}}
	f := facts.New("pg4", nil)
	f.Machine.BinDirectory = "/bin15"
	// It begins at 0/3000028, and its files are of 0/3000300.
	f.Data = facts.DataDir{State: facts.Cluster, Standby: true, Control: postgres.Control{RedoLSN: 0x3000028, Timeline: 1, MinRecoveryLSN: 0x3000300, MinRecoveryTimeline: 2}}
	if !stoppedStandby(f) {
		t.Error("it is none")
	}
	const files = "wal 000000010000000000000003\nsize 16777216\nwal 000000020000000000000003\nsize 16777216\nhistory 00000002\n= 1\t0/3000200\tx\n"
	lock := func(at string) string {
		return "rmgr: Standby len (rec/tot): 42/42, tx: 741, lsn: " + at + ", prev 0/0, desc: LOCK xid 741 db 5 rel 7 \n"
	}
	stop := func(at string) string {
		return "stop rmgr: Transaction len (rec/tot): 34/34, tx: 741, lsn: " + at + ", prev 0/0, desc: COMMIT 2026-11-26 07:10:00.000000 UTC\n"
	}
	at := replay.Target{Kind: replay.Time, Time: time.Date(2026, 11, 26, 7, 10, 0, 0, time.UTC)}
	point := replay.Target{Kind: replay.Name, Name: "x"}
	restore := func(at string) string {
		return "rmgr: XLOG len (rec/tot): 98/98, tx: 0, lsn: " + at + ", prev 0/0, desc: RESTORE_POINT x\n"
	}
	for what, c := range map[string]struct {
		on     parts
		target replay.Target
		o      untilOptions
		says   string // in the refusal
		hint   string
		note   string
		want   replay.Target
		stands postgres.LSN
	}{
		"a lock that is ahead":            {on: parts{stop: lock("0/03000400") + stop("0/03000500")}, target: at, note: "the target is moved", want: replay.Target{Kind: replay.LSN, LSN: 0x3000400}},
		"no lock":                         {on: parts{stop: stop("0/03000500")}, target: at, want: at},
		"a lock that it has replayed":     {on: parts{stop: lock("0/03000100") + stop("0/03000500")}, target: at, note: "at 0/3000100, which it has replayed", want: at},
		"that lock, which is noted anew":  {on: parts{stop: lock("0/03000100") + lock("0/03000400") + stop("0/03000500")}, target: at, note: "which it has replayed", want: at},
		"it would stop too early":         {on: parts{stop: stop("0/03000200")}, target: at, says: "it has replayed up to 0/3000300", hint: "what it has replayed cannot be taken back"},
		"no commit that late":             {target: at, note: "has not received all WAL", want: at},
		"its WAL is not there":            {on: parts{files: "-"}, target: at, says: "no file with 0/3000028", hint: "add --locked"},
		"there is no pg_waldump":          {on: parts{code: 125}, target: at, says: "no such program", hint: "install it; or add --locked"},
		"it is accepted":                  {on: parts{code: 125}, target: at, o: untilOptions{locked: true}, want: at},
		"a position that it is past":      {on: parts{code: 1}, target: replay.Target{Kind: replay.LSN, LSN: 0x3000200}, want: replay.Target{Kind: replay.LSN, LSN: 0x3000200}},
		"a restore point":                 {on: parts{points: restore("0/03000400")}, target: point, want: point, stands: 0x3000400},
		"a restore point that it is past": {on: parts{points: restore("0/03000100")}, target: point, want: point, stands: 0x3000100},
		"no restore point":                {target: point, says: "no such restore point", hint: "if it is behind that"},
		"Patroni is set up":               {on: parts{managers: "patroni\n"}, target: at, says: "Patroni runs there", hint: "keep it from acting"},
		"and that is accepted":            {on: parts{managers: "patroni\n", stop: stop("0/03000500")}, target: at, o: untilOptions{managed: true}, want: at},
	} {
		if c.on.files == "" {
			c.on.files = files
		}
		var notes strings.Builder
		a := &app{Stdio: Stdio{Err: &notes}}
		got, stands, err := a.aheadOfStart(t.Context(), &c.on, h, f, c.target, c.o)
		if c.says != "" {
			var refused *fault.Error
			if !errors.As(err, &refused) || refused.Class != fault.Refused || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(refused.Hint, c.hint) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil || got != c.want || stands != c.stands || !strings.Contains(notes.String(), c.note) || (c.note == "") != (notes.Len() == 0) {
			t.Errorf("%s: %+v at %s, %v\n%s", what, got, stands, err, notes.String())
		}
	}
}

func TestTheWALOfAStoppedStandbyIsThatBehindItsRestartpoint(t *testing.T) {
	t.Parallel()
	h := &inventory.Host{Name: "pg4", Postgres: inventory.Postgres{Version: "9.6", DataDirectory: "/srv/pg", OSUser: "pg"}}
	f := facts.New("pg4", nil)
	f.Machine.BinDirectory = "/bin96"
	for _, c := range []struct {
		least   postgres.LSN
		reached postgres.LSN
	}{{0x3000300, 0x3000300}, {0, 0x3000028}, {0x2000000, 0x3000028}} {
		f.Data.Control = postgres.Control{RedoLSN: 0x3000028, Timeline: 3, MinRecoveryLSN: c.least, MinRecoveryTimeline: 2}
		want := replay.WALSource{Program: "/bin96/pg_xlogdump", Dir: "/srv/pg/pg_xlog", As: "pg", Timeline: 3, From: 0x3000028, Reached: c.reached}
		if got, err := walOfStopped(h, f); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// The whole command, over SSH: no server runs on that host.
func TestReplayUntilLooksAheadOfAStoppedStandby(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	up := remotetest.Start(t, remotetest.Config{})
	data, bin, inv := filepath.Join(dir, "data"), filepath.Join(dir, "bin"), filepath.Join(dir, "inventory.yaml")
	control, err := os.ReadFile("../postgres/testdata/control/16.control") // its redo LSN is 0/14DDE80
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{data, bin, data + "/global", data + "/pg_wal"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"PG_VERSION": "16\n", "global/pg_control": string(control), "standby.signal": "", "pg_wal/000000010000000000000001": "",
		"postgresql.conf": "", "postgresql.auto.conf": ""} {
		remotetest.WriteFile(t, filepath.Join(data, name), []byte(text))
	}
	if err := os.Truncate(data+"/pg_wal/000000010000000000000001", 16<<20); err != nil {
		t.Fatal(err)
	}
	hosttest.Program(t, bin+"/postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 16.4'\n")
	hosttest.Program(t, bin+"/pg_waldump", `#!/bin/sh
case "$*" in
*'-n 1'*) echo 'rmgr: XLOG len (rec/tot): 30/30, tx: 0, lsn: 0/014DDE80, prev 0/0, desc: NOOP ' ;;
*'-r Standby'*) echo 'rmgr: Standby len (rec/tot): 42/42, tx: 741, lsn: 0/014DDF00, prev 0/0, desc: LOCK xid 741 db 5 rel 7 ' ;;
*'-r Transaction'*)
	echo 'rmgr: Transaction len (rec/tot): 34/34, tx: 740, lsn: 0/014DDF80, prev 0/0, desc: COMMIT 2026-11-26 07:00:00.000000 UTC'
	echo 'rmgr: Transaction len (rec/tot): 34/34, tx: 741, lsn: 0/014DDFC0, prev 0/0, desc: COMMIT 2026-11-26 07:10:00.000000 UTC' ;;
esac
`)
	remotetest.WriteFile(t, inv, []byte(fmt.Sprintf(`cluster: shop
postgres: {version: 16, data_directory: %[1]s, bin_directory: %[2]s, os_user: nobody, port: 1}
ssh: {user: nobody, become: none, port: %[3]d, config_file: %[4]s, identity_file: %[5]s, known_hosts: %[6]s}
hosts:
  pg1: {address: 127.0.0.1, role: primary, ssh: {port: 1}}
  pg2: {address: 127.0.0.1, role: standby, postgres: {port: 2}}
`, data, bin, up.Port, os.DevNull, up.Key.File, up.KnownHosts)))
	var out, errs bytes.Buffer
	env := func(name string) string { return map[string]string{"HOME": dir}[name] }
	code := Run(t.Context(), []string{"-i", inv, "replay", "until", "pg2", "--time", "2026-11-26 07:10:00Z", "--accept-manager", "--dry-run"},
		Stdio{In: strings.NewReader(""), Out: &out, Err: &errs, Env: env})
	if got := errs.String(); code != int(fault.Refused) || !strings.Contains(got, "pg2: at 0/14DDFC0 a transaction has locked tables that nobody could read then: relation 7 of database 5, locked by transaction 741 at 0/14DDF00") ||
		!strings.Contains(got, "--lsn 0/14DDF00 stops before the lock, and without the last 2 commits") {
		t.Errorf("exit code %d\n%s%s", code, got, &out)
	}
}
