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
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// HoldSlot makes a temporary slot, on the session that the backup which comes next will
// have. It ends with that session, or with any statement of it that fails: when the tool
// or its machine dies in the midst of a copy, nothing keeps WAL any more.
type HoldSlot struct {
	Host    string           `json:"host"`
	Version postgres.Version `json:"-"`
}

func (e *HoldSlot) Kind() string    { return "hold-slot" }
func (e *HoldSlot) On() string      { return e.Host }
func (e *HoldSlot) Inverse() Effect { return nil } // ends with its session
func (e *HoldSlot) Predict(World)   {}

// Inert: no step asks for a temporary slot.
func (e *HoldSlot) Inert() bool { return true }

func (e *HoldSlot) Describe() Description {
	return Description{Verb: "create", Subject: "a temporary slot", Detail: "(physical, keeps WAL from now on; ends with the backup's session)"}
}

func (e *HoldSlot) Do(ctx context.Context, env Env) (Output, error) {
	create, err := e.Version.CreateSlot(slot.Held(env.Run().ID), true, true)
	if err != nil {
		return nil, untouched{err}
	}
	s, err := backupSQL(ctx, env, e.Host)
	if err != nil {
		return nil, err
	}
	if err := e.create(ctx, s, create, slot.Held(env.Run().ID)); err != nil {
		return nil, errors.Join(fmt.Errorf("create a temporary slot: %w", err), s.Close(context.WithoutCancel(ctx)))
	}
	env.Hold(backupHold, &backupSession{heldSession: holdSession(s)})
	return nil, nil
}

// create makes it. The session of an earlier attempt of this run, whose tool was killed,
// may not have ended yet: only this run has slots of that name, and it goes on here.
func (e *HoldSlot) create(ctx context.Context, s host.SQL, create, name string) error {
	var last error
	return poll(ctx, lingers, func(ctx context.Context) (bool, error) {
		last = s.Exec(ctx, create)
		if host.SQLState(last) != postgres.DuplicateObject {
			return last == nil, last
		}
		return false, s.Exec(ctx, "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '"+name+"' and temporary and active_pid is not null")
	}, func() error { return last })
}

// roomTime is how long it is waited for a slot to come free. A statement that fails ends
// the temporary slot, and with it the copy is worth nothing.
const roomTime = 5 * time.Minute

// room waits until one more slot can be made: others may have come since the copy began.
func (e *KeepSlot) room(ctx context.Context, env Env, s host.SQL) error {
	told := false
	return poll(ctx, roomTime, func(ctx context.Context) (bool, error) {
		var rows []struct {
			Room bool `json:"room"`
		}
		if err := s.Query(ctx, &rows, "select count(*) < current_setting('max_replication_slots')::int as room from pg_replication_slots"); err != nil {
			return false, untouched{fmt.Errorf("count the slots: %w", err)}
		}
		if len(rows) == 1 && rows[0].Room {
			return true, nil
		}
		if !told {
			told = true
			env.Warn(e.Host, fmt.Sprintf("all slots are taken, and slot %s is to be made now: waiting up to %s for one to come free (see pgrepctl slot list %s)", e.Slot, roomTime, e.Host))
		}
		return false, nil
	}, func() error {
		return untouched{&fault.Error{Class: fault.Failed, Host: e.Host, Op: "create slot " + e.Slot, Err: errors.New("max_replication_slots leaves no room for it"),
			State: "the backup has ended, and the copy cannot start; what was copied stays",
			Hint:  "drop a slot that nobody needs (pgrepctl slot list " + e.Host + "), then: pgrepctl runs resume " + env.Run().ID}}
	})
}

func (e *KeepSlot) keep(ctx context.Context, s host.SQL, keep string) error {
	err := s.Exec(ctx, keep)
	switch host.SQLState(err) {
	case postgres.DuplicateObject, postgres.UndefinedObject, postgres.ConfigurationLimitExceeded, postgres.ObjectNotInPrerequisiteState:
		err = untouched{err} // any other error, a cancelled statement's for one, may come when it is made
	}
	if err != nil {
		return fmt.Errorf("create slot %s: %w", e.Slot, err)
	}
	return nil
}

// backupSQL is a session that a backup, or what keeps its WAL, can be held by.
func backupSQL(ctx context.Context, env Env, name string) (host.SQL, error) {
	s, err := session(ctx, env, name, true)
	if err != nil {
		return nil, err
	}
	if err := s.Exec(ctx, idleTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the backup session: %w", err), s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// KeepSlot makes the permanent slot of a standby whose copy is there, of the temporary
// one that has kept the WAL since before the backup began.
type KeepSlot struct {
	Host    string           `json:"host"`
	Slot    string           `json:"slot"`
	Version postgres.Version `json:"-"`
	Claims  string           `json:"-"`
	Undo    *SQL             `json:"-"`
}

func (e *KeepSlot) Kind() string    { return "keep-slot" }
func (e *KeepSlot) On() string      { return e.Host }
func (e *KeepSlot) Claim() string   { return e.Claims }
func (e *KeepSlot) Inverse() Effect { return e.Undo }

// Known: all that it changes is that there is the slot. What else was read of the server
// is of when the copy began, and has to stay so: a tablespace that was dropped since is
// in the backup's list.
func (e *KeepSlot) Known() bool { return true }

func (e *KeepSlot) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.Server.SetSlot(facts.Slot{Name: e.Slot, Type: "physical", WALStatus: "reserved", RestartLSN: new(postgres.LSN)})
	}
}

func (e *KeepSlot) Describe() Description {
	return Description{Verb: "create", Subject: "slot " + e.Slot, Detail: "(physical, a copy of the temporary one: it keeps WAL since before the backup)"}
}

func (e *KeepSlot) Do(ctx context.Context, env Env) (Output, error) {
	keep, err := e.Version.CopySlot(slot.Held(env.Run().ID), e.Slot)
	if err != nil {
		return nil, untouched{err}
	}
	b, err := takeBackup(ctx, env, e.Host, "create slot "+e.Slot)
	if err == nil && b == nil {
		err = lostBackup(e.Host, "create slot "+e.Slot)
	}
	if err != nil {
		return nil, untouched{err}
	}
	err = e.room(ctx, env, b.sql)
	if err == nil {
		err = e.keep(ctx, b.sql, keep)
	}
	if err != nil {
		return nil, errors.Join(err, b.sql.Close(context.WithoutCancel(ctx)))
	}
	env.Hold(backupHold, &backupSession{holdSession(b.sql), b.stop})
	return nil, nil
}
