package effect

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// The cluster lock is an advisory lock on the primary, where every operator
// meets. The key is the same for every inventory: two files that name the same
// server differently still exclude each other. It is freed when the session
// ends, and by nothing else; there is no expiry to judge by a clock.
const (
	lockClass = 0x70677265 // "pgre"
	lockKey   = 1
)

// TakeLock takes it, on a session that is held until ReleaseLock.
type TakeLock struct {
	Host string `json:"host"`
}

const lockHold = "lock"

func (e *TakeLock) Kind() string    { return "take-lock" }
func (e *TakeLock) On() string      { return e.Host }
func (e *TakeLock) Inverse() Effect { return nil } // it died with its session
func (e *TakeLock) Predict(World)   {}
func (e *TakeLock) Describe() Description {
	return Description{Verb: "take", Subject: "the cluster lock", Detail: "(advisory lock, freed when the session ends)"}
}

func (e *TakeLock) Do(ctx context.Context, env Env) (Output, error) {
	s, err := session(ctx, env, e.Host, false)
	if err != nil {
		return nil, err
	}
	var got []struct {
		OK bool `json:"ok"`
	}
	if err := s.Query(ctx, &got, fmt.Sprintf("select pg_try_advisory_lock(%d, %d) as ok", lockClass, lockKey)); err != nil {
		_ = s.Close(ctx)
		return nil, fmt.Errorf("take the cluster lock: %w", err)
	}
	if len(got) == 1 && got[0].OK {
		env.Hold(lockHold, s)
		return nil, nil
	}
	defer s.Close(ctx)
	return nil, lockedBy(ctx, e.Host, s)
}

func lockedBy(ctx context.Context, name string, s interface {
	Query(context.Context, any, string, ...any) error
}) error {
	var who []struct {
		PID   int    `json:"pid"`
		App   string `json:"app"`
		Since string `json:"since"`
	}
	q := fmt.Sprintf(`select a.pid, a.application_name as app, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') as since
		from pg_locks l join pg_stat_activity a using (pid)
		where l.locktype = 'advisory' and l.granted and l.classid = %d and l.objid = %d and l.objsubid = 2`, lockClass, lockKey)
	if err := s.Query(ctx, &who, q); err != nil {
		return fmt.Errorf("find the holder of the cluster lock: %w", err)
	}
	f := &fault.Error{Class: fault.Locked, Host: name, Err: fmt.Errorf("another run holds the cluster lock"),
		State: "nothing was changed by this command",
		Hint:  "wait for it to end and type the same command again"}
	if len(who) == 1 {
		f.Err = fmt.Errorf("another run holds the cluster lock: %s, since %s (server process %d)", who[0].App, who[0].Since, who[0].PID)
		f.Hint = fmt.Sprintf("wait for it; or look at it on %s with: select * from pg_stat_activity where pid = %d", name, who[0].PID)
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
	if s, ok := env.TakeHeld(lockHold); ok {
		return nil, s.Close(ctx)
	}
	return nil, nil
}
