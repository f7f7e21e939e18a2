package effect

import (
	"context"
	"errors"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ReserveSlot makes a slot keep WAL from now on, by streaming from it for a moment: the
// only way before 9.6.
type ReserveSlot struct {
	Host string `json:"host"` // that has the slot
	From string `json:"from"` // the host that may log in to it for replication
	Slot string `json:"slot"`
	// Major is the server's version, SystemID its system.
	Major    string `json:"-"`
	SystemID string `json:"-"`
	// Login holds the password, and names the slot.
	Login host.Login `json:"-"`
}

func (e *ReserveSlot) Kind() string { return "reserve-slot" }
func (e *ReserveSlot) On() string   { return e.Host }

// Inverse: what made the slot also drops it.
func (e *ReserveSlot) Inverse() Effect { return nil }

func (e *ReserveSlot) Describe() Description {
	return Description{Verb: "reserve", Subject: "WAL for slot " + e.Slot, Detail: "(" + e.From + " streams from it for a moment: in PostgreSQL " + e.Major + " a slot keeps WAL from then on)"}
}

func (e *ReserveSlot) Predict(w World) {
	h := w.Known(e.Host)
	if h == nil {
		return
	}
	if s, ok := h.Server.Slot(e.Slot); ok {
		s.RestartLSN = new(postgres.LSN)
		h.Server.SetSlot(s)
	}
}

// reserveTimeout is far above the moment that a walsender needs to end.
const reserveTimeout = 30 * time.Second

func (e *ReserveSlot) Do(ctx context.Context, env Env) (Output, error) {
	// Another server that this address leads to may have a slot of that name.
	proof := &ProveLogin{Host: e.From, Upstream: e.Host, SystemID: e.SystemID, Login: e.Login}
	proof.Login.Slot = ""
	if _, err := proof.Do(ctx, env); err != nil {
		return nil, err
	}
	from, err := env.Host(ctx, e.From)
	if err != nil {
		return nil, err
	}
	if _, err := from.ReplicationLogin(ctx, e.Login); err != nil {
		return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "reserve WAL for slot " + e.Slot, Err: err, State: "nothing was copied yet"}
	}
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var got []struct {
		Done bool `json:"done"`
	}
	return nil, poll(ctx, reserveTimeout, func(ctx context.Context) (bool, error) {
		err := s.Query(ctx, &got, "select restart_lsn is not null and not active as done from pg_replication_slots where slot_name = $1", e.Slot)
		return err == nil && len(got) == 1 && got[0].Done, err
	}, func() error {
		return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "reserve WAL for slot " + e.Slot, Err: errors.New("the slot keeps none, or is still in use")}
	})
}
