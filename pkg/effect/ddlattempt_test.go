package effect_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// pausedDDL is one that pg2 is paused for.
func pausedDDL() *effect.DDL {
	e := newDDL()
	pause := setReplay(true)
	pause.Clean = true
	e.Paused = []*effect.SetReplay{pause}
	return e
}

func TestAStandbyThatIsNotPausedAnyMoreIsFoundBeforeTheCommit(t *testing.T) {
	t.Parallel()
	const locks = "query select l.database::int8…"
	for name, calls := range map[string][]hosttest.Call{
		"resumed, or started anew": {{Do: progress, Out: standbyRow("not paused", "0/9000000", "null")}},
		"resumed, and paused again": {{Do: progress, Out: standbyRow("paused", "0/9000000", "null")},
			{Do: locks, Out: `[{"database": 1, "relation": 16400, "name": "shop"}]`}},
		"about to be paused again": {{Do: progress, Out: standbyRow("pause requested", "0/9000000", "null")}},
		"promoted":                 {{Do: progress, Out: `[{"in_recovery": false, "now": "2026-11-26T07:10:01Z", "receiver": ""}]`}},
		"down":                     {{Do: progress, Err: errors.New("the connection is lost")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := onPG1(t, connected(), below(ddlRun()), durable(), []hosttest.Call{exec("ROLLBACK")}, closed())
			in.hosts["pg2"] = onPG2(t, calls...).hosts["pg2"]
			_, err := pausedDDL().Do(t.Context(), in)
			if !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), "pg2: see that replay is still paused") || in.known[effect.DDLXid] != "" || in.known[effect.DDLRelations] != "16400,16412" {
				t.Errorf("got %v, noted %v", err, in.known)
			}
		})
	}
}

func TestAStandbyThatCannotBeReachedIsNotCommittedFor(t *testing.T) {
	t.Parallel()
	in := onPG1(t, connected(), below(ddlRun()), durable(), []hosttest.Call{exec("ROLLBACK")}, closed())
	gone := &fault.Error{Class: fault.Unreachable, Host: "pg2", Err: errors.New("no route")}
	in.hosts["pg2"] = hosttest.NewScript(t, "pg2", hosttest.NewFS(), hosttest.Call{Do: "connect", Err: gone})
	if _, err := pausedDDL().Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) || fault.ClassOf(err) != fault.Unreachable {
		t.Errorf("got %v", err)
	}
}

func TestAPauseOfAnOldServerCountsAsItIsTold(t *testing.T) {
	t.Parallel()
	in := onPG1(t, connected(), below(ddlRun()), durable(), []hosttest.Call{exec("COMMIT")}, flushedAt("0/5000100")[1:], closed())
	in.hosts["pg2"] = onPG2(t, hosttest.Call{Do: progress, Out: standbyRow("paused", "0/9000000", "null")}, hosttest.Call{Do: "query select l.database::int8…", Out: noRows}).hosts["pg2"]
	e := pausedDDL()
	e.Paused[0].Version = postgres.MakeVersion(13)
	do(t, e, in)
}

// begunFor is an attempt up to its statement, with so much time.
func begunFor(timeout string) []hosttest.Call {
	begun := ddlBegun()
	begun[1] = exec("BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '" + timeout + "'; select set_config('synchronous_commit'…")
	return begun
}

// takes is a statement that takes so long, and then the server ends it, or not.
func takes(sql string, d time.Duration, code string) hosttest.Call {
	c := exec(sql)
	c.Then = func() { time.Sleep(d) }
	if code != "" {
		c.Err = &host.SQLError{Code: code, Message: "canceling statement due to statement timeout"}
	}
	return c
}

const addOther = "alter table items add column other text"

// stillPaused is what pg2 is asked before the COMMIT.
func stillPaused() []hosttest.Call {
	return []hosttest.Call{{Do: progress, Out: standbyRow("paused", "0/9000000", "null")}, {Do: "query select l.database::int8…", Out: noRows}}
}

func committed() []hosttest.Call {
	return append([]hosttest.Call{exec("COMMIT")}, flushedAt("0/5000100")[1:]...)
}

func TestAllStatementsTogetherHaveTheTimeOfOneWhileStandbysArePaused(t *testing.T) {
	t.Parallel()
	// Of an hour some milliseconds are gone.
	slow, less := takes(addNote, 20*time.Millisecond, ""), exec("SET LOCAL statement_timeout = '359…")
	in := onPG1(t, connected(), below(begunFor("3600000ms")), []hosttest.Call{slow, less, exec(addOther)}, ddlRun()[4:], durable(), committed(), closed())
	in.hosts["pg2"] = onPG2(t, stillPaused()...).hosts["pg2"]
	e := pausedDDL()
	e.Statements, e.Timeout = append(e.Statements, addOther), time.Hour
	do(t, e, in)

	// What is left over is not enough for another one.
	e.Timeout, e.LockTimeout = 20*time.Millisecond, 10*time.Millisecond
	begun := ddlBegun()
	begun[1] = exec("BEGIN; SET LOCAL lock_timeout = '10ms'; SET LOCAL statement_timeout = '20ms'; select set_config('synchronous_commit'…")
	in = onPG1(t, connected(), below(begun), []hosttest.Call{slow, exec("ROLLBACK")}, closed())
	late(t, e, in, 2)

	// And the server's own word is explained likewise.
	in = onPG1(t, connected(), below(begun), []hosttest.Call{takes(addNote, 20*time.Millisecond, "57014"), exec("ROLLBACK")}, closed())
	late(t, e, in, 1)
}

func TestWhereNobodyIsPausedEachStatementHasTheWholeTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newDDL() // of a second
		e.Statements = append(e.Statements, addOther, addOther)
		in := onPG1(t, connected(), ddlBegun(), []hosttest.Call{takes(addNote, 900*time.Millisecond, ""), takes(addOther, 900*time.Millisecond, ""), takes(addOther, 900*time.Millisecond, "")},
			ddlRun()[4:], durable(), committed(), closed())
		do(t, e, in)

		in = onPG1(t, connected(), ddlBegun(), []hosttest.Call{takes(addNote, 900*time.Millisecond, ""), takes(addOther, time.Second, "57014"), exec("ROLLBACK")}, closed())
		_, err := e.Do(t.Context(), in)
		var failed *effect.StatementError
		if !errors.Is(err, effect.ErrUntouched) || !errors.As(err, &failed) || failed.Number != 2 || !strings.Contains(err.Error(), "a statement may take 1s") {
			t.Errorf("got %v", err)
		}
	})
}

// With less than one wait for a lock left, the statement's time is over before the lock's.
func TestALockThatIsWaitedForToTheEndOfTheTimeIsTriedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		less := exec("SET LOCAL statement_timeout = '100ms'")
		in := onPG1(t, connected(), below(ddlBegun()), []hosttest.Call{takes(addNote, 900*time.Millisecond, ""), less, takes(addOther, 100*time.Millisecond, "57014"), exec("ROLLBACK")},
			below(ddlBegun()), []hosttest.Call{exec(addNote), exec("SET LOCAL statement_timeout = '1000ms'"), exec(addOther)}, ddlRun()[4:], durable(), committed(), closed())
		in.hosts["pg2"] = onPG2(t, slices.Concat(pausedAnew(), stillPaused())...).hosts["pg2"]
		e := pausedDDL()
		e.Statements = append(e.Statements, addOther)
		if out := do(t, e, in); out[effect.DDLAttempts] != "2" || len(in.warnings) != 1 {
			t.Errorf("%v, %v", out, in.warnings)
		}

		// All of it is less than that, and nobody is paused.
		e = newDDL()
		e.Timeout = 100 * time.Millisecond
		in = onPG1(t, connected(), begunFor("100ms"), []hosttest.Call{takes(addNote, 100*time.Millisecond, "57014"), exec("ROLLBACK")},
			begunFor("100ms"), ddlRun()[3:], durable(), committed(), closed())
		if out := do(t, e, in); out[effect.DDLAttempts] != "2" {
			t.Errorf("%v", out)
		}
	})
}

func TestAStatementThatSomebodyCancelsIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newDDL()
		e.Timeout = 100 * time.Millisecond
		in := onPG1(t, connected(), begunFor("100ms"), []hosttest.Call{takes(addNote, 50*time.Millisecond, "57014"), exec("ROLLBACK")}, closed())
		if _, err := e.Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) || strings.Contains(err.Error(), "may take") {
			t.Errorf("got %v", err)
		}
	})
}

// late: the time was over at a statement, and nothing is left.
func late(t *testing.T, e *effect.DDL, in *env, statement int) {
	t.Helper()
	_, err := e.Do(t.Context(), in)
	var failed *effect.StatementError
	if !errors.Is(err, effect.ErrUntouched) || !errors.As(err, &failed) || failed.Number != statement || !strings.Contains(err.Error(), "all statements together may take 20ms") {
		t.Errorf("got %v", err)
	}
	var f *fault.Error
	if !errors.As(failed.Err, &f) || !strings.Contains(f.Hint, "--max-stale") {
		t.Errorf("no hint: %v", failed)
	}
}
