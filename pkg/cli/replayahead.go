package cli

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// lookAhead looks at where a standby would stop, before anything is done. It finds a
// restore point, and moves a target out of a transaction that has locked tables: there
// nobody could read them, and there is no way back from there to before it.
func (a *app) lookAhead(ctx context.Context, s *session, h *inventory.Host, t replay.Target, o untilOptions) (replay.Target, postgres.LSN, error) {
	res := a.look(ctx, s, []*inventory.Host{h})[h.Name]
	if res.Err != nil {
		return t, 0, res.Err
	}
	f := res.Facts
	switch {
	case f.Server.Running && f.Server.InRecovery:
		return a.aheadOfReplay(ctx, s, h, f, t, o)
	case stoppedStandby(f):
		on, err := s.conn.Host(ctx, h.Name)
		if err != nil {
			return t, 0, err
		}
		return a.aheadOfStart(ctx, on, h, f, t, o)
	}
	return t, 0, nil // the step says what is to be said
}

// aheadOfReplay looks ahead of a server that replays.
func (a *app) aheadOfReplay(ctx context.Context, s *session, h *inventory.Host, f *facts.Host, t replay.Target, o untilOptions) (replay.Target, postgres.LSN, error) {
	if !o.managed {
		found, err := a.managers(ctx, s, h)
		if err == nil {
			err = refuseManaged(h, found)
		}
		if err != nil {
			return t, 0, err
		}
	}
	name, value := t.Setting()
	if target, err := steps.RecoveryTargetOf(ctx, h.Postgres.OSUser, f); err != nil || target == name+" = "+value {
		return t, 0, err // it is there, or on its way
	}
	sql, err := s.sql(ctx, h.Name)
	if err != nil {
		return t, 0, err
	}
	now, err := replay.Read(ctx, sql, f.Server.Version)
	if err != nil {
		return t, 0, err
	}
	if t.Passed(now.Replayed(), now.ReplayedAt, 0) != nil {
		return t, 0, nil // the step refuses it
	}
	on, err := s.conn.Host(ctx, h.Name)
	if err != nil {
		return t, 0, err
	}
	return a.ahead(ctx, on, h, walOf(h, f, now), t, o)
}

// stoppedStandby is a server that the step would start with the target.
func stoppedStandby(f *facts.Host) bool {
	return !f.Server.Running && f.Server.NotReady == "" && f.Data.State == facts.Cluster && f.Data.Standby
}

// aheadOfStart looks ahead of a server that is stopped. It needs none: pg_waldump reads files,
// and the control file says where replay begins.
func (a *app) aheadOfStart(ctx context.Context, on host.Runner, h *inventory.Host, f *facts.Host, t replay.Target, o untilOptions) (replay.Target, postgres.LSN, error) {
	if !o.managed {
		found, err := replay.Managers(ctx, on, nil)
		if err == nil {
			err = refuseManaged(h, found)
		}
		if err != nil {
			return t, 0, err
		}
	}
	w, err := walOfStopped(h, f)
	if err != nil || t.Passed(w.Reached, nil, 0) != nil {
		return t, 0, err // what is passed the step refuses
	}
	return a.ahead(ctx, on, h, w, t, o)
}

// ahead looks through the WAL that is not replayed.
func (a *app) ahead(ctx context.Context, on host.Runner, h *inventory.Host, w replay.WALSource, t replay.Target, o untilOptions) (replay.Target, postgres.LSN, error) {
	standsAt, err := restorePointOf(ctx, on, h, w, t)
	if err != nil || t.Passed(w.Reached, nil, standsAt) != nil {
		return t, standsAt, err
	}
	t, err = a.outOfLocks(ctx, on, h, w, t, standsAt, o.locked)
	return t, standsAt, err
}

// walOf is the WAL that a standby has received, from where it will begin on: it is restarted with
// the target, and replays what is behind its last restart point again.
func walOf(h *inventory.Host, f *facts.Host, now replay.Progress) replay.WALSource {
	v, to := f.Server.Version, now.Received()
	if now.Receive == nil || *now.Receive < to {
		to = 0 // it has not streamed since its start: what is on its disk is not known
	}
	from, c := now.Replayed(), f.Data.Control
	if c.RedoLSN > 0 && c.RedoLSN < from && int(c.Timeline) == f.Server.Timeline {
		from = c.RedoLSN
	}
	return replay.WALSource{Program: path.Join(f.Machine.BinDirectory, v.WALDump()), Dir: path.Join(f.Server.DataDirectory, v.WALDir()),
		As: h.Postgres.OSUser, Timeline: f.Server.Timeline, From: from, To: to, Reached: now.Replayed()}
}

// walOfStopped is the WAL that a stopped standby has, from where it will begin on. How far its
// replay was is known no better than by what its files need to be consistent.
func walOfStopped(h *inventory.Host, f *facts.Host) (replay.WALSource, error) {
	v, err := postgres.ParseVersion(h.Postgres.Version)
	if err != nil {
		return replay.WALSource{}, fmt.Errorf("version of %s: %w", h.Name, err)
	}
	c := f.Data.Control
	return replay.WALSource{Program: path.Join(f.Machine.BinDirectory, v.WALDump()), Dir: path.Join(h.Postgres.DataDirectory, v.WALDir()),
		As: h.Postgres.OSUser, Timeline: int(max(c.Timeline, c.MinRecoveryTimeline)), From: c.RedoLSN, Reached: max(c.RedoLSN, c.MinRecoveryLSN)}, nil
}

// refuseManaged: who resumes replay at a recovery target promotes the standby.
func refuseManaged(h *inventory.Host, found []string) error {
	if len(found) == 0 {
		return nil
	}
	return fault.Refuse(h.Name, "keep it from acting (patronictl pause, repmgr service pause), then type the same command with --accept-manager",
		fmt.Errorf("%s: at a recovery target that promotes the standby", managerResumes(found[0])))
}

// restorePointOf is where the restore point of a target stands; 0 of a target that is none.
func restorePointOf(ctx context.Context, on host.Runner, h *inventory.Host, w replay.WALSource, t replay.Target) (postgres.LSN, error) {
	if t.Kind != replay.Name {
		return 0, nil
	}
	at, err := replay.RestorePoint(ctx, on, w, t.Name)
	if errors.Is(err, replay.ErrNoRestorePoint) {
		return 0, fault.Refuse(h.Name, "if it is behind that, it cannot be taken back; if it was not received yet, wait; else give --time or --lsn", err)
	}
	return at, unread(h, err, "the restore point", "give --time or --lsn")
}

// unread refuses where the WAL was not read: what was not found in it means nothing.
func unread(h *inventory.Host, err error, what, instead string) error {
	switch {
	case errors.Is(err, replay.ErrNoProgram):
		instead = "install it; or " + instead
	case !errors.Is(err, replay.ErrUnread):
		return err
	}
	return fault.Refuse(h.Name, instead, fmt.Errorf("%s cannot be looked for: %w", what, err))
}

// outOfLocks moves a target to before the first lock that would be held there, if that
// loses no commit.
func (a *app) outOfLocks(ctx context.Context, on host.Runner, h *inventory.Host, w replay.WALSource, t replay.Target, standsAt postgres.LSN, accepted bool) (replay.Target, error) {
	if accepted {
		return t, nil
	}
	stop, err := replay.FindStop(ctx, on, w, t, standsAt)
	if err != nil {
		return t, unread(h, err, "what a transaction has locked at the target", "add --locked: what is locked is named at the end, and cannot be read")
	}
	if stop.At != 0 && stop.At < w.Reached {
		return t, fault.Refuse(h.Name, replay.PassedHint, &replay.PassedError{Target: t, Replayed: w.Reached.String()})
	}
	for _, l := range stop.Held {
		fmt.Fprintf(a.Err, "note: %s: %s, which it has replayed: at the target it cannot be read\n", h.Name, l)
	}
	if !stop.Seen(w) {
		fmt.Fprintf(a.Err, "note: %s has not received all WAL up to the target: what a transaction will have locked there is not known\n", h.Name)
	}
	if len(stop.Locks) == 0 {
		return t, nil
	}
	first := stop.Locks[0]
	if stop.Commits > 0 {
		return t, fault.Refuse(h.Name, fmt.Sprintf("--lsn %s stops before the lock, and without the last %d commits; --locked stops there all the same, where only a promotion frees the tables", first.At, stop.Commits),
			fmt.Errorf("at %s a transaction has locked tables that nobody could read then: %s", stop.At, first))
	}
	fmt.Fprintf(a.Err, "note: %s: %s; the target is moved to before that, from %s, so that it can be read: no commit lies between\n", h.Name, first, stop.At)
	return replay.Target{Kind: replay.LSN, LSN: first.At}, nil
}
