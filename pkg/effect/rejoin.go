package effect

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Rejoin is what the undoing of a standby's stop waits for: that it streams from
// its upstream again. What that needs (passfile, rule, slot) was taken away later
// than the server was stopped, so it is back by then.
type Rejoin struct {
	Upstream    string `json:"upstream"`
	Application string `json:"application"`
	// Version is the upstream's.
	Version postgres.Version `json:"version"`
	// Timeout is how long it may make no progress.
	Timeout time.Duration `json:"timeout"`
}

// rejoin starts a standby again whose stop is undone.
func (e *Service) rejoin(ctx context.Context, env Env, h host.Host) error {
	// The reload at the end of an undo would come too late: the upstream has
	// the rule in its file, and has not read it.
	if _, err := (&Reload{Host: e.Rejoin.Upstream}).Do(ctx, env); err != nil {
		return fmt.Errorf("before %s is started: %w", e.Host, err)
	}
	up, err := e.settled(ctx, env, h)
	if err != nil {
		return err
	}
	if !up {
		if err := e.staysStandby(ctx, h); err != nil {
			return err
		}
	}
	if err := e.undo(ctx, env, h); err != nil {
		return err
	}
	return e.Rejoin.await(ctx, env, e.Host)
}

// await returns when the upstream shows the standby streaming, or when it never
// will, because the WAL that it needs is gone.
func (j *Rejoin) await(ctx context.Context, env Env, name string) error {
	up, err := env.SQL(ctx, j.Upstream)
	if err != nil {
		return err
	}
	var senders []senderProgress
	sent := distance{env: env, what: "sent"}
	last, replayed, since := "no walsender for it", "", time.Now()
	return pollMoving(ctx, j.Timeout, func(ctx context.Context) (bool, string, error) {
		if err := up.Query(ctx, &senders, j.Version.SenderProgress(), j.Application); err != nil {
			return false, "", fmt.Errorf("look for %s on %s: %w", name, j.Upstream, err)
		}
		if len(senders) > 0 {
			last = "its walsender is in state " + senders[0].State
			sent.at(senders[0].Sent, senders[0].Goal)
			return len(senders) == 1 && senders[0].State == "streaming", senders[0].Mark, nil
		}
		missing, at, err := j.missing(ctx, env, name, up)
		if err != nil {
			return false, "", fmt.Errorf("look for the WAL that %s needs: %w", name, err)
		}
		if at != replayed {
			replayed, since = at, time.Now()
		}
		if missing != "" && time.Since(since) >= stands {
			return false, "", &fault.Error{Class: fault.Failed, Host: name, Op: "stream from " + j.Upstream + " again",
				Err:   fmt.Errorf("%s has removed the WAL that it needs, from file %s on: it was away for too long", j.Upstream, missing),
				State: "the standby runs, in recovery, and cannot catch up; its slot is back",
				Hint:  "it has to be seeded again: pgrepctl runs abandon " + env.Run().ID + "; then: pgrepctl standby reseed " + name}
		}
		return false, at, nil
	}, func() error {
		return &fault.Error{Class: fault.Failed, Host: name, Op: "stream from " + j.Upstream + " again",
			Err:   fmt.Errorf("not streaming, and no progress for %s: %s", j.Timeout, last),
			State: "the standby runs, in recovery", Hint: "its walreceiver says why in the server log of " + name}
	})
}

// stands is how long replay may stand still before it is taken for having replayed all that the
// standby has on its own disk.
const stands = 3 * time.Second

// missing is the WAL file that the standby would ask for next, if its upstream
// has it no more; empty when it has. at is how far it has replayed.
func (j *Rejoin) missing(ctx context.Context, env Env, name string, up host.SQL) (need, at string, err error) {
	sb, err := session(ctx, env, name, false) // the run's own one is of before the stop
	if host.SQLState(err) == postgres.CannotConnectNow {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	defer sb.Close(ctx)
	var rows []struct {
		Replay *postgres.LSN `json:"replay"`
	}
	if err := sb.Query(ctx, &rows, "select "+j.Version.LastReplay()+"::text as replay"); err != nil {
		return "", "", err
	}
	if len(rows) != 1 || rows[0].Replay == nil {
		return "", "", nil
	}
	need, _, err = removed(ctx, up, j.Version, *rows[0].Replay)
	return need, rows[0].Replay.String(), err
}
