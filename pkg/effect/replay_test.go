package effect_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	standing "github.com/pgrepctl/pgrepctl/pkg/replay"
)

func standbyRow(state, replayed, waits string) string {
	return `[{"in_recovery": true, "state": "` + state + `", "receive": "0/9000000", "replay": "` + replayed + `", "replayed_at": "2026-11-26T07:10:00.5+00:00", "now": "2026-11-26T07:11:00+00:00", "waits": ` + waits + `, "receiver": "streaming"}]`
}

const (
	progress = "query select pg_is_in_recovery()…"
	targets  = "query select name, setting as value…"
	noRows   = "[]"
	primary  = `[{"in_recovery": false, "now": "2026-11-26T07:11:00+00:00", "receiver": ""}]`
)

func setReplay(pause bool) *effect.SetReplay {
	return &effect.SetReplay{Host: "pg2", Pause: pause, Version: postgres.MakeVersion(15), Timeout: 200 * time.Millisecond, Data: "/data", As: "postgres"}
}

func onPG2(t *testing.T, calls ...hosttest.Call) *env {
	t.Helper()
	return newEnv(hosttest.NewScript(t, "pg2", hosttest.NewFS("/data"), append([]hosttest.Call{{Do: "connect"}}, calls...)...))
}

func TestAPauseIsWaitedForUntilItHolds(t *testing.T) {
	t.Parallel()
	in := onPG2(t,
		hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/1000000", "null")},
		hosttest.Call{Do: "exec select pg_wal_replay_pause()"},
		hosttest.Call{Do: progress, Out: standbyRow("pause requested", "0/1000000", "null")},
		hosttest.Call{Do: progress, Out: standbyRow("paused", "0/2000000", `"RecoveryPause"`)})
	out := do(t, setReplay(true), in)
	if out[effect.ReplayLSN] != "0/2000000" || out[effect.ReplayTime] != "2026-11-26 07:10:00.5+00" || out[effect.ReplayReceiver] != "streaming" {
		t.Errorf("%v", out)
	}
}

func TestAStandbyThatWaitsOutItsDelayStandsStill(t *testing.T) {
	t.Parallel()
	do(t, setReplay(true), onPG2(t,
		hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/1000000", `"RecoveryApplyDelay"`)},
		hosttest.Call{Do: "exec select pg_wal_replay_pause()"},
		hosttest.Call{Do: progress, Out: standbyRow("pause requested", "0/1000000", `"RecoveryApplyDelay"`)}))
}

func TestAPauseThatDoesNotHoldIsAFailureThatSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	calls := []hosttest.Call{{Do: progress, Out: standbyRow("not paused", "0/1000000", "null")}, {Do: "exec select pg_wal_replay_pause()"}}
	e := setReplay(true)
	e.Timeout = -time.Second // the first reading is the last
	calls = append(calls, hosttest.Call{Do: progress, Out: standbyRow("pause requested", "0/1000000", `"relation"`)})
	_, err := e.Do(t.Context(), onPG2(t, calls...))
	if fault.ClassOf(err) != fault.Failed || !strings.Contains(err.Error(), "it waits (relation), at 0/1000000") {
		t.Errorf("%v", err)
	}
}

func TestReplayIsNeverResumedAtARecoveryTarget(t *testing.T) {
	t.Parallel()
	set := `[{"name": "recovery_target_lsn", "value": "0/3000090"}]`
	for _, undo := range []bool{false, true} {
		e := setReplay(false)
		e.Undo = undo
		_, err := e.Do(t.Context(), onPG2(t, hosttest.Call{Do: progress, Out: standbyRow("paused", "0/1000000", "null")}, hosttest.Call{Do: targets, Out: set}))
		if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "promotes the server") {
			t.Errorf("undo %t: %v", undo, err)
		}
	}
	// Before 12 recovery.conf is the one that knows.
	fs := hosttest.NewFS("/data")
	fs.Put("/data/recovery.conf", "postgres", 0o600, "standby_mode = on\nrecovery_target_time = '2026-11-26 07:10:00+00'\n")
	e := setReplay(false)
	e.Version = postgres.MakeVersion(11)
	in := newEnv(hosttest.NewScript(t, "pg2", fs, hosttest.Call{Do: "connect"}, hosttest.Call{Do: progress, Out: standbyRow("paused", "0/1000000", "null")}))
	if _, err := e.Do(t.Context(), in); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "recovery_target_time") {
		t.Errorf("11: %v", err)
	}
}

func TestReplayIsResumedWithoutATarget(t *testing.T) {
	t.Parallel()
	do(t, setReplay(false), onPG2(t,
		hosttest.Call{Do: progress, Out: standbyRow("paused", "0/1000000", "null")},
		hosttest.Call{Do: targets, Out: noRows},
		hosttest.Call{Do: "exec select pg_wal_replay_resume()"},
		hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/1000000", "null")}))
}

func TestPromotionAtATargetWaitsForTheEndOfRecovery(t *testing.T) {
	t.Parallel()
	e := setReplay(false)
	e.Promote = true
	do(t, e, onPG2(t,
		hosttest.Call{Do: progress, Out: standbyRow("paused", "0/1000000", "null")},
		hosttest.Call{Do: targets, Out: `[{"name": "recovery_target_lsn", "value": "0/3000090"}]`},
		hosttest.Call{Do: "exec select pg_wal_replay_resume()"},
		hosttest.Call{Do: progress, Out: primary}))
	if e.Inverse() != nil || e.Describe().NoReturn == "" {
		t.Error("there is no way back from a promotion")
	}
}

func TestTakingBackAPauseIsHarmless(t *testing.T) {
	t.Parallel()
	inv := setReplay(true).Inverse()
	raw, err := effect.Encode(inv)
	if err != nil {
		t.Fatal(err)
	}
	back, err := effect.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	// It never happened, or was taken back by hand.
	do(t, back, onPG2(t, hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/1000000", "null")}))
	// It was promoted meanwhile.
	do(t, back, onPG2(t, hosttest.Call{Do: progress, Out: primary}))
}

func awaitTarget() *effect.AwaitTarget {
	return &effect.AwaitTarget{Host: "pg2", Version: postgres.MakeVersion(15), Timeout: -time.Second, Slot: "pg2", Upstream: "pg1",
		Target: standing.Target{Kind: standing.Time, Time: time.Date(2026, 11, 26, 7, 20, 0, 0, time.UTC)}}
}

func TestTheTargetIsReachedWhenReplayStands(t *testing.T) {
	t.Parallel()
	in := onPG2(t, hosttest.Call{Do: progress, Out: strings.Replace(standbyRow("paused", "0/1000000", "null"), "streaming", "", 1)},
		hosttest.Call{Do: "query select l.database…", Out: `[{"relation": 16390, "name": "shop"}]`})
	if out := do(t, awaitTarget(), in); out[effect.ReplayLSN] != "0/1000000" || out[effect.ReplayLocked] != "relation 16390 of database shop" {
		t.Errorf("%v", out)
	}
	if len(in.warnings) != 2 || !strings.Contains(in.warnings[0], "slot pg2 keeps it on pg1") {
		t.Errorf("no word of WAL that does not come in: %q", in.warnings)
	}
}

func TestATargetThatIsNotReachedIsAFailure(t *testing.T) {
	t.Parallel()
	for want, row := range map[string]string{
		"WAL that reaches the target has not come": standbyRow("not paused", "0/1000000", "null"),
		"it takes writes":                          primary,
		"replay is past the target":                strings.Replace(standbyRow("paused", "0/1000000", "null"), "07:10:00.5", "07:20:00", 1),
	} {
		_, err := awaitTarget().Do(t.Context(), onPG2(t, hosttest.Call{Do: progress, Out: row}))
		if fault.ClassOf(err) != fault.Failed || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestAPromotionThatWasToldAlreadyIsWaitedForAndNotToldAgain(t *testing.T) {
	t.Parallel()
	e := setReplay(false)
	e.Promote = true
	do(t, e, onPG2(t,
		hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/1000000", "null")},
		hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/1000000", "null")},
		hosttest.Call{Do: progress, Out: primary}))
	if e.Claim() == "" || e.Inverse() != nil {
		t.Error("begun, it does not count as done")
	}
}

// TestAPauseOfAHostThatIsCutOffIsLeftToItsLeash: only around a schema change is there
// always one, and only to take a pause back is no reason to stop the others.
func TestAPauseOfAHostThatIsCutOffIsLeftToItsLeash(t *testing.T) {
	t.Parallel()
	for _, gate := range []time.Duration{0, time.Second} {
		pause := setReplay(true)
		pause.Gate = gate
		in := newEnv(hosttest.NewScript(t, "pg2", hosttest.NewFS("/data"), hosttest.Call{Do: "connect", Err: &fault.Error{Class: fault.Unreachable, Host: "pg2", Err: io.EOF}}))
		_, err := pause.Inverse().Do(t.Context(), in)
		if left := len(in.warnings) == 1; left != (gate > 0) || (err == nil) != left {
			t.Errorf("gate %s: %v, %v", gate, err, in.warnings)
		}
	}
}
