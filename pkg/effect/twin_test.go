package effect_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

const dataDirectory = "query select current_setting('data_directory') as dir"

// starter is an Env through which pg1 was started as a standby.
type starter struct{ *env }

func (starter) Started(name string) (*effect.Service, bool) {
	return service("start", effect.ExpectStandby), name == "pg1"
}

func twins(t *testing.T, e effect.Effect, in effect.Env) *fault.Error {
	t.Helper()
	_, err := e.Do(t.Context(), in)
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Failed || !strings.Contains(f.Error(), "it takes writes") {
		t.Fatalf("got %v", err)
	}
	return f
}

// recovered is what is asked until it is seen that recovery has ended.
func recovered() map[string][]call {
	return map[string][]call{
		"before it streamed": {{Do: "connect"}, {Do: senders}, {Do: "query select pg_last_wal_replay_lsn() as replay…", Out: `[{"replay":"0/300","writable":true}]`}, {Do: inRecovery, Out: `[{"in_recovery":false}]`}},
		"after it had streamed": {{Do: "connect"}, {Do: senders, Out: `[{"state":"streaming"}]`}, {Do: mark, Out: `[{"lsn":"0/300"}]`}, {Do: replay, Out: `[{"receive":"0/300","replay":"0/300","writable":true}]`},
			{Do: inRecovery, Out: `[{"in_recovery":false}]`}},
		"while its walsender was there": {{Do: "connect"}, {Do: senders, Err: errors.New("terminated")}, {Do: inRecovery, Out: `[{"in_recovery":false}]`}},
	}
}

func TestAStandbyThatLeavesRecoveryWhileItIsWaitedForIsStoppedAtOnce(t *testing.T) {
	t.Parallel()
	for name, calls := range recovered() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, in := script(t, append(calls, call{Do: "exec select 1"}, call{Do: "run ctl stop"})...)
			f := twins(t, await(false), starter{in})
			if f.State != "it was stopped at once" || !strings.Contains(f.Hint, "pgrepctl runs resume run1") {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestAWritableServerThatTheRunDidNotStartIsNotStopped(t *testing.T) {
	t.Parallel()
	for name, calls := range recovered() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, in := script(t, append(calls, call{Do: dataDirectory, Out: `[{"dir":"/my data"}]`})...)
			f := twins(t, await(false), in)
			if !strings.Contains(f.State, "WRITABLE") || !strings.Contains(f.Hint, "pg_ctl stop -m fast -D '/my data', on pg1") {
				t.Errorf("%+v", f)
			}
		})
	}
}

// The primary is gone: the operator may have promoted the new standby.
func TestAWritableServerWhoseUpstreamIsGoneIsNotStopped(t *testing.T) {
	t.Parallel()
	sb := hosttest.NewScript(t, "pg1", hosttest.NewFS(), call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":false}]`}, call{Do: dataDirectory, Out: `[{"dir":"/data"}]`})
	gone := errors.New("connection lost")
	up := hosttest.NewScript(t, "pg0", hosttest.NewFS(), call{Do: "connect"}, call{Do: senders, Err: gone}, call{Do: "exec select 1", Err: gone})
	e := await(false)
	e.Upstream = "pg0"
	_, err := e.Do(t.Context(), starter{newEnv(sb, up)})
	var f *fault.Error
	if !errors.As(err, &f) || !errors.Is(err, gone) || !strings.Contains(f.State, "WRITABLE: pg0 does not answer") || !strings.Contains(f.Hint, "pg_ctl stop -m fast -D /data, on pg1") {
		t.Errorf("%+v", f)
	}
}

func TestATwinThatCannotBeStoppedIsSaidToBeThere(t *testing.T) {
	t.Parallel()
	_, in := script(t, append(recovered()["before it streamed"], call{Do: "exec select 1"}, call{Do: "run ctl stop", Err: exit(1, "not permitted")})...)
	f := twins(t, await(false), starter{in})
	if !strings.Contains(f.State, "IT IS STILL RUNNING, AND WRITABLE: stopping it failed") || f.Hint != "stop it now, on pg1: ctl stop" {
		t.Errorf("%+v", f)
	}
}

func TestAStandbyThatIsWritableWhenItIsVerifiedIsStoppedAtOnce(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: "query select (select system…", Out: `[{"system":"1","timeline":1}]`}, call{Do: "query select (select system…", Out: `[{"system":"1","timeline":2}]`},
		call{Do: "exec select 1"}, call{Do: "run ctl stop"})
	f := twins(t, &effect.VerifyStandby{Host: "pg1", Upstream: "pg1", Version: 150000}, starter{in})
	if f.State != "it was stopped at once" {
		t.Errorf("%+v", f)
	}
}

func TestAWaitSaysOnlyWhatItKnowsOfRecovery(t *testing.T) {
	t.Parallel()
	failed := []call{{Do: "connect"}, {Do: senders, Err: errors.New("terminated")}}
	for want, last := range map[string]call{
		"the standby runs, in recovery":                {Do: inRecovery, Out: `[{"in_recovery":true}]`},
		"whether it is in recovery could not be asked": {Do: inRecovery, Err: errors.New("connection lost")},
	} {
		_, in := script(t, append(failed, last)...)
		_, err := await(false).Do(t.Context(), starter{in})
		var f *fault.Error
		if !errors.As(err, &f) || f.State != want {
			t.Errorf("want %q, got %+v", want, f)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, in := script(t, call{Do: "connect"}, call{Do: senders, Then: cancel, Err: context.Canceled})
	_, err := await(false).Do(ctx, starter{in})
	var f *fault.Error
	if !errors.As(err, &f) || f.State != "the standby was left as it is" {
		t.Errorf("%+v", f)
	}
}
