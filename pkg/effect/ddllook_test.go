package effect_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// mute is a session whose server does not answer any more, after some rows.
type mute struct {
	host.SQL
	rows  []string
	hears bool // it ends a query that is cancelled
	gone  chan struct{}
	once  sync.Once
}

func (m *mute) Query(ctx context.Context, dst any, _ string, _ ...any) error {
	if len(m.rows) > 0 {
		out := m.rows[0]
		m.rows = m.rows[1:]
		return json.Unmarshal([]byte(out), dst)
	}
	var cancelled <-chan struct{}
	if m.hears {
		cancelled = ctx.Done()
	}
	select {
	case <-cancelled:
		return &host.SQLError{Code: "57014", Message: "canceling statement due to user request"}
	case <-m.gone:
		return errors.New("the connection is lost")
	}
}

func (m *mute) Lost() <-chan struct{} { return m.gone }

func (m *mute) Close(context.Context) error {
	m.once.Do(func() { close(m.gone) })
	return nil
}

func TestAStandbyThatDoesNotAnswerBeforeTheCommitIsGivenUpSoon(t *testing.T) {
	t.Parallel()
	paused := func() *effect.DDL { return pausedDDL() }
	drained := func() *effect.DDL {
		e := newDDL()
		e.Drained = []*effect.AwaitDrained{{Host: "pg2", Version: postgres.MakeVersion(15)}}
		return e
	}
	for name, c := range map[string]struct {
		e     func() *effect.DDL
		rows  []string
		hears bool
	}{
		"paused, and cut off":                        {e: paused},
		"paused, and cut off after half of the look": {e: paused, rows: []string{standbyRow("paused", "0/9000000", "null")}},
		"paused, and its server is slow":             {e: paused, hears: true},
		"drained, and cut off":                       {e: drained, rows: []string{`[{"count": 0}]`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var locked, free time.Time
				run := ddlRun()
				run[3].Then = func() { locked = time.Now() }
				back := exec("ROLLBACK")
				back.Then = func() { free = time.Now() }
				e := c.e()
				if len(e.Paused) > 0 {
					run = below(run)
				}
				in := onPG1(t, connected(), run, durable(), []hosttest.Call{back}, closed())
				s := &mute{rows: c.rows, hears: c.hears, gone: make(chan struct{})}
				in.sql["pg2"] = s
				_, err := e.Do(t.Context(), in)
				if !errors.Is(err, effect.ErrUntouched) || fault.ClassOf(err) != fault.Unreachable || !strings.Contains(err.Error(), "pg2: look at it before the COMMIT: it did not answer within 2s") || in.known[effect.DDLXid] != "" {
					t.Errorf("got %v, noted %v", err, in.known)
				}
				if held := free.Sub(locked); held != 2*time.Second {
					t.Errorf("the table was locked for %s", held)
				}
				// A session whose query waits for ever is nobody's; one that was cancelled goes on.
				if host.Lost(s) == c.hears {
					t.Errorf("lost: %v", host.Lost(s))
				}
			})
		})
	}
}

func TestAnInterruptedLookIsNoStandbyThatCannotBeReached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		in := onPG1(t, connected(), below(ddlRun()), durable(), []hosttest.Call{exec("ROLLBACK")}, closed())
		in.sql["pg2"] = &mute{hears: true, gone: make(chan struct{})}
		stopped := &fault.Error{Class: fault.Interrupted, Err: errors.New("Ctrl-C")}
		time.AfterFunc(time.Second, func() { cancel(stopped) })
		if _, err := pausedDDL().Do(ctx, in); fault.ClassOf(err) != fault.Interrupted || !errors.Is(err, effect.ErrUntouched) {
			t.Errorf("got %v", err)
		}
	})
}
