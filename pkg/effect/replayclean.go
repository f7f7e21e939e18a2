package effect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

const (
	cleanAttempts = 20
	cleanInterval = 100 * time.Millisecond
	// caughtUpTimeout is for a standby that is a little late; caughtUpAge is late enough
	// to be paused.
	caughtUpTimeout = time.Minute
	caughtUpAge     = time.Second
)

// pauseClean pauses replay where it has caught up and holds no lock against readers. Between
// the records of another transaction's lock and its end the startup process has that
// lock, and a pause would keep it: reads of the table would hang.
func (e *SetReplay) pauseClean(ctx context.Context, env Env, s host.SQL) (Output, error) {
	for n := 0; ; n++ {
		if err := e.quiet(ctx, env, s); err != nil {
			return nil, err
		}
		if err := e.caughtUp(ctx, s); err != nil {
			return nil, err
		}
		now, err := replay.Read(ctx, s, e.Version)
		if err != nil {
			return nil, err
		}
		if n == 0 && now.PauseState() != replay.NotPaused {
			return nil, fault.Refuse(e.Host, "pgrepctl replay resume "+e.Host, untouched{errors.New("replay was paused meanwhile, by somebody else: to resume it would not be ours to do")})
		}
		out, err := e.pause(ctx, s, now)
		if err != nil {
			return nil, err
		}
		var locks []struct {
			Relation int64 `json:"relation"`
		}
		if err := s.Query(ctx, &locks, e.Version.ReplayLocks()); err != nil {
			return nil, fmt.Errorf("ask what replay has locked: %w", err)
		}
		if len(locks) == 0 {
			out[DDLPaused+e.Host] = time.Now().UTC().Format(time.RFC3339Nano)
			return out, nil
		}
		if n == cleanAttempts {
			return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "pause replay", State: "the pause is taken back",
				Err:  errors.New("whenever it is paused, replay holds a lock against readers of another transaction of the primary"),
				Hint: "wait until nobody else changes the schema there, truncates or vacuums with truncation"}
		}
		if err := s.Exec(ctx, "select "+e.Version.ResumeReplay()); err != nil {
			return nil, fmt.Errorf("resume replay: %w", err)
		}
		e.wake(ctx, env, s)
		if err := sleep(ctx, cleanInterval); err != nil {
			return nil, err
		}
	}
}

// quiet waits until nobody holds a lock on what will be changed: while it is paused for
// a report, all reads would be of ever older data. That holds for those that are paused
// with it, too.
func (e *SetReplay) quiet(ctx context.Context, env Env, s host.SQL) error {
	if len(e.Quiet) == 0 {
		return nil
	}
	held := e.Host
	return poll(ctx, e.QuietFor, func(ctx context.Context) (bool, error) {
		for _, x := range append([]Replaying{{Host: e.Host, Version: e.Version}}, e.With...) {
			sql, err := s, error(nil)
			if x.Host != e.Host {
				sql, err = env.SQL(ctx, x.Host)
			}
			if err != nil {
				return false, err
			}
			busy, err := e.busy(ctx, sql, x.Version)
			if err != nil || busy {
				held = x.Host
				return false, err
			}
		}
		return true, nil
	}, func() error {
		return &fault.Error{Class: fault.Failed, Host: held, Op: "pause replay", Err: fmt.Errorf("for %s somebody has always held a lock on what will be changed", e.QuietFor),
			Hint: "who is in pg_locks of " + held + "; with two standbys behind a balancer nobody has to be waited for"}
	})
}

// busy: a client holds a lock on what will be changed.
func (e *SetReplay) busy(ctx context.Context, s host.SQL, v postgres.Version) (bool, error) {
	query, err := v.Held(e.Database, e.Quiet)
	if err != nil {
		return false, err
	}
	var rows []struct {
		Held bool `json:"held"`
	}
	if err := s.Query(ctx, &rows, query); err != nil {
		return false, fmt.Errorf("ask who reads what will be changed: %w", err)
	}
	return rows[0].Held, nil
}

func (e *SetReplay) caughtUp(ctx context.Context, s host.SQL) error {
	last := ""
	err := poll(ctx, caughtUpTimeout, func(ctx context.Context) (bool, error) {
		now, err := replay.Read(ctx, s, e.Version)
		if err != nil {
			return false, err
		}
		last = fmt.Sprintf("it has %d bytes to replay, its walreceiver is %s", now.Held(), now.Receiver)
		late := now.Seconds()
		return now.Receiver == "streaming" && late != nil && *late < caughtUpAge.Seconds(), nil
	}, func() error { return errors.New(last) })
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "wait until it has caught up, to pause replay", Err: err, Hint: "pgrepctl replay status " + e.Host}
}

// goOn lets replay go on, if there is a gate in an instant in which it waits for nobody.
func (e *SetReplay) goOn(ctx context.Context, env Env, s host.SQL) error {
	relations, err := ddlRelations(env)
	if err != nil {
		return err
	}
	if e.Gate > 0 && len(relations) > 0 {
		query, err := e.Version.ResumeReplayUnlessHeld(e.Database, relations)
		if err != nil {
			return err
		}
		held := errors.New("held")
		err = poll(ctx, e.Gate, func(ctx context.Context) (bool, error) {
			var rows []struct {
				Held bool `json:"held"`
			}
			if err := s.Query(ctx, &rows, query); err != nil {
				return false, fmt.Errorf("resume replay: %w", err)
			}
			return !rows[0].Held, nil
		}, func() error { return held })
		if err == nil {
			e.wake(ctx, env, s)
		}
		if !errors.Is(err, held) {
			return err
		}
		env.Warn(e.Host, "for "+e.Gate.String()+" somebody has always held a lock on what was changed: replay goes on now, and may wait for, or cancel, what still reads")
	}
	if err := s.Exec(ctx, "select "+e.Version.ResumeReplay()); err != nil {
		return fmt.Errorf("resume replay: %w", err)
	}
	e.wake(ctx, env, s)
	return nil
}

// wakes is how the process to wake up is found, empty where none has to be.
func (e *SetReplay) wakes() string {
	if !e.Known() {
		return ""
	}
	return e.Version.WakesReplay()
}

// wake lets the startup process look at once whether replay goes on, around a schema change:
// the second that it sleeps makes all reads older, and who locks in it what the change has
// locked holds up replay. A signal ends the sleep on Linux; SIGUSR1 is that of its latch, and
// does nothing else. Without it replay goes on as well, only later, so that no error counts.
func (e *SetReplay) wake(ctx context.Context, env Env, s host.SQL) {
	q := e.wakes()
	if q == "" {
		return
	}
	var rows []struct {
		PID int `json:"pid"`
	}
	if err := s.Query(ctx, &rows, q); err != nil || len(rows) != 1 || rows[0].PID <= 0 {
		return
	}
	if h, err := env.Host(ctx, e.Host); err == nil {
		_ = h.Run(ctx, host.Cmd{Argv: []string{"kill", "-USR1", strconv.Itoa(rows[0].PID)}, As: e.As}, host.Stdio{})
	}
}

// ddlRelations are those that the run's DDL locks against readers.
func ddlRelations(env Env) ([]int64, error) {
	list, _ := env.Known(DDLRelations)
	var out []int64
	for oid := range strings.SplitSeq(list, ",") {
		if oid == "" {
			continue
		}
		n, err := strconv.ParseInt(oid, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("relations of the DDL: %w", err)
		}
		out = append(out, n)
	}
	return out, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
