package steps

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// Replay pauses replay on a standby, or lets it go on. Undoing it brings back the
// state that was found.
type Replay struct {
	State string `yaml:"state"` // paused, running
	// OnlyDelayed: a standby without an apply delay is left alone.
	OnlyDelayed bool `yaml:"only-delayed"`
	// AtTarget, for state running: "refuse" (default), or "promote" to end
	// recovery at a recovery target.
	AtTarget string `yaml:"at-target"`
	// Timeout is how long to wait until a pause holds; default 30s.
	Timeout time.Duration `yaml:"timeout"`
	// Gate, for state running: for so long an instant is looked for in which no client
	// holds a lock on what the run's DDL in Database locks.
	Gate     time.Duration `yaml:"gate"`
	Database string        `yaml:"database"`
}

var _ Step = (*Replay)(nil)

// Validate is called when a plan file is read.
func (s *Replay) Validate() error {
	switch {
	case s.State != "paused" && s.State != "running":
		return fmt.Errorf("state %q: want paused or running", s.State)
	case s.AtTarget != "" && s.AtTarget != "refuse" && s.AtTarget != "promote":
		return fmt.Errorf("at-target %q: want refuse or promote", s.AtTarget)
	case s.AtTarget == "promote" && s.State != "running":
		return errors.New("at-target: promote belongs to state: running")
	}
	return nil
}

// Plan acts only where the state is another.
func (s *Replay) Plan(ctx context.Context, in In) (Planned, error) {
	if s.AtTarget == "promote" {
		if h, err := in.self(ctx); err == nil && h.Server.Running && !h.Server.InRecovery {
			return noop("it is in recovery no more: it takes writes, on timeline %d", h.Server.Timeline), nil
		}
	}
	h, err := in.replaying(ctx)
	if s.Gate > 0 && in.leftBehind(err) {
		return noop("it cannot be reached: its leash resumes replay"), nil
	}
	if err != nil {
		return Planned{}, err
	}
	e := in.setReplay(h, s.State == "paused", s.Timeout)
	r := h.Server.Replay
	if s.OnlyDelayed {
		delay, err := in.applyDelay(ctx, h)
		if err != nil {
			return Planned{}, err
		}
		if delay == 0 {
			return noop("it has no apply delay"), nil
		}
	}
	if s.State == "paused" {
		switch {
		case r.Paused && pauseHolds(h):
			return noop("replay is paused already (%s), at %s", r.PauseState, h.Server.LSN), nil
		case r.Paused:
			e.Asked = true
			return Planned{Effects: []effect.Effect{e}}, nil
		}
		e.Why = "(" + in.fills(h) + "; waits until the pause holds)"
		return Planned{Effects: []effect.Effect{e}}, nil
	}
	if s.Gate > 0 {
		e.Gate, e.Database = s.Gate, s.Database
		e.Why = "(in an instant in which nobody holds a lock on what was changed; after " + s.Gate.String() + " at any)"
	}
	// A run that was interrupted may have ended the pause, and recovery with it; that
	// takes a while, and is waited for.
	promoting := s.AtTarget == "promote" && in.Run.Claimed("promote "+in.Self.Name)
	if !r.Paused && !promoting {
		return noop("replay is not paused"), nil
	}
	target, err := in.recoveryTarget(ctx, h)
	if err != nil {
		return Planned{}, err
	}
	switch {
	case target == "" && s.AtTarget == "promote":
		return Planned{}, fault.Refuse(in.Self.Name, "pgrepctl replay resume "+in.Self.Name, errors.New("it has no recovery target: to resume replay promotes nothing"))
	case target != "" && s.AtTarget != "promote":
		return Planned{}, effect.AtTarget(in.Self.Name, target)
	case target != "" && !promoting: // begun, it is not held up any more
		if err := in.refuseArchiving(h); err != nil {
			return Planned{}, err
		}
	}
	if target != "" {
		e.Promote, e.Why = true, "("+target+"; it opens read-write)"
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// refuseArchiving: promoted beside the cluster, a server would archive its timeline where the
// other standbys look for theirs. With recovery_target_timeline = latest they follow it, or
// stop where it branches off.
func (in In) refuseArchiving(h *facts.Host) error {
	m := h.Server.Archiver.Mode
	if m == "" || m == "off" {
		return nil
	}
	return fault.Refuse(in.Self.Name, "give it another archive, or none: alter system set archive_mode = off, restart it, then type the same command again",
		fmt.Errorf("archive_mode is %s: promoted, it would write its timeline into the archive of the cluster", m))
}

// pauseHolds reports whether a pause that was asked for is known to hold. From 14 on the
// server says so. Before, a request looks the same: there replay stands for sure when it
// has all that a walreceiver brings, for the request counts before the next record. WAL
// from an archive is not in what was received. A delayed standby stands still while its
// pause is only requested, which the facts do not tell: that is looked at again.
func pauseHolds(h *facts.Host) bool {
	r := h.Server.Replay
	if h.Server.Version.AtLeast(14) {
		return r.PauseState == replay.Paused
	}
	return r.Paused && r.ReceiverStatus == "streaming" && r.Receive != nil && r.Replay != nil && *r.Receive == *r.Replay
}

// replaying is the facts of a server that is in recovery.
func (in In) replaying(ctx context.Context) (*facts.Host, error) {
	h, err := in.self(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case !h.Server.Running && h.Server.NotReady != "":
		return nil, fault.Refuse(in.Self.Name, "pgrepctl status", fmt.Errorf("its server accepts no session: %s", h.Server.NotReady))
	case !h.Server.Running:
		return nil, fault.Refuse(in.Self.Name, "pgrepctl status", errors.New("its server does not run: it replays nothing"))
	case !h.Server.InRecovery:
		return nil, fault.Refuse(in.Self.Name, "pgrepctl status", errors.New("its server is not in recovery: it replays nothing"))
	}
	return h, nil
}

// pauseTimeout is how long a pause may take to hold: replay that waits for a reader
// looks at the request only when it goes on (max_standby_streaming_delay, 30s).
const pauseTimeout = 30 * time.Second

// fills says where the WAL is that a paused standby does not replay. One without a
// walreceiver gets none: its slot keeps it where it comes from.
func (in In) fills(h *facts.Host) string {
	up := in.Cluster.Upstream(in.Self)
	switch {
	case h.Server.Replay.ReceiverStatus != "" || up == nil:
		return "it goes on receiving, and its disk fills"
	case in.Self.Slot == "":
		return "it receives nothing now, and no slot keeps on " + up.Name + " what it lacks"
	}
	return "it receives nothing now: its slot keeps what it lacks on " + up.Name + ", whose disk fills"
}

func (in In) setReplay(h *facts.Host, pause bool, timeout time.Duration) *effect.SetReplay {
	if timeout == 0 {
		timeout = pauseTimeout
	}
	return &effect.SetReplay{Host: in.Self.Name, Pause: pause, Version: h.Server.Version, Timeout: timeout,
		Data: h.Server.DataDirectory, As: in.Self.Postgres.OSUser}
}

// recoveryTarget is the target that a running server was started with, empty if
// none. Before 12 it is what recovery.conf says now.
func (in In) recoveryTarget(ctx context.Context, h *facts.Host) (string, error) {
	return RecoveryTargetOf(ctx, in.Self.Postgres.OSUser, h)
}

// RecoveryTargetOf is the recovery target that a running server was started with,
// empty if none. as owns its data directory.
func RecoveryTargetOf(ctx context.Context, as string, h *facts.Host) (string, error) {
	v := h.Server.Version
	if !v.UsesSignalFiles() {
		f, err := h.File(ctx, as, path.Join(h.Server.DataDirectory, v.RecoveryFile()))
		if err != nil {
			return "", err
		}
		return effect.TargetIn(conf.Parse(f.Data), v), nil
	}
	settings, err := h.Settings(ctx)
	if err != nil {
		return "", err
	}
	for _, name := range v.RecoveryTargets() {
		if s, ok := settings[name]; ok && s.Value != "" {
			return name + " = " + s.Value, nil
		}
	}
	return "", nil
}

// applyDelay is the recovery_min_apply_delay of a running server. Before 12 it is
// what recovery.conf says now.
func (in In) applyDelay(ctx context.Context, h *facts.Host) (time.Duration, error) {
	return DelayOf(ctx, in.Self.Postgres.OSUser, h)
}

// DelayOf is how late a running standby replays on purpose. as owns its data
// directory.
func DelayOf(ctx context.Context, as string, h *facts.Host) (time.Duration, error) {
	const name = "recovery_min_apply_delay"
	v := h.Server.Version
	if v.UsesSignalFiles() {
		settings, err := h.Settings(ctx)
		if err != nil {
			return 0, err
		}
		ms, err := strconv.ParseInt(settings[name].Value, 10, 64)
		if err != nil && settings[name].Value != "" {
			return 0, fmt.Errorf("read %s of %s: %w", name, h.Name, err)
		}
		return time.Duration(ms) * time.Millisecond, nil
	}
	f, err := h.File(ctx, as, path.Join(h.Server.DataDirectory, v.RecoveryFile()))
	if err != nil {
		return 0, err
	}
	have, ok := conf.Parse(f.Data).Get(name)
	if !ok || have.Value == "" {
		return 0, nil
	}
	d, err := conf.Delay(have.Value)
	if err != nil {
		return 0, fmt.Errorf("read %s of %s: %w", name, h.Name, err)
	}
	return d, nil
}

// versionOf is that of the running server, else the inventory's major release.
func (in In) versionOf(h *facts.Host) (postgres.Version, error) {
	if h.Server.Running {
		return h.Server.Version, nil
	}
	return postgres.ParseVersion(in.Self.Postgres.Version)
}
