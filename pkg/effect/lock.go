package effect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// TakeLock takes it, on a session that is held until ReleaseLock.
type TakeLock struct {
	Host string `json:"host"`
	// Again: the server was restarted under the lock of this run. Another run may
	// have come first: it is given time to see the copy of this run's journal, and
	// to let go.
	Again bool `json:"-"`
}

// LockHold is the key of the session that is the cluster lock.
const LockHold = "lock"

func (e *TakeLock) Kind() string    { return "take-lock" }
func (e *TakeLock) On() string      { return e.Host }
func (e *TakeLock) Inverse() Effect { return nil } // it died with its session
func (e *TakeLock) Predict(World)   {}
func (e *TakeLock) Describe() Description {
	return Description{Verb: "take", Subject: "the cluster lock", Detail: "(advisory lock, freed when the session ends)"}
}

// lingers is how long the session of a tool that died may live on: until its
// host's sshd has noticed.
const lingers = 10 * time.Second

// looksAround is how long a run may hold the lock that finds another one open, and
// lets go: it reads the facts of the primary.
const looksAround = 30 * time.Second

func (e *TakeLock) Do(ctx context.Context, env Env) (Output, error) {
	s, err := session(ctx, env, e.Host, false)
	if err != nil {
		return nil, err
	}
	// Before the lock is taken: a session that has it must end by itself.
	if err := s.Exec(ctx, idleTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the lock's session: %w", err), s.Close(context.WithoutCancel(ctx)))
	}
	var holder *facts.LockHolder
	patience := lingers
	if e.Again {
		patience = looksAround
	}
	err = poll(ctx, patience, func(ctx context.Context) (taken bool, err error) {
		if taken, holder, err = take(ctx, s); taken || err != nil {
			return taken, err
		}
		if holder != nil && holder.Application != env.Run().Application() && !e.Again {
			return false, Locked(e.Host, holder)
		}
		return false, nil
	}, func() error { return Locked(e.Host, holder) })
	if err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	env.Hold(LockHold, holdSession(s))
	return nil, nil
}

func take(ctx context.Context, s host.SQL) (bool, *facts.LockHolder, error) {
	var got []struct {
		OK bool `json:"ok"`
	}
	if err := s.Query(ctx, &got, postgres.TryClusterLock()); err != nil {
		return false, nil, fmt.Errorf("take the cluster lock: %w", err)
	}
	if len(got) == 1 && got[0].OK {
		return true, nil, nil
	}
	var who []facts.LockHolder
	if err := s.Query(ctx, &who, postgres.ClusterLockHolder); err != nil {
		return false, nil, fmt.Errorf("find the holder of the cluster lock: %w", err)
	}
	if len(who) == 0 {
		return false, nil, nil
	}
	return false, &who[0], nil
}

// Locked is the answer to whom another run is in the way. holder may be nil: it
// has ended a moment ago.
func Locked(name string, holder *facts.LockHolder) error {
	f := &fault.Error{Class: fault.Locked, Host: name, Err: errors.New("another run holds the cluster lock"),
		State: "nothing was changed by this command",
		Hint:  "wait for it to end and type the same command again"}
	if holder != nil {
		f.Err = fmt.Errorf("another run holds the cluster lock: %s, since %s (server process %d)", holder.Application, holder.Since, holder.PID)
		f.Hint = fmt.Sprintf("wait for it; or look at it on %s with: select * from pg_stat_activity where pid = %d", name, holder.PID)
	}
	return f
}

// ReleaseLock frees it.
type ReleaseLock struct {
	Host string `json:"host"`
}

func (e *ReleaseLock) Kind() string    { return "release-lock" }
func (e *ReleaseLock) On() string      { return e.Host }
func (e *ReleaseLock) Inverse() Effect { return nil }
func (e *ReleaseLock) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *ReleaseLock) Inert() bool { return true }

func (e *ReleaseLock) Describe() Description {
	return Description{Verb: "release", Subject: "the cluster lock"}
}

func (e *ReleaseLock) Do(ctx context.Context, env Env) (Output, error) {
	if s, ok := env.TakeHeld(LockHold); ok {
		return nil, s.Close(ctx)
	}
	return nil, nil
}
