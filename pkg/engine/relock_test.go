package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

func restartPrimary() *effect.Service {
	return &effect.Service{Host: "pg1", Action: "restart", Expect: effect.ExpectPrimary, Timeout: 1e10,
		Control: effect.Control{Restart: effect.Command{Argv: []string{"pg_ctlcluster", "15", "main", "restart"}, As: "postgres"}}}
}

// underLock is a plan that restarts the primary inside the lock, from within another
// bracket, and then does something.
func (w *world) underLock(then ...effect.Effect) *plan.Plan {
	lock := bracket{open: []effect.Effect{&effect.TakeLock{Host: "pg1"}}, close: []effect.Effect{&effect.ReleaseLock{Host: "pg1"}}}
	return w.list(inside{lock, []any{
		inside{bracket{open: []effect.Effect{dir("inner")}}, []any{does(restartPrimary())}},
		does(then...),
	}})
}

// holder is the session that has the lock.
func (w *world) lockSession() *sqlSession {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.locks["pg1"]
}

func TestRestartOfThePrimaryKeepsTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	var first, second *sqlSession
	w.restarted = func(*machine) {
		if w.locks["pg1"] != nil {
			t.Error("the lock outlived its session")
		}
	}
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" && strings.Contains(do, "restart") {
			first = w.lockSession()
		}
		return nil
	}
	after := &act{name: "after", do: func(context.Context, effect.Env) error {
		second = w.lockSession()
		return nil
	}}
	r, err := w.engine(nil, nil).Apply(t.Context(), w.underLock(after))
	if err != nil {
		t.Fatal(err)
	}
	if first == nil || second == nil || first == second {
		t.Errorf("the lock was held by %p before the restart and by %p after it", first, second)
	}
	if r.Status != journal.Succeeded || w.lockSession() != nil {
		t.Errorf("status %s, and at the end %p holds the lock", r.Status, w.lockSession())
	}
}

// The second lock session is watched as the first was.
func TestLossOfTheLockAfterARestartStillEndsTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	after := &act{name: "after", do: func(ctx context.Context, _ effect.Env) error {
		w.mu.Lock()
		w.locks["pg1"].end()
		w.mu.Unlock()
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	_, err := w.engine(nil, nil).Apply(t.Context(), w.underLock(after))
	if err == nil || !strings.Contains(err.Error(), "the lock session was lost") {
		t.Errorf("%v", err)
	}
}

// A run that comes while the server is restarted finds the copy of this run's journal,
// and lets go of the lock; until then it is waited for.
func TestWhoeverTakesTheLockDuringTheRestartAndLetsGoIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, layout{})
		other := &sqlSession{m: w.hosts["pg1"], lost: make(chan struct{})}
		w.restarted = func(m *machine) {
			if len(m.runs()) != 1 {
				t.Error("there is no copy of the journal by which the other run could tell")
			}
			w.locks["pg1"] = other
		}
		tries := 0
		w.hook = func(_ context.Context, _, do string) error {
			if strings.Contains(do, "pg_locks") {
				if tries++; tries == 20 {
					_ = other.Close(t.Context())
				}
			}
			return nil
		}
		done := false
		after := &act{name: "after", do: func(context.Context, effect.Env) error { done = true; return nil }}
		if _, err := w.engine(nil, nil).Apply(t.Context(), w.underLock(after)); err != nil || !done {
			t.Errorf("done %v: %v", done, err)
		}
	})
}

func TestALockThatSomebodyKeepsAfterTheRestartEndsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, layout{})
		other := &sqlSession{m: w.hosts["pg1"], lost: make(chan struct{})}
		w.restarted = func(*machine) { w.locks["pg1"] = other }
		after := &act{name: "after", do: func(context.Context, effect.Env) error {
			t.Error("it went on without the lock")
			return nil
		}}
		_, err := w.engine(nil, nil).Apply(t.Context(), w.underLock(after))
		if fault.ClassOf(err) != fault.Locked || !strings.Contains(err.Error(), "pgrepctl other bob@desk") || !strings.Contains(err.Error(), "after the restart") {
			t.Errorf("class %d: %v", fault.ClassOf(err), err)
		}
		if w.lockSession() != other {
			t.Error("the other one's lock was taken away")
		}
	})
}

// Another machine undoes this very run while its lock is gone: it writes to the copy
// of the journal before it acts.
func TestARunThatSomebodyElseWentOnWithDuringTheRestartEnds(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *machine, p string){
		"goes on": func(m *machine, p string) {
			text, _ := m.fs.Get(p)
			m.fs.Put(p, "postgres", 0o600, fmt.Sprintf("%s{\"seq\":%d,\"type\":\"undoing\"}\n", text, strings.Count(text, "\n")+1))
		},
		"ended it": func(m *machine, p string) { m.fs.Delete(p) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layout{})
			w.restarted = func(m *machine) { change(m, m.runs()[0].Path) }
			after := &act{name: "after", do: func(context.Context, effect.Env) error {
				t.Error("it went on")
				return nil
			}}
			_, err := w.engine(nil, nil).Apply(t.Context(), w.underLock(after))
			if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "another operator went on with run run1") {
				t.Errorf("class %d: %v", fault.ClassOf(err), err)
			}
		})
	}
}

// A command that is refused before it stops the server costs the run its lock neither.
func TestARestartThatDidNotStopTheServerKeepsTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	broken := errors.New("sudo: a password is required")
	var held *sqlSession
	w.hook = func(_ context.Context, _, do string) error {
		if strings.Contains(do, "pg_ctlcluster") {
			held = w.lockSession()
			return broken
		}
		return nil
	}
	_, err := w.engine(nil, nil).Apply(t.Context(), w.underLock(&act{name: "after"}))
	if !errors.Is(err, broken) || strings.Contains(err.Error(), "lock") {
		t.Errorf("%v", err)
	}
	if held == nil || w.lockSession() != nil {
		t.Error("the lock was not held to the end, or is held still")
	}
}
