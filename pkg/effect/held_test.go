package effect_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// hung is a session whose backend answers nothing but the beginning of a backup.
type hung struct {
	lost chan struct{}
	once sync.Once
}

func (h *hung) Exec(ctx context.Context, sql string) error {
	if sql != "select 1" {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.lost:
		return errors.New("closed")
	}
}

func (h *hung) Query(_ context.Context, dst any, _ string, _ ...any) error {
	return json.Unmarshal([]byte(`[{"lsn":"0/1"}]`), dst)
}

func (h *hung) Lost() <-chan struct{} { return h.lost }

func (h *hung) Close(context.Context) error {
	h.once.Do(func() { close(h.lost) })
	return nil
}

// ofHung is the host of such a session.
type ofHung struct {
	*hosttest.Script
	session *hung
}

func (h ofHung) SQL(context.Context, host.Database) (host.SQL, error) { return h.session, nil }

func inBackup(t *testing.T) (*env, *hung) {
	t.Helper()
	s, _ := script(t)
	h := ofHung{s, &hung{lost: make(chan struct{})}}
	in := newEnv(h)
	do(t, &effect.StartBackup{Host: "pg1", Label: "x", Fast: true}, in)
	return in, h.session
}

func TestAHungBackendDoesNotKeepTheToolFromEnding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, s := inBackup(t)
		time.Sleep(16 * time.Second) // a beat is on its way
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(&fault.Error{Class: fault.Interrupted, Err: errors.New("interrupted twice")}) })
		began := time.Now()
		_, err := (&effect.StopBackup{Host: "pg1"}).Do(ctx, in)
		if fault.ClassOf(err) != fault.Interrupted || time.Since(began) > time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if !host.Lost(s) {
			t.Error("its session is open still")
		}
	})
}

func TestASessionThatMissesABeatForTooLongIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, _ := inBackup(t)
		held, _ := in.TakeHeld("backup")
		time.Sleep(89 * time.Second)
		select {
		case <-held.Lost():
			t.Error("it was given up too early")
		default:
		}
		time.Sleep(2 * time.Second)
		select {
		case <-held.Lost():
		default:
			t.Error("it counts as held still")
		}
		if err := held.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
