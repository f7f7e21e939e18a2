package effect_test

import (
	"errors"
	"strings"
	"testing"
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
			in := onPG1(t, connected(), ddlRun(), durable(), []hosttest.Call{exec("ROLLBACK")}, closed())
			in.hosts["pg2"] = onPG2(t, calls...).hosts["pg2"]
			_, err := pausedDDL().Do(t.Context(), in)
			if !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), "pg2: see that replay is still paused") || len(in.known) > 0 {
				t.Errorf("got %v, noted %v", err, in.known)
			}
		})
	}
}

func TestAStandbyThatCannotBeReachedIsNotCommittedFor(t *testing.T) {
	t.Parallel()
	in := onPG1(t, connected(), ddlRun(), durable(), []hosttest.Call{exec("ROLLBACK")}, closed())
	gone := &fault.Error{Class: fault.Unreachable, Host: "pg2", Err: errors.New("no route")}
	in.hosts["pg2"] = hosttest.NewScript(t, "pg2", hosttest.NewFS(), hosttest.Call{Do: "connect", Err: gone})
	if _, err := pausedDDL().Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) || fault.ClassOf(err) != fault.Unreachable {
		t.Errorf("got %v", err)
	}
}

func TestAPauseOfAnOldServerCountsAsItIsTold(t *testing.T) {
	t.Parallel()
	in := onPG1(t, connected(), ddlRun(), durable(), []hosttest.Call{exec("COMMIT")}, flushedAt("0/5000100")[1:], closed())
	in.hosts["pg2"] = onPG2(t, hosttest.Call{Do: progress, Out: standbyRow("paused", "0/9000000", "null")}, hosttest.Call{Do: "query select l.database::int8…", Out: noRows}).hosts["pg2"]
	e := pausedDDL()
	e.Paused[0].Version = postgres.MakeVersion(13)
	do(t, e, in)
}

func TestAllStatementsTogetherHaveTheTimeOfOne(t *testing.T) {
	t.Parallel()
	const second = "alter table items add column other text"
	slow := exec(addNote)
	slow.Then = func() { time.Sleep(20 * time.Millisecond) }
	// Of an hour some milliseconds are gone.
	begun := ddlBegun()
	begun[1] = exec("BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '3600000ms'; select set_config('synchronous_commit'…")
	less := exec("SET LOCAL statement_timeout = '359…")
	in := onPG1(t, connected(), begun, []hosttest.Call{slow, less, exec(second)}, ddlRun()[4:], durable(), []hosttest.Call{exec("COMMIT")}, flushedAt("0/5000100")[1:], closed())
	e := newDDL()
	e.Statements, e.Timeout = append(e.Statements, second), time.Hour
	do(t, e, in)

	// What is left over is not enough for another one.
	e.Timeout = 20 * time.Millisecond
	begun[1] = exec("BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '20ms'; select set_config('synchronous_commit'…")
	in = onPG1(t, connected(), begun, []hosttest.Call{slow, exec("ROLLBACK")}, closed())
	late(t, e, in, 2)

	// And the server's own word is explained likewise.
	refused := slow
	refused.Err = &host.SQLError{Code: "57014", Message: "canceling statement due to statement timeout"}
	in = onPG1(t, connected(), begun, []hosttest.Call{refused, exec("ROLLBACK")}, closed())
	late(t, e, in, 1)
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
