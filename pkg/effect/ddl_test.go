package effect_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

const (
	addNote  = "alter table items add column note text"
	identity = `[{"system": "77", "timeline": 3, "recovery": false}]`
)

func newDDL() *effect.DDL {
	return &effect.DDL{Host: "pg1", Database: "shop", Version: postgres.MakeVersion(15), Statements: []string{addNote}, System: "77", Timeline: 3,
		LockTimeout: 200 * time.Millisecond, LockWait: time.Minute, Timeout: time.Second}
}

func exec(sql string) hosttest.Call { return hosttest.Call{Do: "exec " + sql} }

// ddlBegun is an attempt up to its statement.
func ddlBegun() []hosttest.Call {
	return []hosttest.Call{
		{Do: "query select (select system_identifier…", Out: identity},
		exec("BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '1000ms'; select set_config('synchronous_commit'…"),
		{Do: "query select txid_current()…", Out: `[{"xid": "700"}]`},
	}
}

// below is an attempt for which standbys are paused, with what is asked before its first
// statement.
func below(attempt []hosttest.Call, statements ...string) []hosttest.Call {
	return slices.Insert(slices.Clone(attempt), 2, mayLock("true", statements...))
}

// mayLock is that question of items; the others that are told of are those of its answer.
func mayLock(lone string, statements ...string) hosttest.Call {
	return hosttest.Call{Do: "query with recursive below as (select n, oid, lone from (select 0 as n, to_regclass('items')::oid as oid, " + lone + " as lone…",
		Out: "[" + strings.Join(append([]string{`{"n": 0, "oid": 16400}`}, statements...), ", ") + "]"}
}

// ddlRun is an attempt up to its COMMIT.
func ddlRun() []hosttest.Call {
	return append(ddlBegun(), exec(addNote),
		hosttest.Call{Do: "query select txid_current()…", Out: `[{"xid": "700"}]`},
		hosttest.Call{Do: "query select relation::bigint as oid from pg_locks…", Out: `[{"oid": 16400}, {"oid": 16412}]`})
}

// durable has the WAL of it flushed, on the run's ordinary session.
func durable() []hosttest.Call {
	return append(connected(), exec("select set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'pgrepctl', '')"))
}

func flushedAt(lsn string) []hosttest.Call {
	return []hosttest.Call{{Do: "connect"}, {Do: "query select pg_current_wal_flush_lsn()…", Out: `[{"lsn": "` + lsn + `"}]`}}
}

func onPG1(t *testing.T, calls ...[]hosttest.Call) *env {
	t.Helper()
	var all []hosttest.Call
	for _, c := range calls {
		all = append(all, c...)
	}
	return newEnv(hosttest.NewScript(t, "pg1", hosttest.NewFS(), all...))
}

func connected() []hosttest.Call { return []hosttest.Call{{Do: "connect"}} }
func closed() []hosttest.Call    { return []hosttest.Call{{Do: "close"}} }

func TestTheTransactionIsNotedBeforeItsCommit(t *testing.T) {
	t.Parallel()
	var in *env
	commit := hosttest.Call{Do: "exec COMMIT", Then: func() {
		if in.known[effect.DDLXid] != "700" || in.known[effect.DDLRelations] != "16400,16412" {
			t.Errorf("noted before the COMMIT: %v", in.known)
		}
	}}
	in = onPG1(t, connected(), ddlRun(), durable(), []hosttest.Call{commit}, flushedAt("0/5000100")[1:], closed())
	out := do(t, newDDL(), in)
	if out[effect.DDLPosition] != "0/5000100" || out[effect.DDLAttempts] != "1" {
		t.Errorf("%v", out)
	}
}

// pausedAnew is pg2 between two attempts.
func pausedAnew() []hosttest.Call {
	is := func(state string) hosttest.Call {
		return hosttest.Call{Do: progress, Out: standbyRow(state, "0/9000000", "null")}
	}
	return []hosttest.Call{
		// resumed
		is("paused"), {Do: targets, Out: noRows}, exec("select pg_wal_replay_resume()"), is("not paused"),
		// and paused again, once it has caught up
		is("not paused"), is("not paused"), is("not paused"), exec("select pg_wal_replay_pause()"), is("paused"), {Do: "query select l.database::int8…", Out: noRows}}
}

func TestALockThatIsNotObtainedIsTriedForAgainAndReplayGoesOnBetween(t *testing.T) {
	t.Parallel()
	refused := exec(addNote)
	refused.Err = &host.SQLError{Code: "55P03", Message: "canceling statement due to lock timeout"}
	in := onPG1(t, connected(), below(ddlBegun()), []hosttest.Call{refused, exec("ROLLBACK")}, below(ddlRun()), durable(), []hosttest.Call{exec("COMMIT")}, flushedAt("0/5000100")[1:], closed())
	in.hosts["pg2"] = onPG2(t, slices.Concat(pausedAnew(), stillPaused())...).hosts["pg2"]
	out := do(t, pausedDDL(), in)
	if out[effect.DDLAttempts] != "2" || out[effect.DDLPaused+"pg2"] == "" || len(in.warnings) != 1 {
		t.Errorf("%v, %v", out, in.warnings)
	}
}

func TestWhatTheServerRefusesHasNotHappened(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code  string
		class fault.Class
	}{"a mistake": {"42703", fault.Failed}, "a rewrite": {postgres.RewriteRefused, fault.Refused}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused := exec(addNote)
			refused.Err = &host.SQLError{Code: c.code, Message: "no"}
			in := onPG1(t, connected(), ddlBegun(), []hosttest.Call{refused, exec("ROLLBACK")}, closed())
			_, err := newDDL().Do(t.Context(), in)
			if !errors.Is(err, effect.ErrUntouched) || fault.ClassOf(err) != c.class || !strings.Contains(err.Error(), "statement 1 of 1") || len(in.known) > 0 {
				t.Errorf("got %v, noted %v", err, in.known)
			}
		})
	}
}

func TestALockThatWasNotForeseenIsRolledBack(t *testing.T) {
	t.Parallel()
	in := onPG1(t, connected(), ddlRun(), connected(), []hosttest.Call{{Do: "query select relname…", Out: `[{"name": "items"}]`}}, closed(), []hosttest.Call{exec("ROLLBACK")}, closed())
	e := newDDL()
	e.NoLock = true
	if _, err := e.Do(t.Context(), in); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "items") || !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("got %v", err)
	}
}

func TestAnotherTimelineIsAnotherPrimary(t *testing.T) {
	t.Parallel()
	in := onPG1(t, connected(), ddlBegun()[:1], []hosttest.Call{exec("ROLLBACK")}, closed())
	e := newDDL()
	e.Timeline = 2
	if _, err := e.Do(t.Context(), in); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "failover") {
		t.Errorf("got %v", err)
	}
}

// status answers what became of transaction 700.
func status(s string) []hosttest.Call {
	return []hosttest.Call{{Do: "connect"}, {Do: "query select txid_status…", Out: `[{"status": "` + s + `"}]`}}
}

func TestOfACommitThatNobodyAnsweredThePrimaryIsAsked(t *testing.T) {
	t.Parallel()
	lost := exec("COMMIT")
	lost.Err = errors.New("the connection is lost")
	in := onPG1(t, connected(), ddlRun(), durable(), []hosttest.Call{lost}, status("committed")[1:], flushedAt("0/5000100")[1:], closed())
	if out := do(t, newDDL(), in); out[effect.DDLPosition] != "0/5000100" {
		t.Errorf("%v", out)
	}
	in = onPG1(t, connected(), ddlRun(), durable(), []hosttest.Call{lost}, status("aborted")[1:], closed())
	if _, err := newDDL().Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("got %v", err)
	}
}

func TestARunThatGoesOnDoesNotRunTwiceWhatIsCommitted(t *testing.T) {
	t.Parallel()
	in := onPG1(t, status("committed"), flushedAt("0/5000100")[1:])
	in.known = effect.Output{effect.DDLXid: "700"}
	if out := do(t, newDDL(), in); out[effect.DDLPosition] != "0/5000100" {
		t.Errorf("%v", out)
	}
}

func TestWhatIsCommittedCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	fate := newDDL().Inverse()
	in := onPG1(t, status("committed"))
	in.known = effect.Output{effect.DDLXid: "700"}
	if _, err := fate.Do(t.Context(), in); !errors.Is(err, effect.ErrHappened) {
		t.Errorf("got %v", err)
	}
	in = onPG1(t, status("aborted"))
	in.known = effect.Output{effect.DDLXid: "700"}
	do(t, fate, in)
	// What a crash has lost of an id that was noted before its WAL was flushed.
	in = onPG1(t, []hosttest.Call{{Do: "connect"}, {Do: "query select txid_status…", Err: &host.SQLError{Code: "22023", Message: "transaction ID 700 is in the future"}}})
	in.known = effect.Output{effect.DDLXid: "700"}
	do(t, fate, in)
	do(t, fate, onPG1(t)) // it did not come so far
}

func TestAPauseThatFreezesALockIsTakenBackAndTriedAgain(t *testing.T) {
	t.Parallel()
	row := func(state string) hosttest.Call {
		return hosttest.Call{Do: progress, Out: standbyRow(state, "0/9000000", "null")}
	}
	locks := func(rows string) hosttest.Call {
		return hosttest.Call{Do: "query select l.database::int8…", Out: rows}
	}
	e := setReplay(true)
	e.Clean = true
	do(t, e, onPG2(t, row("not paused"),
		row("not paused"), row("not paused"), exec("select pg_wal_replay_pause()"), row("paused"), locks(`[{"database": 1, "relation": 16400, "name": "shop"}]`), exec("select pg_wal_replay_resume()"),
		row("not paused"), row("not paused"), exec("select pg_wal_replay_pause()"), row("paused"), locks(noRows)))
}

func TestReplayGoesOnInAnInstantInWhichNobodyHoldsALock(t *testing.T) {
	t.Parallel()
	e := setReplay(false)
	e.Gate, e.Database = time.Minute, "shop"
	gate := func(held string) hosttest.Call {
		return hosttest.Call{Do: "query select h.held, case when not h.held then pg_wal_replay_resume()…", Out: `[{"held": ` + held + `}]`}
	}
	paused := hosttest.Call{Do: progress, Out: standbyRow("paused", "0/9000000", "null")}
	in := onPG2(t, paused, hosttest.Call{Do: targets, Out: noRows}, gate("true"), gate("true"), gate("false"), hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/9000000", "null")})
	in.known = effect.Output{effect.DDLRelations: "16400"}
	do(t, e, in)
	// After a while at any.
	e.Gate = time.Nanosecond
	in = onPG2(t, paused, hosttest.Call{Do: targets, Out: noRows}, gate("true"), exec("select pg_wal_replay_resume()"), hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/9000000", "null")})
	in.known = effect.Output{effect.DDLRelations: "16400"}
	do(t, e, in)
	if len(in.warnings) != 1 {
		t.Errorf("warned of %v", in.warnings)
	}
}

// Up to 13 the startup process would look for the end of the pause only once a second. An
// ordinary resume is in no hurry.
func TestReplayThatGoesOnAroundASchemaChangeIsWokenUpBefore14(t *testing.T) {
	t.Parallel()
	const startup = "query select pid from pg_stat_activity where backend_type = 'startup'"
	kill := hosttest.Call{Do: "run kill -USR1 4711 as postgres"}
	for name, c := range map[string]struct {
		major int
		gate  time.Duration
		wakes []hosttest.Call
	}{
		"12":                      {12, time.Minute, []hosttest.Call{{Do: startup, Out: `[{"pid": 4711}]`}, kill}},
		"13":                      {13, time.Minute, []hosttest.Call{{Do: startup, Out: `[{"pid": 4711}]`}, kill}},
		"it is gone":              {13, time.Minute, []hosttest.Call{{Do: startup, Out: `[{"pid": 4711}]`}, {Do: kill.Do, Err: &host.ExitError{Code: 1}}}},
		"no startup process":      {13, time.Minute, []hosttest.Call{{Do: startup, Out: noRows}}},
		"14":                      {14, time.Minute, nil},
		"13, by no schema change": {13, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := setReplay(false)
			e.Version, e.Gate, e.Database = postgres.MakeVersion(c.major), c.gate, "shop"
			calls := append([]hosttest.Call{{Do: progress, Out: standbyRow("paused", "0/9000000", "null")}, {Do: targets, Out: noRows}, exec("select pg_wal_replay_resume()")}, c.wakes...)
			do(t, e, onPG2(t, append(calls, hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/9000000", "null")})...))
		})
	}
}
