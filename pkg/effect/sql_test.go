package effect_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

type call = hosttest.Call

func script(t *testing.T, calls ...call) (*hosttest.Script, *env) {
	t.Helper()
	s := hosttest.NewScript(t, "pg1", hosttest.NewFS("/tmp"), calls...)
	return s, newEnv(s)
}

func createRole() *effect.SQL {
	return &effect.SQL{Host: "pg1", Verb: "create", What: "role r", Statements: []string{"BEGIN", "CREATE ROLE r PASSWORD '***'", "COMMIT"},
		Private: []secret.Value{secret.New("BEGIN"), secret.New("CREATE ROLE r PASSWORD '" + canary + "'"), secret.New("COMMIT")},
		Undo:    &effect.SQL{Host: "pg1", Verb: "drop", What: "role r", Statements: []string{"DROP ROLE r"}, Unless: "select done"}, Hint: "look"}
}

func TestPrivateStatementsAreSentOneByOneAndNotJournalled(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: "exec BEGIN"}, call{Do: "exec CREATE ROLE r PASSWORD '" + canary + "'"}, call{Do: "exec COMMIT"})
	e := createRole()
	do(t, e, in)
	raw, err := effect.Encode(e)
	if err != nil || strings.Contains(string(raw), canary) {
		t.Errorf("%v, %s", err, raw)
	}
}

func TestARefusedTransactionIsRolledBackAndKnownNotToHaveHappened(t *testing.T) {
	t.Parallel()
	refused := &host.SQLError{Code: "42710", Message: "role \"r\" already exists"}
	_, in := script(t, call{Do: "connect"}, call{Do: "exec BEGIN"}, call{Do: "exec CREATE ROLE…", Err: refused}, call{Do: "exec ROLLBACK"})
	_, err := createRole().Do(t.Context(), in)
	wantFault(t, err, `pg1: create role r: role "r" already exists (SQLSTATE 42710)`, fault.Failed)
	if !errors.Is(err, effect.ErrUntouched) {
		t.Error("it may have happened")
	}
}

func TestASettingBeforeATransactionIsNoneOfItsStatements(t *testing.T) {
	t.Parallel()
	for _, refused := range []string{"SET a = 0", "BEGIN", "CREATE ROLE r"} {
		list := []string{"SET a = 0", "BEGIN", "CREATE ROLE r", "COMMIT"}
		calls := []call{{Do: "connect"}}
		for i, q := range list {
			if q == refused {
				calls = append(calls, call{Do: "exec " + q, Err: &host.SQLError{Code: "42710"}})
				if i > 0 {
					calls = append(calls, call{Do: "exec ROLLBACK"})
				}
				break
			}
			calls = append(calls, call{Do: "exec " + q})
		}
		_, in := script(t, calls...)
		if _, err := (&effect.SQL{Host: "pg1", Statements: list}).Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) {
			t.Errorf("%s: %v", refused, err)
		}
	}
}

func TestALostConnectionLeavesTheOutcomeOpen(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: "exec BEGIN"}, call{Do: "exec CREATE ROLE…"}, call{Do: "exec COMMIT", Err: errors.New("connection lost")}, call{Do: "exec ROLLBACK"})
	_, err := createRole().Do(t.Context(), in)
	wantFault(t, err, "pg1: create role r: connection lost", fault.Failed)
	if errors.Is(err, effect.ErrUntouched) {
		t.Error("nobody knows whether it was committed")
	}
}

func TestARefusedStatementBehindOneThatCountsLeavesTheOutcomeOpen(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: "exec one"}, call{Do: "exec two", Err: &host.SQLError{Code: "42501"}}, call{Do: "exec ROLLBACK"},
		call{Do: "exec one", Err: &host.SQLError{Code: "42501"}})
	e := &effect.SQL{Host: "pg1", Statements: []string{"one", "two"}}
	if _, err := e.Do(t.Context(), in); errors.Is(err, effect.ErrUntouched) {
		t.Error("the first statement has happened")
	}
	if _, err := e.Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("nothing has happened: %v", err)
	}
}

func TestUnlessSkipsWhatIsDone(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: "query select done", Out: `[{"done":true}]`}, call{Do: "query select done", Out: `[{"done":false}]`}, call{Do: "exec DROP ROLE r"})
	do(t, createRole().Inverse(), in)
	do(t, createRole().Inverse(), in)
}

func TestADropWaitsForAWalsenderThatEnds(t *testing.T) {
	t.Parallel()
	busy := &host.SQLError{Code: "55006", Message: "replication slot is active"}
	_, in := script(t, call{Do: "connect"}, call{Do: "exec drop", Err: busy}, call{Do: "exec drop", Err: busy}, call{Do: "exec drop"})
	do(t, &effect.SQL{Host: "pg1", Verb: "drop", What: "slot", Statements: []string{"drop"}}, in)
}

func TestADropStopsWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("stopped")
	_, in := script(t, call{Do: "connect"}, call{Do: "exec drop", Err: &host.SQLError{Code: "55006"}, Then: func() { cancel(ended) }})
	if _, err := (&effect.SQL{Host: "pg1", Statements: []string{"drop"}}).Do(ctx, in); !errors.Is(err, ended) {
		t.Errorf("got %v", err)
	}
}

func TestReloadWaitsUntilItIsTaken(t *testing.T) {
	t.Parallel()
	const at = "query select pg_conf_load_time()…"
	_, in := script(t, call{Do: "connect"}, call{Do: at, Out: `[{"at":"1"}]`}, call{Do: "exec select pg_reload_conf()"},
		call{Do: at, Out: `[{"at":"1"}]`}, call{Do: at, Out: `[{"at":"2"}]`})
	do(t, &effect.Reload{Host: "pg1"}, in)
}

func TestTheClusterLockIsHeldUntilReleased(t *testing.T) {
	t.Parallel()
	s, in := script(t, call{Do: "connect"}, call{Do: idleTimeout}, call{Do: "query select pg_try_advisory_lock(1885827685, 1) as ok", Out: `[{"ok":true}]`})
	do(t, &effect.TakeLock{Host: "pg1"}, in)
	if len(in.held) != 1 {
		t.Fatal("nothing is held")
	}
	s.Expect(call{Do: "close"})
	do(t, &effect.ReleaseLock{Host: "pg1"}, in)
	do(t, &effect.ReleaseLock{Host: "pg1"}, in) // freed already
}

func TestATakenLockNamesItsHolder(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: idleTimeout}, call{Do: "query select pg_try…", Out: `[{"ok":false}]`},
		call{Do: "query select a.pid…", Out: `[{"pid":7,"application":"pgrepctl run0 bob@desk","since":"2026-11-22"}]`}, call{Do: "close"})
	_, err := (&effect.TakeLock{Host: "pg1"}).Do(t.Context(), in)
	wantFault(t, err, "pg1: another run holds the cluster lock: pgrepctl run0 bob@desk, since 2026-11-22 (server process 7)", fault.Locked)
}

const idleTimeout = "exec select set_config(name, '75s', false) from pg_settings where name = 'idle_session_timeout'"

const startBackup = "select pg_backup_start($1, $2)::text as lsn"

func begun(t *testing.T) (*hosttest.Script, *env) {
	t.Helper()
	s, in := script(t, call{Do: "connect own"}, call{Do: idleTimeout}, call{Do: "query " + startBackup + " [pgrepctl:run1 true]", Out: `[{"lsn":"0/2000028"}]`})
	out := do(t, &effect.StartBackup{Host: "pg1", Label: "pgrepctl", Fast: true, Start: startBackup, Stop: "select stop"}, in)
	// What an earlier backup of the run found out counts no more.
	want := effect.Output{effect.BackupStartLSN: "0/2000028", effect.BackupStopLSN: "", effect.BackupLabel: "", effect.BackupMap: ""}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	return s, in
}

func TestABackupYieldsItsLabel(t *testing.T) {
	t.Parallel()
	s, in := begun(t)
	s.Expect(call{Do: "query select stop", Out: `[{"lsn":"0/2000100","labelfile":"START WAL\n","spcmapfile":"1 /ts\n"}]`}, call{Do: "close"})
	out := do(t, &effect.StopBackup{Host: "pg1"}, in)
	want := effect.Output{effect.BackupStopLSN: "0/2000100", effect.BackupLabel: "START WAL\n", effect.BackupMap: "1 /ts\n"}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

func TestABackupIsRefusedWhenItsCopyMissesATablespace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		copied []string
		spaces string
		want   string
	}{
		"one is missing": {[]string{"/ts/fast"}, `1 /ts/fast\n2 /ts/late one\n`,
			"pg1: stop the base backup: a tablespace in /ts/late one was made while this run prepared the copy, and is not in it"},
		"the only one is missing":  {[]string{}, `1 /ts\n`, "pg1: stop the base backup: a tablespace in /ts was made while this run prepared the copy, and is not in it"},
		"one was dropped":          {[]string{"/ts/fast", "/ts/gone"}, `1 /ts/fast\n`, ""},
		"nothing was copied by us": {nil, `1 /ts/fast\n`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, in := begun(t)
			s.Expect(call{Do: "query select stop", Out: `[{"lsn":"0/2000100","labelfile":"START WAL\n","spcmapfile":"` + c.spaces + `"}]`}, call{Do: "close"})
			out, err := (&effect.StopBackup{Host: "pg1", Copied: c.copied}).Do(t.Context(), in)
			if c.want == "" {
				if err != nil || out[effect.BackupMap] == "" {
					t.Errorf("got %v, %v", out, err)
				}
				return
			}
			wantFault(t, err, c.want, fault.Failed)
			var f *fault.Error
			if errors.As(err, &f); f.Hint != "pgrepctl runs resume run1" {
				t.Errorf("hint: %s", f.Hint)
			}
		})
	}
}

func TestABackupWhoseSessionIsLostCannotBeStopped(t *testing.T) {
	t.Parallel()
	s, in := begun(t)
	close(s.Lose)
	s.Expect(call{Do: "close"})
	_, err := (&effect.StopBackup{Host: "pg1"}).Do(t.Context(), in)
	wantFault(t, err, "pg1: stop the base backup: the session that began the backup is gone, and with it the backup", fault.Failed)
	_, err = (&effect.StopBackup{Host: "pg1"}).Do(t.Context(), newEnv(s))
	wantFault(t, err, "pg1: stop the base backup: the session that began the backup is gone, and with it the backup", fault.Failed)
}

func TestABackupWithoutALabelIsNone(t *testing.T) {
	t.Parallel()
	s, in := begun(t)
	s.Expect(call{Do: "query select stop", Out: `[{"lsn":"0/2000100"}]`}, call{Do: "close"})
	_, err := (&effect.StopBackup{Host: "pg1"}).Do(t.Context(), in)
	wantFault(t, err, "stop the base backup: the server gave no backup label", fault.Failed)
}

func TestAnAbandonedBackupEndsWithItsSession(t *testing.T) {
	t.Parallel()
	s, in := begun(t)
	s.Expect(call{Do: "close"})
	for _, h := range in.held {
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestABackupThatDoesNotStartClosesItsSession(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect own"}, call{Do: idleTimeout}, call{Do: "query…", Err: &host.SQLError{Code: "55000", Message: "a backup is in progress"}}, call{Do: "close"})
	_, err := (&effect.StartBackup{Host: "pg1", Start: startBackup}).Do(t.Context(), in)
	wantFault(t, err, "start the base backup: a backup is in progress (SQLSTATE 55000)", fault.Failed)
	if len(in.held) != 0 {
		t.Error("something is held")
	}
}

func service(action string, expect effect.Expect) *effect.Service {
	return &effect.Service{Host: "pg1", Action: action, Expect: expect, Timeout: time.Minute, Control: effect.Control{
		Start: effect.Command{Argv: []string{"ctl", "start"}}, Stop: effect.Command{Argv: []string{"ctl", "stop"}}, Restart: effect.Command{Argv: []string{"ctl", "restart"}}, Log: "/log"}}
}

const inRecovery = "query select pg_is_in_recovery() as in_recovery"

func TestStartWaitsUntilTheServerAnswers(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "run ctl start"}, call{Do: "connect", Err: host.ErrNoServer}, call{Do: "connect", Err: &host.SQLError{Code: "57P03", Message: "starting up"}},
		call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "close"})
	do(t, service("start", effect.ExpectStandby), in)
}

func TestAStandbyThatOpensReadWriteIsStoppedAtOnce(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "run ctl start"}, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":false}]`}, call{Do: "close"}, call{Do: "run ctl stop"})
	_, err := service("start", effect.ExpectStandby).Do(t.Context(), in)
	wantFault(t, err, "pg1: start the standby: the server opened read-write instead of following its upstream", fault.Failed)
}

func TestAStandbyThatCannotBeStoppedIsCriedOut(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "run ctl start"}, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":false}]`}, call{Do: "close"}, call{Do: "run ctl stop", Err: exit(1, "no")})
	_, err := service("start", effect.ExpectStandby).Do(t.Context(), in)
	var f *fault.Error
	if !errors.As(err, &f) || !strings.HasPrefix(f.State, "IT IS STILL RUNNING, AND WRITABLE") {
		t.Errorf("got %+v", f)
	}
}

func TestAFailedStartShowsTheServersOwnWords(t *testing.T) {
	t.Parallel()
	const severe = "run sh -c tail -c…"
	for _, c := range []struct {
		name string
		log  []call
		want string
	}{
		{"severe ones", []call{{Do: severe, Out: "LOG:  x\nFATAL:  could not open file\nLOG:  y\n"}}, "stopped waiting\nFATAL:  could not open file"},
		{"the last ones", []call{{Do: severe, Out: "LOG:  x\n"}, {Do: "run tail -n 8 /log", Out: "LOG:  x\n"}}, "stopped waiting\nLOG:  x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, in := script(t, append([]call{{Do: "run ctl start", Err: exit(1, "stopped waiting\n")}, {Do: "connect", Err: host.ErrNoServer}}, c.log...)...)
			_, err := service("start", "").Do(t.Context(), in)
			wantFault(t, err, "pg1: start the server: ctl: exit status 1: stopped waiting", fault.Failed)
			var f *fault.Error
			if errors.As(err, &f); f.Stderr != c.want || f.Hint != "read /log on pg1" {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// A service manager may wait for a day where a server that cannot stream never
// answers.
func TestAStartCommandThatDoesNotReturnIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	e := service("start", effect.ExpectStandby)
	e.Timeout = 10 * time.Millisecond
	s, _ := script(t, call{Do: "connect", Err: host.ErrNoServer}, call{Do: "run sh -c tail -c…", Out: "FATAL:  could not connect to the primary server\n"})
	_, err := e.Do(t.Context(), newEnv(hangs{s, "ctl"}))
	wantFault(t, err, "pg1: start the server: the server did not answer within 10ms", fault.Failed)
	var f *fault.Error
	if errors.As(err, &f); f.Stderr != "FATAL:  could not connect to the primary server" {
		t.Errorf("got %q", f.Stderr)
	}
}

// hangs is a host on which one program never returns.
type hangs struct {
	*hosttest.Script
	program string
}

func (h hangs) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if c.Argv[0] == h.program {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.Script.Run(ctx, c, stdio)
}

func TestUndoOfAStartTellsEvenASilentServerToStop(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "run ctl stop", Err: exit(1, "no server running")}, call{Do: "connect", Err: host.ErrNoServer})
	do(t, service("start", "").Inverse(), in)
}

func TestUndoOfAStopStartsOnlyWhatIsDown(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: "close"})
	do(t, service("stop", "").Inverse(), in)
	_, in = script(t, call{Do: "connect", Err: host.ErrNoServer}, call{Do: "run ctl start"}, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":false}]`}, call{Do: "close"})
	do(t, service("stop", "").Inverse(), in)
	if service("restart", "").Inverse() != nil {
		t.Error("a restart has an inverse")
	}
}

const downstreams = "query select application_name as application from pg_stat_replication order by 1"

func TestUndoOfAStandbysStartStopsItOnlyWhileItIsOne(t *testing.T) {
	t.Parallel()
	inverse := func() effect.Effect { return service("start", effect.ExpectStandby).Inverse() }
	_, in := script(t, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: downstreams, Out: "[]"}, call{Do: "close"}, call{Do: "run ctl stop"})
	do(t, inverse(), in)

	_, in = script(t, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":false}]`}, call{Do: "close"})
	_, err := inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: the server takes writes: it was promoted after this run, and undoing would destroy its data", fault.Refused)

	_, in = script(t, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: downstreams, Out: `[{"application":"pg9"}]`}, call{Do: "close"})
	_, err = inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: pg9 streams from it", fault.Refused)
}

func TestAServerThatIsStartedAlreadyIsOnlyAwaited(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "close"})
	do(t, service("await", effect.ExpectStandby), in)
}

func TestAStartThatItsManagerGaveUpOnIsAwaited(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "run ctl start", Err: exit(1, "stopped waiting")}, call{Do: "connect", Err: &host.SQLError{Code: "57P03", Message: "starting up"}},
		call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "close"})
	do(t, service("start", effect.ExpectStandby), in)
}

func TestARecoveryThatGoesOnIsNeverGivenUp(t *testing.T) {
	t.Parallel()
	e := service("start", effect.ExpectStandby)
	e.Timeout, e.Data, e.DataAs, e.Signal = 50*time.Millisecond, "/data", "postgres", "standby.signal"
	starting := &host.SQLError{Code: "57P03", Message: "the database system is starting up"}
	calls := []call{{Do: "connect", Err: starting}}
	for range 12 { // longer than the time-out
		calls = append(calls, call{Do: "connect", Err: starting})
	}
	s, _ := script(t, append(calls, call{Do: "connect"}, call{Do: "query select pg_is_in_recovery…", Out: `[{"in_recovery":true}]`}, call{Do: "close"})...)
	fs := hosttest.NewFS("/data")
	fs.Put("/data/standby.signal", "postgres", 0o600, "")
	h := &movingControl{hostWithFiles: hostWithFiles{hangs{s, "ctl"}, fs}}
	if _, err := e.Do(t.Context(), newEnv(h)); err != nil {
		t.Error(err)
	}
}

// movingControl is a host whose recovery goes on: each reading finds another
// control file.
type movingControl struct {
	hostWithFiles
	n int
}

func (h *movingControl) Files(as string) host.Files {
	h.n++
	h.fs.Put("/data/global/pg_control", "postgres", 0o600, strconv.Itoa(h.n))
	return h.hostWithFiles.Files(as)
}

func TestACopyWithoutItsSignalFileIsNotStarted(t *testing.T) {
	t.Parallel()
	fs := hosttest.NewFS("/data")
	_, in := script(t)
	in.hosts["pg1"] = hostWithFiles{in.hosts["pg1"], fs}
	e := service("start", effect.ExpectStandby)
	e.Data, e.DataAs, e.Signal = "/data", "postgres", "standby.signal"
	_, err := e.Do(t.Context(), in)
	wantFault(t, err, "pg1: start the server: it would open read-write: /data/standby.signal is gone", fault.Refused)
	if !errors.Is(err, effect.ErrUntouched) {
		t.Error("it does not say that nothing was changed")
	}
}

// hostWithFiles answers for files, and lets another host answer for the rest.
type hostWithFiles struct {
	host.Host
	fs *hosttest.FS
}

func (h hostWithFiles) Files(as string) host.Files { return h.fs.Files(as) }

// TestAnErrorThatMayComeAfterTheWorkLeavesTheOutcomeOpen: a slot is made outside of any
// transaction, and its statement can be cancelled when it is there.
func TestAnErrorThatMayComeAfterTheWorkLeavesTheOutcomeOpen(t *testing.T) {
	t.Parallel()
	slot := []string{"SET a = 0", "select pg_create_physical_replication_slot('pg2')"}
	role := []string{"SET a = 0", "BEGIN", "CREATE ROLE r", "COMMIT"}
	both := []string{"BEGIN", "CREATE ROLE r", "COMMIT", "select pg_create_physical_replication_slot('pg2')"}
	for _, c := range []struct {
		code      string
		list      []string
		fails     int
		untouched bool
	}{
		{"57014", slot, 1, false},
		{"57P01", slot, 1, false},
		{"57P02", slot, 1, false},
		{"08006", slot, 1, false},
		{"58030", slot, 1, false},
		{"53100", slot, 1, false},
		{"53200", slot, 1, false},
		{"40001", slot, 1, false},
		{"XX000", slot, 1, false},
		{"", slot, 1, false},
		{"42710", slot, 1, true},
		{"42501", slot, 1, true},
		{"53400", slot, 1, true},
		{"55000", slot, 1, true},
		{"57014", slot, 0, true},
		{"57014", role, 1, true},
		{"57014", role, 2, true},
		{"57P01", role, 3, false},
		{"23505", role, 3, true},
		{"42710", both, 3, false},
	} {
		calls := []call{{Do: "connect"}}
		for i, q := range c.list[:c.fails+1] {
			x := call{Do: "exec " + q}
			if i == c.fails {
				x.Err = &host.SQLError{Code: c.code}
			}
			calls = append(calls, x)
		}
		if c.fails > 0 {
			calls = append(calls, call{Do: "exec ROLLBACK"})
		}
		_, in := script(t, calls...)
		_, err := (&effect.SQL{Host: "pg1", Statements: c.list}).Do(t.Context(), in)
		if err == nil || errors.Is(err, effect.ErrUntouched) != c.untouched {
			t.Errorf("%q of %q: %v, nothing was changed: %t", c.code, c.list[c.fails], err, errors.Is(err, effect.ErrUntouched))
		}
	}
}
