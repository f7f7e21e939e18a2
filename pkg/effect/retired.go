package effect

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// ProveRetired asks a server whether anything of a standby is left on it: a slot
// that would keep WAL until the disk is full, or a walsender.
type ProveRetired struct {
	Host    string `json:"host"`
	Standby string `json:"standby"` // its application_name
	Slot    string `json:"slot"`    // empty: it has none
}

func (e *ProveRetired) Kind() string    { return "prove-retired" }
func (e *ProveRetired) On() string      { return e.Host }
func (e *ProveRetired) Inverse() Effect { return nil }
func (e *ProveRetired) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *ProveRetired) Inert() bool { return true }

func (e *ProveRetired) Describe() Description {
	return Description{Verb: "prove", Subject: "that nothing of " + e.Standby + " is left", Detail: "(no slot, no walsender)"}
}

func (e *ProveRetired) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var slots []struct {
		Name string `json:"name"`
	}
	if err := s.Query(ctx, &slots, "select slot_name as name from pg_replication_slots where slot_name = $1", e.Slot); err != nil {
		return nil, fmt.Errorf("look for its slot: %w", err)
	}
	var left []error
	for _, x := range slots {
		left = append(left, fmt.Errorf("slot %s is there", x.Name))
	}
	var senders []struct {
		State string `json:"state"`
	}
	if err := s.Query(ctx, &senders, "select coalesce(state, '') as state from pg_stat_replication where application_name = $1", e.Standby); err != nil {
		return nil, fmt.Errorf("look for its walsender: %w", err)
	}
	for _, x := range senders {
		left = append(left, fmt.Errorf("a walsender of %s is in state %s", e.Standby, x.State))
	}
	if len(left) > 0 {
		return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "prove that nothing of " + e.Standby + " is left", Err: errors.Join(left...),
			Hint: "find out who has made it since: select * from pg_stat_replication, pg_replication_slots"}
	}
	return nil, nil
}
