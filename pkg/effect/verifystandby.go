package effect

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// VerifyStandby proves that a standby is what it should be: in recovery, of the
// upstream's system and timeline, its slot in use, replay not paused. Then it
// takes a restart point, so that a crash from here on begins behind the copy.
type VerifyStandby struct {
	Host     string `json:"host"`
	Upstream string `json:"upstream"`
	Slot     string `json:"slot"`
	Delayed  bool   `json:"delayed"`
	// Version is that of both servers, or of their major release.
	Version postgres.Version `json:"-"`
}

func (e *VerifyStandby) Kind() string    { return "verify-standby" }
func (e *VerifyStandby) On() string      { return e.Host }
func (e *VerifyStandby) Inverse() Effect { return nil }
func (e *VerifyStandby) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *VerifyStandby) Inert() bool { return true }

func (e *VerifyStandby) Describe() Description {
	return Description{Verb: "verify", Subject: "the standby", Detail: "(in recovery, same system and timeline, slot in use, replay not paused), then a restart point"}
}

func (e *VerifyStandby) Do(ctx context.Context, env Env) (Output, error) {
	type state struct {
		System   string `json:"system"`
		Timeline int    `json:"timeline"`
		Recovery bool   `json:"recovery"`
		Paused   bool   `json:"paused"`
	}
	q := e.Version.Identity()
	var up, sb []state
	us, err := env.SQL(ctx, e.Upstream)
	if err != nil {
		return nil, err
	}
	ss, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if err := us.Query(ctx, &up, q); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if err := ss.Query(ctx, &sb, q); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	var errs []error
	if !sb[0].Recovery {
		errs = append(errs, errWritable)
	}
	if sb[0].System != up[0].System {
		errs = append(errs, fmt.Errorf("system identifier %s, that of %s is %s", sb[0].System, e.Upstream, up[0].System))
	}
	if sb[0].Timeline != up[0].Timeline {
		errs = append(errs, fmt.Errorf("timeline %d, %s is on %d", sb[0].Timeline, e.Upstream, up[0].Timeline))
	}
	if sb[0].Paused && !e.Delayed {
		errs = append(errs, errors.New("replay is paused"))
	}
	if e.Slot != "" {
		var slots []struct {
			Active bool `json:"active"`
		}
		if err := us.Query(ctx, &slots, "select active from pg_replication_slots where slot_name = $1", e.Slot); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		if len(slots) != 1 || !slots[0].Active {
			errs = append(errs, fmt.Errorf("slot %s on %s is not in use", e.Slot, e.Upstream))
		}
	}
	f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "verify the standby", Err: errors.Join(errs...)}
	if !sb[0].Recovery {
		return nil, twin(ctx, env, e.Host, e.Upstream, f)
	}
	if len(errs) > 0 {
		return nil, f
	}
	if err := ss.Exec(ctx, "CHECKPOINT"); err != nil {
		return nil, fmt.Errorf("take a restart point: %w", err)
	}
	return nil, nil
}
