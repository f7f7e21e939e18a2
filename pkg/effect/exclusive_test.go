package effect_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

const (
	startExclusive = "select pg_start_backup($1, $2)::text as lsn"
	readFiles      = "query select pg_read_file(l) as label…"
	ourLabel       = "START WAL\\nLABEL: pgrepctl:run1:k\\n"
)

func exclusiveStart() *effect.StartExclusive {
	return &effect.StartExclusive{Host: "pg1", Label: "pgrepctl:run1:k", Fast: true, As: "postgres", Dir: "/srv/my data", Major: "9.5", Start: startExclusive}
}

func begunExclusive(t *testing.T, spaces string) (*hosttest.Script, *env) {
	t.Helper()
	s, in := script(t, call{Do: "connect own"}, call{Do: idleTimeout}, call{Do: "query " + startExclusive + " [pgrepctl:run1:k true]", Out: `[{"lsn":"0/2000028"}]`},
		call{Do: readFiles, Out: `[{"label":"` + ourLabel + `","map":null}]`}, call{Do: "query select pg_tablespace_location(oid)…", Out: spaces})
	out := do(t, exclusiveStart(), in)
	want := effect.Output{effect.BackupStartLSN: "0/2000028", effect.BackupStopLSN: "", effect.BackupLabel: "", effect.BackupMap: ""}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	return s, in
}

func TestWhatToDoAfterACrashIsSaidBeforeAnExclusiveBackupStarts(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect own", Err: errors.New("down"), Then: nil})
	_, err := exclusiveStart().Do(t.Context(), in)
	if err == nil || len(in.warnings) != 1 || !strings.Contains(in.warnings[0], `sudo -u postgres mv '/srv/my data/backup_label' '/srv/my data/backup_label.old'`) {
		t.Errorf("%v, %q", err, in.warnings)
	}
}

func TestAnExclusiveBackupYieldsTheFilesOfItsSource(t *testing.T) {
	t.Parallel()
	s, in := begunExclusive(t, `[]`)
	s.Expect(call{Do: readFiles, Out: `[{"label":"` + ourLabel + `","map":"1 /ts\n"}]`}, call{Do: "query select case when case…", Out: `[{"lsn":"0/2000100"}]`}, call{Do: "close"})
	out := do(t, &effect.StopExclusive{Host: "pg1", Copied: []string{}}, in)
	want := effect.Output{effect.BackupStopLSN: "0/2000100", effect.BackupLabel: "START WAL\nLABEL: pgrepctl:run1:k\n", effect.BackupMap: "1 /ts\n"}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

func TestAnExclusiveBackupThatEndedUnderTheCopyIsNoBackup(t *testing.T) {
	t.Parallel()
	const want = "pg1: stop the base backup: the exclusive backup of this run is not in progress any more: the server was stopped or crashed, or somebody ended it"
	for name, calls := range map[string][]call{
		"it is not in progress":    {{Do: readFiles, Out: `[]`}, {Do: "close"}},
		"another one is":           {{Do: readFiles, Out: `[{"label":"START WAL\nLABEL: nightly\n"}]`}, {Do: "close"}},
		"it ended in that instant": {{Do: readFiles, Out: `[{"label":"` + ourLabel + `"}]`}, {Do: "query select case…", Out: `[{"lsn":null}]`}, {Do: "close"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, in := begunExclusive(t, `[]`)
			s.Expect(calls...)
			_, err := (&effect.StopExclusive{Host: "pg1"}).Do(t.Context(), in)
			wantFault(t, err, want, fault.Failed)
		})
	}
	s, in := begunExclusive(t, `[]`)
	close(s.Lose)
	s.Expect(call{Do: "close"})
	_, err := (&effect.StopExclusive{Host: "pg1"}).Do(t.Context(), in)
	wantFault(t, err, want, fault.Failed)
	_, err = (&effect.StopExclusive{Host: "pg1"}).Do(t.Context(), newEnv(s))
	wantFault(t, err, want, fault.Failed)
}

// 9.4 gives no tablespace_map that would tell.
func TestAnExclusiveBackupIsRefusedWhenItsCopyMissesATablespace(t *testing.T) {
	t.Parallel()
	s, in := begunExclusive(t, `[{"location":"/ts/fast"},{"location":"/ts/late"}]`)
	s.Expect(call{Do: readFiles, Out: `[{"label":"` + ourLabel + `"}]`}, call{Do: "query select case…", Out: `[{"lsn":"0/2000100"}]`}, call{Do: "close"})
	_, err := (&effect.StopExclusive{Host: "pg1", Copied: []string{"/ts/fast"}}).Do(t.Context(), in)
	wantFault(t, err, "pg1: stop the base backup: a tablespace in /ts/late was made while this run prepared the copy, and is not in it", fault.Failed)
}

func TestASecondExclusiveBackupSaysWhereToLookForTheFirst(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect own"}, call{Do: idleTimeout}, call{Do: "query…", Err: &host.SQLError{Code: "55000", Message: "a backup is already in progress"}}, call{Do: "close"})
	_, err := exclusiveStart().Do(t.Context(), in)
	wantFault(t, err, "pg1: start the base backup: a backup is already in progress (SQLSTATE 55000)", fault.Failed)
	var f *fault.Error
	if errors.As(err, &f); !strings.Contains(f.Hint, "/srv/my data/backup_label") || len(in.held) != 0 {
		t.Errorf("hint %q, held %d", f.Hint, len(in.held))
	}
}

func TestTheEndOfABackupIsJournalledAndHarmless(t *testing.T) {
	t.Parallel()
	raw, err := effect.Encode(exclusiveStart().Inverse())
	if err != nil {
		t.Fatal(err)
	}
	end, err := effect.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	const ended, ours = "query select case when case when pg_is_in_backup() then position(chr(10) || 'LABEL: pgrepctl:run1:k' || chr(10)…", "query select case when pg_is_in_backup()…"
	archiver := errors.New("cancelled while it waits for the archiver")
	for name, c := range map[string]struct {
		calls []call
		want  string
	}{
		"it is in progress":                     {[]call{{Do: "connect"}, {Do: ended, Out: `[{"lsn":"0/1"}]`}}, ""},
		"it is not":                             {[]call{{Do: "connect"}, {Do: ended, Out: `[{"lsn":null}]`}}, ""},
		"the archiver fails":                    {[]call{{Do: "connect"}, {Do: ended, Err: archiver}, {Do: ours, Out: `[{"ours":false}]`}}, ""},
		"it cannot be ended":                    {[]call{{Do: "connect"}, {Do: ended, Err: errors.New("no")}, {Do: ours, Out: `[{"ours":true}]`}}, "pg1: end the exclusive backup: no"},
		"nobody can say":                        {[]call{{Do: "connect"}, {Do: ended, Err: errors.New("no")}, {Do: ours, Err: errors.New("no")}}, "pg1: end the exclusive backup: no"},
		"the server does not start with backup": {[]call{{Do: "connect", Err: host.ErrNoServer}}, "pg1: end the exclusive backup: no PostgreSQL server listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, in := script(t, c.calls...)
			_, err := end.Do(t.Context(), in)
			if got := text(err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestASlotIsReservedOnTheRightServerOnly(t *testing.T) {
	t.Parallel()
	e := &effect.ReserveSlot{Host: "pg1", From: "pg1", Slot: "pg2", Major: "9.5", SystemID: "1", Login: host.Login{Address: "10.0.0.1", Port: 5432, User: "r", Slot: "pg2"}}
	_, in := script(t, call{Do: "login r@10.0.0.1:5432", Out: "1"}, call{Do: "login r@10.0.0.1:5432 slot pg2", Out: "1"}, call{Do: "connect"},
		call{Do: "query select restart_lsn…", Out: `[{"done":false}]`}, call{Do: "query select restart_lsn…", Out: `[{"done":true}]`})
	do(t, e, in)
	// Another server there has a slot of that name, too: it is not touched.
	_, in = script(t, call{Do: "login r@10.0.0.1:5432", Out: "2"})
	_, err := e.Do(t.Context(), in)
	wantFault(t, err, "pg1: 10.0.0.1:5432, seen from here, is another server: system identifier 2, expected 1", fault.Refused)
}
