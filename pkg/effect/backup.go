package effect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Keys of what a backup leaves behind for later steps. All but the first are
// empty from its start until its end.
const (
	BackupStartLSN = "backup.start_lsn"
	BackupStopLSN  = "backup.stop_lsn"
	BackupLabel    = "backup.label"
	BackupMap      = "backup.tablespace_map"
)

const backupHold = "backup"

// StartBackup begins a non-exclusive base backup on a connection of its own. It
// lives and dies with that session: nothing but it can stop the backup, and
// when it is lost the server ends backup mode by itself.
type StartBackup struct {
	Host  string `json:"host"`
	Label string `json:"label"`
	Fast  bool   `json:"fast"`
	// Start and Stop are the statements of the server's version; Start has
	// parameters $1 label, $2 fast.
	Start string `json:"-"`
	Stop  string `json:"-"`
}

func (e *StartBackup) Kind() string    { return "start-backup" }
func (e *StartBackup) On() string      { return e.Host }
func (e *StartBackup) Inverse() Effect { return nil } // ends with its session
func (e *StartBackup) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *StartBackup) Inert() bool { return true }

// Interruptible: a spread checkpoint takes minutes.
func (e *StartBackup) Interruptible() bool { return !e.Fast }

func (e *StartBackup) Describe() Description {
	how := "(non-exclusive, spread checkpoint)"
	if e.Fast {
		how = "(non-exclusive, fast checkpoint)"
	}
	return Description{Verb: "start", Subject: "a base backup", Detail: how}
}

func (e *StartBackup) Do(ctx context.Context, env Env) (Output, error) {
	s, err := e.session(ctx, env)
	if err != nil {
		return nil, err
	}
	out, err := e.start(ctx, s, env.Run())
	if err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	env.Hold(backupHold, &backupSession{holdSession(s), e.Stop})
	return out, nil
}

// session is the one that has the slot which keeps the backup's WAL, or a new one.
func (e *StartBackup) session(ctx context.Context, env Env) (host.SQL, error) {
	b, err := takeBackup(ctx, env, e.Host, "start the base backup")
	switch {
	case err != nil:
		return nil, err
	case b == nil:
		return backupSQL(ctx, env, e.Host)
	}
	return b.sql, nil
}

func (e *StartBackup) start(ctx context.Context, s host.SQL, run Run) (Output, error) {
	var got []struct {
		LSN string `json:"lsn"`
	}
	if err := s.Query(ctx, &got, e.Start, e.Label+":"+run.ID, e.Fast); err != nil {
		return nil, fmt.Errorf("start the base backup: %w", err)
	}
	if len(got) != 1 {
		return nil, fmt.Errorf("start the base backup: %d rows", len(got))
	}
	// What an earlier backup of this run found out does not fit the copy that
	// is made from here on.
	return Output{BackupStartLSN: got[0].LSN, BackupStopLSN: "", BackupLabel: "", BackupMap: ""}, nil
}

type backupSession struct {
	*heldSession
	stop string
}

// takeBackup takes the session that a backup is held by, or is about to be; nil if there
// is none. Its beat has ended: it is the caller's to hold again, or to close.
func takeBackup(ctx context.Context, env Env, name, op string) (*backupSession, error) {
	held, ok := env.TakeHeld(backupHold)
	if !ok {
		return nil, nil
	}
	b := held.(*backupSession)
	if err := b.rest(ctx); err != nil {
		return nil, &fault.Error{Class: fault.ClassOf(err), Host: name, Op: op, Err: err,
			State: "the session was closed: the server leaves backup mode by itself; the copy cannot be used, and cannot start"}
	}
	if host.Lost(b.sql) {
		_ = b.sql.Close(ctx)
		return nil, lostBackup(name, op)
	}
	return b, nil
}

// StopBackup ends it on the session that began it, and yields the backup label.
type StopBackup struct {
	Host string `json:"host"`
	// Copied are the locations of the tablespaces that were copied under it;
	// nil when that is not known, as in a preview.
	Copied []string `json:"-"`
	// Waits: the server ends the backup only when its WAL is archived (9.6).
	Waits bool `json:"-"`
}

func (e *StopBackup) Kind() string    { return "stop-backup" }
func (e *StopBackup) On() string      { return e.Host }
func (e *StopBackup) Inverse() Effect { return nil }
func (e *StopBackup) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *StopBackup) Inert() bool { return true }

func (e *StopBackup) Describe() Description {
	how := "(without waiting for the archiver)"
	if e.Waits {
		how = "(which waits until the archiver has its WAL)"
	}
	return Description{Verb: "stop", Subject: "the base backup", Detail: how}
}

func (e *StopBackup) Do(ctx context.Context, env Env) (Output, error) {
	b, err := takeBackup(ctx, env, e.Host, "stop the base backup")
	if err == nil && b == nil {
		err = lostBackup(e.Host, "stop the base backup")
	}
	if err != nil {
		return nil, err
	}
	defer b.sql.Close(context.WithoutCancel(ctx))
	var got []struct {
		LSN   string  `json:"lsn"`
		Label string  `json:"labelfile"`
		Map   *string `json:"spcmapfile"`
	}
	if err := b.sql.Query(ctx, &got, b.stop); err != nil {
		return nil, fmt.Errorf("stop the base backup: %w", err)
	}
	if len(got) != 1 || got[0].Label == "" {
		return nil, errors.New("stop the base backup: the server gave no backup label")
	}
	out := Output{BackupStopLSN: got[0].LSN, BackupLabel: got[0].Label}
	if got[0].Map != nil {
		out[BackupMap] = *got[0].Map
	}
	if err := e.complete(out[BackupMap], env.Run()); err != nil {
		return nil, err
	}
	return out, nil
}

// complete refuses a copy without a tablespace that was there when the backup
// began: one that was made after the facts were read, which is when the list of
// what to copy is made. Of one that is made later replay tells the standby.
func (e *StopBackup) complete(text string, run Run) error {
	if e.Copied == nil {
		return nil
	}
	locations, err := postgres.ParseTablespaceMap(text)
	if err != nil {
		return err
	}
	return complete(e.Host, locations, e.Copied, run)
}

func complete(name string, locations, copied []string, run Run) error {
	missing := slices.DeleteFunc(slices.Clone(locations), func(p string) bool { return slices.Contains(copied, p) })
	if len(missing) == 0 {
		return nil
	}
	return &fault.Error{Class: fault.Failed, Host: name, Op: "stop the base backup",
		Err:   fmt.Errorf("a tablespace in %s was made while this run prepared the copy, and is not in it", strings.Join(missing, ", ")),
		State: "the copy is not complete and cannot start; what was copied stays",
		Hint:  "pgrepctl runs resume " + run.ID}
}

func lostBackup(name, op string) error {
	return &fault.Error{Class: fault.Failed, Host: name, Op: op,
		Err:   errors.New("the session that began the backup is gone, and with it the backup"),
		State: "the server has left backup mode by itself; the copy cannot be used, and cannot start"}
}
