package effect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

func copyOf() *effect.Copy {
	return &effect.Copy{Host: "pg1", As: "postgres", Argv: []string{"rsync", "a", "b"}, What: "the data directory", From: "pg0", Into: "/data", Data: "/data", Fresh: true, Total: 4 << 20, Commits: effect.CommitLimit{Off: true}}
}

func TestCopyTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	out := "\r          32,768   0%    0.00kB/s    0:00:00  \r       1,081,344  25%   1.03MB/s    0:00:00 (xfr#1, to-chk=0/9)\r\n\nNumber of files: 9\nTotal file size: 4,194,304 bytes\n4194304 100% tail without newline"
	_, in := script(t, call{Do: "run rsync a b as postgres", Out: out})
	do(t, copyOf(), in)
	var bytes []int64
	for _, p := range in.progress {
		bytes = append(bytes, p.Bytes)
		if p.Total == 0 {
			t.Error("the total is missing")
		}
	}
	// The first at once, and the last; not each of those that come between.
	if diff := cmp.Diff([]int64{32768, 4194304}, bytes); diff != "" {
		t.Error(diff)
	}
}

func TestFilesThatVanishAreLookedAtOnceMore(t *testing.T) {
	t.Parallel()
	vanished := exit(24, "file has vanished")
	_, in := script(t, call{Do: "run rsync a b…", Err: vanished}, call{Do: "run rsync --modify-window=-1 a b…"})
	do(t, copyOf(), in)
	if len(in.warnings) != 1 {
		t.Errorf("warnings: %q", in.warnings)
	}
	_, in = script(t, call{Do: "run rsync…", Err: vanished}, call{Do: "run rsync…", Err: vanished})
	do(t, copyOf(), in)
}

func TestAPartialTransferIsNeverAccepted(t *testing.T) {
	t.Parallel()
	for _, before := range [][]call{nil, {{Do: "run rsync…", Err: exit(24, "vanished")}}} {
		_, in := script(t, append(before, call{Do: "run rsync…", Err: exit(23, "read errors mapping \"x\": Input/output error (5)\nrsync error: some files could not be transferred (code 23)")})...)
		_, err := copyOf().Do(t.Context(), in)
		wantFault(t, err, "pg1: copy the data directory from pg0: rsync: exit status 23: rsync error: some files could not be transferred (code 23)", fault.Failed)
	}
}

const cutShort = "rsync: [sender] read errors mapping \"/data/base/5/16400\": Keine Daten verfügbar (61)\nrsync error: some files could not be transferred (code 23)"

// PostgreSQL cuts the files of a table that is dropped, truncated or vacuumed, also while
// rsync reads them.
func TestFilesThatAreCutShortAreLookedAtOnceMore(t *testing.T) {
	t.Parallel()
	for said, again := range map[string]string{
		cutShort: "run rsync --modify-window=-1 a b…",
		"file has vanished: \"/data/x\"\n" + cutShort: "run rsync --modify-window=-1 a b…",
		// What else was wrong must not be passed over.
		"rsync: [sender] send_files failed to open \"/data/y\": Permission denied (13)\n" + cutShort: "run rsync a b…",
		strings.Repeat("x", 4096) + "\n" + cutShort:                                                  "run rsync a b…",
	} {
		_, in := script(t, call{Do: "run rsync a b…", Err: exit(23, said)}, call{Do: again, Err: exit(23, said)}, call{Do: again})
		do(t, copyOf(), in)
		if len(in.warnings) != 2 || !strings.Contains(in.warnings[0], "cut short") {
			t.Errorf("warnings: %q", in.warnings)
		}
	}
	always := make([]call, 11)
	for i := range always {
		always[i] = call{Do: "run rsync…", Err: exit(23, cutShort)}
	}
	_, in := script(t, always...)
	_, err := copyOf().Do(t.Context(), in)
	wantFault(t, err, "pg1: copy the data directory from pg0: rsync: exit status 23: rsync error: some files could not be transferred (code 23)", fault.Failed)
}

func TestACancelledCopyNamesTheCause(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	lost := errors.New("the backup session was lost")
	_, in := script(t, call{Do: "run rsync…", Err: context.Canceled, Then: func() { cancel(lost) }})
	_, err := copyOf().Do(ctx, in)
	wantFault(t, err, "pg1: copy the data directory from pg0: the backup session was lost", fault.Failed)
}

func await(delayed bool) *effect.AwaitStreaming {
	return &effect.AwaitStreaming{Host: "pg1", Upstream: "pg1", Application: "pg2", Delayed: delayed, Timeout: time.Minute, Version: 150000, Log: "/log"}
}

const (
	senders = "query select state, concat(sent_lsn, replay_lsn) as mark…"
	goal    = "query select (case when pg_is_in_recovery()…"
	mark    = "query select case when pg_is_in_recovery()…"
	replay  = "query select pg_last_wal_receive_lsn()…"
)

// A temporary slot ends with its session, which the server ends to take the WAL away.
func TestACopyWhoseSlotWasEndedNamesTheLimitOfSlots(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]string{
		`[{"limit":"1MB"}]`: "pg1: copy the data directory from pg0: the backup session was lost: it ends when the slot that keeps the WAL has reached max_slot_wal_keep_size, which is 1MB on pg0",
		`[]`:                "pg1: copy the data directory from pg0: the backup session was lost",
	} {
		e := copyOf()
		e.Holds = true
		ctx, cancel := context.WithCancelCause(t.Context())
		_, in := script(t, call{Do: "run rsync…", Err: context.Canceled, Then: func() { cancel(effect.HoldLost{Key: "backup"}) }})
		src := hosttest.NewScript(t, "pg0", hosttest.NewFS())
		src.Expect(call{Do: "connect"}, call{Do: "query select current_setting(name)…", Out: limit})
		in.hosts["pg0"] = src
		_, err := e.Do(ctx, in)
		wantFault(t, err, want, fault.Failed)
	}
}

func TestWaitReachesAPositionTakenAfterTheStart(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: senders}, call{Do: "query select pg_last_wal_replay_lsn() as replay…"}, call{Do: senders, Out: `[{"state":"catchup"}]`}, call{Do: senders, Out: `[{"state":"streaming"}]`},
		call{Do: mark, Out: `[{"lsn":"0/300"}]`}, call{Do: replay, Out: `[{"receive":"0/300","replay":null}]`}, call{Do: replay, Out: `[{"receive":"0/300","replay":"0/2FF"}]`},
		call{Do: replay, Out: `[{"receive":"0/300","replay":"0/300"}]`})
	out := do(t, await(false), in)
	if diff := cmp.Diff(effect.Output{"streaming.lsn": "0/300"}, out); diff != "" {
		t.Error(diff)
	}
}

func TestWaitForADelayedStandbyAsksWhatItReceived(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: senders, Out: `[{"state":"streaming"}]`}, call{Do: mark, Out: `[{"lsn":"0/300"}]`},
		call{Do: replay, Out: `[{"receive":"0/300","replay":"0/100","paused":true}]`})
	do(t, await(true), in)
}

func TestWaitFailsOnPausedReplayAndOnTime(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: senders, Out: `[{"state":"streaming"}]`}, call{Do: mark, Out: `[{"lsn":"0/300"}]`},
		call{Do: replay, Out: `[{"receive":"0/300","replay":"0/100","paused":true}]`}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`})
	_, err := await(false).Do(t.Context(), in)
	wantFault(t, err, "pg1: wait until it streams from pg1: replay is paused", fault.Failed)
	_, in = script(t, call{Do: "connect"}, call{Do: senders, Out: `[{"state":"catchup"}]`}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "query select greatest(…"})
	e := await(false)
	e.Timeout = -1
	_, err = e.Do(t.Context(), in)
	wantFault(t, err, "pg1: wait until it streams from pg1: not streaming, and no progress for -1ns: its walsender is in state catchup", fault.Failed)
}

// No waiting brings back WAL that the upstream has removed: the way on is another copy.
func TestAWaitForWALThatIsGoneNamesTheReseed(t *testing.T) {
	t.Parallel()
	const still = "pg1: wait until it streams from pg1: not streaming, and no progress for -1ns: no walsender for it"
	for name, c := range map[string]struct {
		at, oldest, size string
		delayed, gone    bool
	}{
		"gone":                     {at: `[{"lsn":"0/5000000"}]`, oldest: "0000000000000006", size: "16777216", gone: true},
		"there, in a greater file": {at: `[{"lsn":"0/5000000"}]`, oldest: "0000000000000000", size: "1073741824"},
		"there":                    {at: `[{"lsn":"0/5000000"}]`, oldest: "0000000000000005", size: "16777216"},
		"nothing replayed":         {at: `[{"lsn":null}]`},
		"paused":                   {at: `[]`},
		"delayed":                  {delayed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := []call{{Do: "connect"}, {Do: senders, Out: `[]`}, {Do: "query select pg_last_wal_replay_lsn() as replay…"}, {Do: inRecovery, Out: `[{"in_recovery":true}]`}}
			if c.at != "" {
				calls = append(calls, call{Do: "query select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) as lsn where not pg_is_wal_replay_paused()", Out: c.at})
			}
			if c.oldest != "" {
				calls = append(calls, call{Do: "query select f.name…", Out: `[{"name":"00000001` + c.oldest + `","size":` + c.size + `}]`})
			}
			_, in := script(t, calls...)
			e := await(c.delayed)
			e.Timeout = -1
			_, err := e.Do(t.Context(), in)
			want, hint := still, "its walreceiver says why in /log"
			if c.gone {
				want += "; pg1 has removed the WAL that it needs next: it ends at 0/5000000, and the oldest file there is 0000000000000006"
				hint = "once this run is undone, or abandoned: pgrepctl standby reseed pg1"
			}
			wantFault(t, err, want, fault.Failed)
			var f *fault.Error
			if !errors.As(err, &f) || f.Hint != hint {
				t.Errorf("hint %q, want %q", f.Hint, hint)
			}
		})
	}
}

func TestVerifyNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: "query select (select system…", Out: `[{"system":"1","timeline":2,"recovery":false}]`},
		call{Do: "query select (select system…", Out: `[{"system":"2","timeline":1,"recovery":false,"paused":true}]`}, call{Do: "query select active…", Out: `[{"active":false}]`}, call{Do: dataDirectory, Out: `[{"dir":"/data"}]`})
	_, err := (&effect.VerifyStandby{Host: "pg1", Upstream: "pg1", Slot: "pg2", Version: 150000}).Do(t.Context(), in)
	wantFault(t, err, "pg1: verify the standby: it is not in recovery: it takes writes\nsystem identifier 2, that of pg1 is 1\ntimeline 1, pg1 is on 2\nreplay is paused\nslot pg2 on pg1 is not in use", fault.Failed)
}

func TestVerifyEndsWithARestartPoint(t *testing.T) {
	t.Parallel()
	good := `[{"system":"1","timeline":1,"recovery":true}]`
	_, in := script(t, call{Do: "connect"}, call{Do: "query select (select system…", Out: good}, call{Do: "query select (select system…", Out: good},
		call{Do: "query select active…", Out: `[{"active":true}]`}, call{Do: "exec CHECKPOINT"})
	do(t, &effect.VerifyStandby{Host: "pg1", Upstream: "pg1", Slot: "pg2", Version: 150000}, in)
}

func TestAProvenLoginMustReachTheRightServer(t *testing.T) {
	t.Parallel()
	e := &effect.ProveLogin{Host: "pg1", Upstream: "pg0", SystemID: "1", Login: host.Login{User: "r", Address: "10.0.0.1", Port: 5432}}
	_, in := script(t, call{Do: "login r@10.0.0.1:5432", Out: "1"}, call{Do: "login r@10.0.0.1:5432", Out: "2"}, call{Do: "login…", Err: errors.New("no pg_hba.conf entry")})
	do(t, e, in)
	_, err := e.Do(t.Context(), in)
	wantFault(t, err, "pg1: 10.0.0.1:5432, seen from here, is another server: system identifier 2, expected 1", fault.Refused)
	_, err = e.Do(t.Context(), in)
	wantFault(t, err, "pg1: log in for replication to pg0: no pg_hba.conf entry", fault.Auth)
}

func TestExecSaysWhatFailed(t *testing.T) {
	t.Parallel()
	e := &effect.Exec{Host: "pg1", As: "postgres", Argv: []string{"initdb", "--sync-only"}, Verb: "fsync", What: "/data"}
	_, in := script(t, call{Do: "run initdb --sync-only as postgres"}, call{Do: "run initdb…", Err: exit(1, "no space")})
	do(t, e, in)
	_, err := e.Do(t.Context(), in)
	wantFault(t, err, "fsync /data: initdb: exit status 1: no space", fault.Failed)
}

func TestApplicationNameFitsTheServer(t *testing.T) {
	t.Parallel()
	if got := (effect.Run{ID: "run1", Operator: "anna@desk"}).Application(); got != "pgrepctl run1 anna@desk" {
		t.Error(got)
	}
	long := effect.Run{ID: "20261122T041002Z-7f3a", Operator: "a-long-name@a-very-long-host-name.example.org"}
	if got := long.Application(); len(got) != 63 {
		t.Errorf("%d bytes", len(got))
	}
	if got := (effect.Run{ID: "run1", Operator: "jürgen@büro\t"}).Application(); got != "pgrepctl run1 j?rgen@b?ro?" {
		t.Errorf("a server changes %q", got)
	}
}
