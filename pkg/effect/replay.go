package effect

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// SetReplay pauses replay on a standby, and waits until the pause holds, or lets it
// go on. It never lets a server go on that has a recovery target: at the target that
// ends recovery, in every version, and the server takes writes from then on.
type SetReplay struct {
	Host    string           `json:"host"`
	Pause   bool             `json:"pause"`
	Version postgres.Version `json:"version"`
	// Timeout is how long to wait until a pause holds. Replay that waits for a
	// reader of the standby pauses when it goes on.
	Timeout time.Duration `json:"timeout"`
	// Data is the data directory and As its owner: before 12 the recovery target
	// is in a file there.
	Data string `json:"data"`
	As   string `json:"as"`
	Why  string `json:"why,omitempty"`
	// Promote: end recovery at the recovery target. There is no way back.
	Promote bool `json:"promote,omitempty"`
	// Clean: replay has caught up before it is paused, and does not stand on a lock
	// against readers.
	Clean bool `json:"clean,omitempty"`
	// Quiet are relations, as oids in Database, that no client may hold a lock on when it
	// is paused: who does would be in the way of what comes next. For that it is waited
	// QuietFor at most.
	Quiet    []int64       `json:"quiet,omitempty"`
	QuietFor time.Duration `json:"quiet_for,omitempty"`
	// With are the standbys that are paused next, for the same: it is not paused while one
	// of them is waited for, or its reads would be of ever older data.
	With []Replaying `json:"-"`
	// Waited: commits of the primary may wait for it. No walreceiver that ended is started
	// again while replay is paused, so that they would wait for the end of the pause.
	Waited bool `json:"-"`
	// Gate is how long to wait for an instant in which no client holds a lock on what the
	// run's DDL locks, in Database, before replay goes on. 0 does not wait.
	Gate     time.Duration `json:"gate,omitempty"`
	Database string        `json:"database,omitempty"`
	// Asked: somebody has asked for the pause already, and it may not hold yet. It is waited
	// for, and has no inverse: to take it back would end his pause.
	Asked bool `json:"asked,omitempty"`
	// Undo: it is an inverse, and harmless when there is nothing to undo.
	Undo bool `json:"undo,omitempty"`
}

func (e *SetReplay) Kind() string { return "replay" }
func (e *SetReplay) On() string   { return e.Host }

// Claim tells a run that was interrupted whose promotion it was. Begun, it counts as
// done: there is no way back from it.
func (e *SetReplay) Claim() string {
	if !e.Promote {
		return ""
	}
	return "promote " + e.Host
}

// Leashed: the end of a leash resumes replay at once, so this comes before it, and looks
// for an instant in which nobody is in the way.
func (e *SetReplay) Leashed() bool { return e.Undo && !e.Pause && e.Gate > 0 }

// Known: around a schema change, where every moment counts, nothing else is asked of
// what it changes.
func (e *SetReplay) Known() bool { return e.Clean || e.Gate > 0 }

func (e *SetReplay) Describe() Description {
	switch {
	case e.Promote:
		return Description{Verb: "end", Subject: "recovery at the recovery target", Detail: e.Why,
			NoReturn: e.Host + " becomes a primary of its own, on a new timeline"}
	case e.Asked: // nothing that changes until the pause holds: a preview and the run say the same
		return Description{Verb: "wait until", Subject: "the pause of replay holds", Detail: "(replay is paused already, as asked for before)"}
	case e.Pause:
		d := Description{Verb: "pause", Subject: "replay", Detail: e.Why}
		if e.Clean && e.wakes() != "" {
			d.Detail = strings.TrimSpace(d.Detail + " (while it holds a lock of another transaction it goes on, woken up by SIGUSR1, and is paused again)")
		}
		return d
	}
	d := Description{Verb: "resume", Subject: "replay", Detail: e.Why}
	if e.wakes() != "" {
		d.Detail = strings.TrimSpace(d.Detail + " (SIGUSR1 wakes the startup process up, which would sleep for up to a second)")
	}
	return d
}

func (e *SetReplay) Inverse() Effect {
	if e.Promote || e.Asked {
		return nil
	}
	return &SetReplay{Host: e.Host, Pause: !e.Pause, Version: e.Version, Timeout: e.Timeout, Data: e.Data, As: e.As, Why: "(as it was before)", Undo: true,
		Gate: e.Gate, Database: e.Database}
}

func (e *SetReplay) Predict(w World) {
	h := w.Known(e.Host)
	if h == nil {
		return
	}
	h.Server.Replay.Paused, h.Server.Replay.PauseState = e.Pause, replay.NotPaused
	if e.Pause {
		h.Server.Replay.PauseState = replay.Paused
	}
	if e.Promote {
		h.Server.InRecovery = false
	}
}

func (e *SetReplay) Do(ctx context.Context, env Env) (Output, error) {
	out, err := e.set(ctx, env)
	// A pause around a schema change has a leash, which lets go of a host that is cut off.
	// The other hosts must not stay as they are for that.
	if e.Undo && !e.Pause && e.Gate > 0 && fault.ClassOf(err) == fault.Unreachable && ctx.Err() == nil {
		env.Warn(e.Host, "it cannot be reached, and resumes replay by itself: "+err.Error())
		return nil, nil
	}
	return out, err
}

func (e *SetReplay) set(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if e.Undo && !e.Pause && errors.Is(err, host.ErrNoServer) {
		return nil, nil // a pause ends with its server
	}
	if err != nil {
		return nil, err
	}
	now, err := replay.Read(ctx, s, e.Version)
	if err != nil {
		return nil, err
	}
	if !now.InRecovery {
		if e.Undo {
			return nil, nil // it was promoted meanwhile, and replays nothing
		}
		return nil, fault.Refuse(e.Host, "pgrepctl status", untouched{errors.New("the server is not in recovery: it replays nothing")})
	}
	if e.Pause && e.Clean {
		return e.pauseClean(ctx, env, s)
	}
	if e.Pause {
		return e.pause(ctx, s, now)
	}
	return nil, e.resume(ctx, env, s, now)
}

// Keys of what is known of a standby whose replay stands still.
const (
	ReplayLSN      = "replay.lsn"      // how far it has replayed
	ReplayTime     = "replay.time"     // commit time of the last transaction replayed, empty if not known
	ReplayReceiver = "replay.receiver" // status of its walreceiver, empty if it has none
	ReplayLocked   = "replay.locked"   // relations that replay has locked against readers, empty if none
)

func found(p replay.Progress) Output {
	out := Output{ReplayLSN: p.Replayed().String(), ReplayTime: "", ReplayReceiver: p.Receiver}
	if p.ReplayedAt != nil {
		out[ReplayTime] = replay.FormatTime(*p.ReplayedAt)
	}
	return out
}

func (e *SetReplay) pause(ctx context.Context, s host.SQL, now replay.Progress) (Output, error) {
	if now.PauseState() == replay.NotPaused {
		if err := s.Exec(ctx, "select "+e.Version.PauseReplay()); err != nil {
			return nil, fmt.Errorf("pause replay: %w", err)
		}
	}
	still := replay.Stillness{Version: e.Version, Brief: e.Clean}
	err := poll(ctx, e.Timeout, func(ctx context.Context) (bool, error) {
		var err error
		if now, err = replay.Read(ctx, s, e.Version); err != nil {
			return false, err
		}
		return still.Holds(now), nil
	}, func() error {
		why := "it still replays, at " + now.Replayed().String()
		if now.Waits != nil {
			why = "it waits (" + *now.Waits + "), at " + now.Replayed().String()
		}
		return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "pause replay", Err: fmt.Errorf("the pause does not hold after %s: %s", e.Timeout, why),
			State: "the pause is asked for, and takes effect before the next record is replayed",
			Hint:  "a query on " + e.Host + " that replay waits for is in pg_stat_activity there; pgrepctl replay status " + e.Host}
	})
	if err != nil {
		return nil, err
	}
	return found(now), nil
}

func (e *SetReplay) resume(ctx context.Context, env Env, s host.SQL, now replay.Progress) error {
	paused := now.PauseState() != replay.NotPaused
	if !paused && !e.Promote {
		return nil
	}
	if paused { // else it was told already, and recovery is about to end
		target, err := e.target(ctx, env, s)
		if err != nil {
			return err
		}
		if target != "" && !e.Promote {
			return AtTarget(e.Host, target)
		}
		if err := e.goOn(ctx, env, s); err != nil {
			return err
		}
	}
	timeout := max(e.Timeout, 10*time.Second)
	return poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		now, err := replay.Read(ctx, s, e.Version)
		if err != nil {
			return false, err
		}
		if e.Promote {
			return !now.InRecovery, nil
		}
		return now.PauseState() == replay.NotPaused, nil
	}, func() error {
		if e.Promote {
			return fmt.Errorf("resume replay: recovery has not ended after %s: the server log says why", timeout)
		}
		return fmt.Errorf("resume replay: still paused after %s", timeout)
	})
}

// AtTarget refuses to resume a server that has a recovery target, where that would
// end recovery.
func AtTarget(name, target string) error {
	return fault.Refuse(name, "to make it follow again: pgrepctl replay resume "+name+" --follow; to open it read-write, for good: pgrepctl replay resume "+name+" --promote",
		untouched{fmt.Errorf("it is held by a recovery target (%s): to resume replay there ends recovery, and promotes the server", target)})
}

// target is the recovery target that the server was started with, empty if none.
func (e *SetReplay) target(ctx context.Context, env Env, s host.SQL) (string, error) {
	if q := e.Version.RecoveryTargetQuery(); q != "" {
		var rows []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		}
		if err := s.Query(ctx, &rows, q); err != nil {
			return "", fmt.Errorf("ask for the recovery target: %w", err)
		}
		if len(rows) == 0 {
			return "", nil
		}
		return rows[0].Name + " = " + rows[0].Value, nil
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return "", err
	}
	p := path.Join(e.Data, e.Version.RecoveryFile())
	f, err := h.Files(e.As).Read(ctx, p)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", p, err)
	}
	return TargetIn(conf.Parse(f.Data), e.Version), nil
}

// TargetIn is the recovery target that a file sets, empty if none.
func TargetIn(f *conf.File, v postgres.Version) string {
	for _, name := range v.RecoveryTargets() {
		if have, ok := f.Get(name); ok && have.Value != "" {
			return name + " = " + have.Value
		}
	}
	return ""
}
