package effect

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// AwaitLastWAL waits until a standby has replayed the checkpoint that its primary
// wrote when it was shut down: the last record there is, after all commits.
type AwaitLastWAL struct {
	Host      string        `json:"host"`
	Primary   string        `json:"primary"`
	PrimaryAs string        `json:"primary_as"`
	Data      string        `json:"data"` // the primary's data directory
	Timeout   time.Duration `json:"timeout"`
	// Version is the standby's.
	Version postgres.Version `json:"-"`
}

func (e *AwaitLastWAL) Kind() string    { return "await-last-wal" }
func (e *AwaitLastWAL) On() string      { return e.Host }
func (e *AwaitLastWAL) Inverse() Effect { return nil }
func (e *AwaitLastWAL) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *AwaitLastWAL) Inert() bool { return true }

// Interruptible: waiting changes nothing.
func (e *AwaitLastWAL) Interruptible() bool { return true }

func (e *AwaitLastWAL) Describe() Description {
	return Description{Verb: "wait until", Subject: "it has replayed the shutdown checkpoint of " + e.Primary,
		Detail: "(the last record there; gives up after " + e.Timeout.String() + " without progress)"}
}

func (e *AwaitLastWAL) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Primary)
	if err != nil {
		return nil, err
	}
	f, err := h.Files(e.PrimaryAs).Read(ctx, path.Join(e.Data, postgres.ControlFile))
	if err != nil {
		return nil, fmt.Errorf("read pg_control of %s: %w", e.Primary, err)
	}
	c, err := postgres.ParseControl(f.Data)
	if err != nil {
		return nil, fmt.Errorf("pg_control of %s: %w", e.Primary, err)
	}
	if !c.State.Clean() {
		return nil, &fault.Error{Class: fault.Refused, Host: e.Primary, Op: "look at the shutdown", Err: fmt.Errorf("the server was not shut down cleanly: it is %q", c.State),
			State: "nobody was promoted", Hint: "to start it again: pgrepctl runs undo " + env.Run().ID}
	}
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var at []struct {
		Replay *postgres.LSN `json:"replay"`
	}
	d := distance{env: env, what: "replayed"}
	// The position replayed is the end of a record, the checkpoint's the beginning.
	err = pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		if err := s.Query(ctx, &at, "select "+e.Version.LastReplay()+"::text as replay"); err != nil {
			return false, "", fmt.Errorf("look at the position of %s: %w", e.Host, err)
		}
		if len(at) != 1 || at[0].Replay == nil {
			return false, "", nil
		}
		d.at(at[0].Replay, &c.CheckpointLSN)
		return *at[0].Replay > c.CheckpointLSN, at[0].Replay.String(), nil
	}, func() error {
		return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "wait for the last WAL of " + e.Primary,
			Err:   fmt.Errorf("the shutdown checkpoint is at %s, and it made no progress for %s", c.CheckpointLSN, e.Timeout),
			State: "nobody was promoted; " + e.Primary + " is stopped", Hint: "to start " + e.Primary + " again: pgrepctl runs undo " + env.Run().ID}
	})
	if err != nil {
		return nil, err
	}
	return Output{"promoted.after": c.CheckpointLSN.String()}, nil
}
