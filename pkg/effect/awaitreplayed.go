package effect

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// AwaitReplayed waits until a standby has replayed a checkpoint that its cluster writes
// now. A backup of the standby begins at its last restart point; after this one that is
// behind the position from which on a slot, made before, keeps WAL elsewhere.
type AwaitReplayed struct {
	Host    string        `json:"host"`
	Of      string        `json:"of"` // the host that has the slot
	Timeout time.Duration `json:"timeout"`
	// Version is that of both.
	Version postgres.Version `json:"-"`
}

func (e *AwaitReplayed) Kind() string    { return "await-replayed" }
func (e *AwaitReplayed) On() string      { return e.Host }
func (e *AwaitReplayed) Inverse() Effect { return nil }
func (e *AwaitReplayed) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *AwaitReplayed) Inert() bool { return true }

// Interruptible: waiting changes nothing.
func (e *AwaitReplayed) Interruptible() bool { return true }

func (e *AwaitReplayed) Describe() Description {
	return Description{Verb: "wait until", Subject: "it has replayed a checkpoint of " + e.Of + " of now",
		Detail: "(the slot there keeps the WAL from before it on; gives up after " + e.Timeout.String() + " without progress)"}
}

func (e *AwaitReplayed) Do(ctx context.Context, env Env) (Output, error) {
	up, err := env.SQL(ctx, e.Of)
	if err != nil {
		return nil, err
	}
	if err := up.Exec(ctx, "CHECKPOINT"); err != nil {
		return nil, fmt.Errorf("checkpoint of %s: %w", e.Of, err)
	}
	type position struct {
		At *postgres.LSN `json:"at"`
	}
	var want, have []position
	here := "case when pg_is_in_recovery() then " + e.Version.LastReplay() + " else " + e.Version.CurrentWALInsert() + " end"
	if err := up.Query(ctx, &want, "select ("+here+")::text as at"); err != nil {
		return nil, fmt.Errorf("look at the position of %s: %w", e.Of, err)
	}
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if len(want) != 1 || want[0].At == nil {
		return nil, fmt.Errorf("look at the position of %s: it has none", e.Of)
	}
	d := distance{env: env, what: "replayed"}
	return nil, pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		if err := s.Query(ctx, &have, "select ("+e.Version.LastReplay()+")::text as at"); err != nil {
			return false, "", fmt.Errorf("look at the position of %s: %w", e.Host, err)
		}
		if len(have) != 1 || have[0].At == nil {
			return false, "", nil
		}
		d.at(have[0].At, want[0].At)
		return *have[0].At >= *want[0].At, have[0].At.String(), nil
	}, func() error {
		return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "wait for the checkpoint of " + e.Of,
			Err:   fmt.Errorf("it is at %s, and it has not come so far, with no progress for %s", want[0].At, e.Timeout),
			State: "nothing was copied", Hint: "see why it is behind: pgrepctl status; or copy from " + e.Of + ", without --from"}
	})
}
