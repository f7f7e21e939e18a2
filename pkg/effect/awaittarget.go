package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// AwaitTarget waits until a standby that was started with a recovery target has
// replayed up to it and stands there, read-only.
type AwaitTarget struct {
	Host   string        `json:"host"`
	Target replay.Target `json:"target"`
	// Timeout is how long it may make no progress.
	Timeout time.Duration    `json:"timeout"`
	Version postgres.Version `json:"-"`
	Log     string           `json:"-"`
	LogAs   string           `json:"-"`
	// LogFrom is how long the log was before the start, empty when that is not
	// known.
	LogFrom string `json:"-"`
	// Slot is what keeps WAL for it on Upstream meanwhile; empty if nothing does.
	Slot     string `json:"-"`
	Upstream string `json:"-"`
}

func (e *AwaitTarget) Kind() string    { return "await-target" }
func (e *AwaitTarget) On() string      { return e.Host }
func (e *AwaitTarget) Inverse() Effect { return nil }

// Interruptible: waiting changes nothing.
func (e *AwaitTarget) Interruptible() bool { return true }

func (e *AwaitTarget) Describe() Description {
	return Description{Verb: "wait until", Subject: "replay stands " + e.Target.String(),
		Detail: "(gives up after " + e.Timeout.String() + " without progress)"}
}

func (e *AwaitTarget) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.Server.Replay.Paused, h.Server.Replay.PauseState = true, replay.Paused
	}
}

func (e *AwaitTarget) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var now replay.Progress
	d := distance{env: env, what: "replayed"} // what is left of the way to a time, nobody knows
	err = pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		var err error
		if now, err = replay.Read(ctx, s, e.Version); err != nil {
			return false, "", err
		}
		if !now.InRecovery {
			return false, "", errors.New("the server is not in recovery any more: it takes writes")
		}
		if e.Target.Kind == replay.LSN {
			at := now.Replayed()
			d.at(&at, &e.Target.LSN)
		}
		// Nobody asked for a pause since the start: it is that of the target.
		return now.PauseState() == replay.Paused, now.Replayed().String(), nil
	}, func() error {
		return fmt.Errorf("the target is not reached, and there was no progress for %s: it has replayed up to %s, and WAL that reaches the target has not come", e.Timeout, now.Replayed())
	})
	if err != nil {
		return nil, e.explain(ctx, env, err)
	}
	if err := e.Target.Passed(0, now.ReplayedAt, 0); err != nil {
		return nil, e.explain(ctx, env, err)
	}
	if now.Receiver == "" {
		text := "it stands still and has no walreceiver: no more WAL comes in, and "
		if e.Slot != "" {
			text += "slot " + e.Slot + " keeps it on " + e.Upstream + ", whose disk it fills"
		} else {
			text += e.Upstream + " keeps it no longer than its own settings say"
		}
		env.Warn(e.Host, text)
	}
	out := found(now)
	out[ReplayLocked], err = e.locked(ctx, s)
	if err != nil {
		return nil, err
	}
	if out[ReplayLocked] != "" {
		env.Warn(e.Host, "replay stands in the middle of a transaction that has locked "+out[ReplayLocked]+": nobody can read that until it goes on, or recovery ends")
	}
	return out, nil
}

// locked names the relations that the transactions in the middle of which replay
// stands have locked.
func (e *AwaitTarget) locked(ctx context.Context, s host.SQL) (string, error) {
	var rows []struct {
		Relation int64  `json:"relation"`
		Name     string `json:"name"`
	}
	if err := s.Query(ctx, &rows, e.Version.ReplayLocks()); err != nil {
		return "", fmt.Errorf("ask for what replay has locked: %w", err)
	}
	var names []string
	for i, r := range rows {
		if i == 8 {
			names = append(names, fmt.Sprintf("%d more", len(rows)-i))
			break
		}
		names = append(names, fmt.Sprintf("relation %d of database %s", r.Relation, r.Name))
	}
	return strings.Join(names, ", "), nil
}

func (e *AwaitTarget) explain(ctx context.Context, env Env, err error) error {
	f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "wait until replay stands at the target", Err: err,
		State: "the standby has the recovery target set and no apply delay: it stops as soon as WAL that reaches the target is replayed"}
	if ctx.Err() != nil {
		return f // the operator ended the wait: no other reason is asked for
	}
	if h, herr := env.Host(ctx, e.Host); herr == nil && e.LogFrom != "" {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		f.Stderr = host.Tail(strings.Join(severeLines(ctx, h, e.LogAs, e.Log, e.LogFrom), "\n"), 5)
	}
	return f
}
