package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// RecoveryTarget restarts a standby so that it replays up to a target and stands
// there, read-only, or takes the target away again so that it follows. Recovery
// targets are read at a start only, and by no version changed while it replays.
type RecoveryTarget struct {
	// Until is "time 2026-11-26 07:10:00+00", "lsn 0/3000090", "name NAME", or
	// "none".
	Until string `yaml:"until"`
	// Stop is before (default) or after what stands at the target.
	Stop string `yaml:"stop"`
	// StandsAt is where the restore point of a name stands: without it nobody can
	// tell whether replay is past it.
	StandsAt string `yaml:"stands-at"`
	// ApplyDelay is that of the standby from then on, for none: "inventory"
	// (default) or a value such as 4h or 0.
	ApplyDelay string `yaml:"apply-delay"`
	// Timeout is how long replay may make no progress towards the target.
	Timeout time.Duration `yaml:"timeout"`
}

var _ Step = (*RecoveryTarget)(nil)

const noTarget = "none"

// Validate is called when a plan file is read.
func (s *RecoveryTarget) Validate() error {
	if s.Until == noTarget {
		if s.ApplyDelay != "" && s.ApplyDelay != "inventory" {
			if _, err := conf.Delay(s.ApplyDelay); err != nil {
				return fmt.Errorf("apply-delay: %w", err)
			}
		}
		return nil
	}
	if s.Stop != "" && s.Stop != "before" && s.Stop != "after" {
		return fmt.Errorf("stop %q: want before or after", s.Stop)
	}
	_, _, err := s.target()
	return err
}

func (s *RecoveryTarget) target() (t replay.Target, standsAt postgres.LSN, err error) {
	if t, err = replay.ParseTarget(s.Until); err != nil {
		return t, 0, fmt.Errorf("until: %w", err)
	}
	t.Inclusive = s.Stop == "after"
	if s.StandsAt != "" {
		if standsAt, err = postgres.ParseLSN(s.StandsAt); err != nil {
			return t, 0, fmt.Errorf("stands-at: %w", err)
		}
	}
	return t, standsAt, nil
}

// Plan compares the file that has the settings of recovery with what it shall say.
func (s *RecoveryTarget) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if err := in.refuseNoStandby(h); err != nil {
		return Planned{}, err
	}
	e, err := in.recoveryFile(ctx, h)
	if err != nil {
		return Planned{}, err
	}
	if s.Until == noTarget {
		return s.without(ctx, in, h, e)
	}
	return s.until(ctx, in, h, e)
}

// refuseNoStandby refuses what is no standby, or would not come up as one.
func (in In) refuseNoStandby(h *facts.Host) error {
	switch {
	case h.Server.Running && !h.Server.InRecovery:
		return fault.Refuse(in.Self.Name, "pgrepctl status", errors.New("its server is not in recovery: it replays nothing"))
	case h.Server.NotReady != "" && !in.Run.Changed(in.Self.Name):
		return fault.Refuse(in.Self.Name, "type the same command again when it accepts sessions", fmt.Errorf("its server accepts no session: %s", h.Server.NotReady))
	case h.Data.State != facts.Cluster || !h.Data.Standby:
		return fault.Refuse(in.Self.Name, "pgrepctl status", fmt.Errorf("%s holds no standby", h.Data.Path))
	}
	return nil
}

func (s *RecoveryTarget) until(ctx context.Context, in In, h *facts.Host, e *recoveryEdit) (Planned, error) {
	t, standsAt, err := s.target()
	if err != nil {
		return Planned{}, err
	}
	if t.Kind == replay.LSN && !e.version.AtLeast(10) {
		return Planned{}, fault.Refuse(in.Self.Name, "give --time or --name", fmt.Errorf("PostgreSQL %s has no recovery_target_lsn: it came with 10", e.version.Major()))
	}
	if err := in.refuseOtherTarget(ctx, h, e, t); err != nil {
		return Planned{}, err
	}
	name, value := t.Setting()
	wanted := map[string]string{name: value, "recovery_target_inclusive": onOff(t.Inclusive), "recovery_target_action": "pause", "recovery_min_apply_delay": "0"}
	order := []string{name, "recovery_target_inclusive", "recovery_target_action", "recovery_min_apply_delay"}
	if err := set(e.file, wanted, order...); err != nil {
		return Planned{}, err
	}
	started, err := in.startedWith(ctx, h, e, name, value)
	if err != nil {
		return Planned{}, err
	}
	wait := in.awaitTarget(h, e, t, s.Timeout)
	if started && !e.changed() {
		if h.Server.Replay.Paused {
			return noop("it stands %s, at %s", t, h.Server.LSN), nil
		}
		return Planned{Effects: []effect.Effect{wait}}, nil
	}
	if h.Server.NotReady != "" && !e.changed() { // this run has started it, and died
		return Planned{Effects: []effect.Effect{in.service(h, e, "await"), wait}}, nil
	}
	if err := in.refusePassed(h, t, standsAt, e.version); err != nil {
		return Planned{}, err
	}
	why := "(the recovery target is read at a start)"
	if h.Server.Replay.Paused {
		why = "(the recovery target is read at a start; the pause of replay ends with it)"
	}
	p := in.restarted(h, e, why, fmt.Sprintf("(%s = '%s', %s, recovery_target_action = pause, recovery_min_apply_delay = 0)",
		name, value, "recovery_target_inclusive = "+onOff(t.Inclusive)))
	p.Effects = append(p.Effects, wait)
	return p, nil
}

// without lets it follow again. What it was kept from is replayed once the apply
// delay of it is over, so that has to be known.
func (s *RecoveryTarget) without(ctx context.Context, in In, h *facts.Host, e *recoveryEdit) (Planned, error) {
	running := ""
	if h.Server.Running {
		var err error
		if running, err = in.recoveryTarget(ctx, h); err != nil {
			return Planned{}, err
		}
	}
	if running == "" && effect.TargetIn(e.file, e.version) == "" {
		switch {
		case h.Server.Running && !in.Run.Changed(in.Self.Name):
			if err := s.refuseDelay(ctx, in, h); err != nil {
				return Planned{}, err
			}
			return noop("it has no recovery target"), nil
		case h.Server.Running || !in.Run.Changed(in.Self.Name):
			return noop("it has no recovery target"), nil
		case h.Server.NotReady != "":
			return Planned{Effects: []effect.Effect{in.service(h, e, "await")}}, nil
		}
		return in.restarted(h, e, "", ""), nil // this run has stopped it, and died
	}
	delay := strconv.FormatInt(in.Self.ApplyDelay.Milliseconds(), 10) + "ms"
	switch {
	case s.ApplyDelay != "" && s.ApplyDelay != "inventory":
		delay = s.ApplyDelay
	case in.Self.ApplyDelay == 0:
		return Planned{}, fault.Refuse(in.Self.Name, "undo the run that set the target: pgrepctl runs undo RUN; or name the delay: pgrepctl replay resume "+in.Self.Name+" --follow --apply-delay 4h (0 for none)",
			errors.New("its apply delay is not known: the inventory gives none, and without one it replays at once what it was kept from"))
	}
	for _, name := range append(e.version.RecoveryTargets(), "recovery_target_inclusive", "recovery_target_action") {
		e.file.Unset(name)
	}
	if err := set(e.file, map[string]string{"recovery_min_apply_delay": delay}, "recovery_min_apply_delay"); err != nil {
		return Planned{}, err
	}
	p := in.restarted(h, e, "(the recovery target is read at a start)", "(no recovery target, recovery_min_apply_delay = "+delay+")")
	return p, nil
}

// refuseDelay: a delay that was asked for and is not set must not pass for done. Where
// there is no target to be taken away, the inventory says the delay.
func (s *RecoveryTarget) refuseDelay(ctx context.Context, in In, h *facts.Host) error {
	if s.ApplyDelay == "" || s.ApplyDelay == "inventory" {
		return nil
	}
	want, err := conf.Delay(s.ApplyDelay)
	if err != nil {
		return fmt.Errorf("apply-delay: %w", err)
	}
	has, err := in.applyDelay(ctx, h)
	if err != nil || has == want {
		return err
	}
	return fault.Refuse(in.Self.Name, "change apply_delay of "+in.Self.Name+" in the inventory, then: pgrepctl apply",
		fmt.Errorf("it has no recovery target to be taken away; its apply delay is %s, and stays so", has))
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// recoveryEdit is the file that has the settings of recovery: recovery.conf, and
// from 12 on postgresql.auto.conf, which wins over any other.
type recoveryEdit struct {
	version postgres.Version
	before  host.File
	file    *conf.File
}

func (e *recoveryEdit) changed() bool { return !bytes.Equal(e.before.Data, e.file.Bytes()) }

func (in In) recoveryFile(ctx context.Context, h *facts.Host) (*recoveryEdit, error) {
	v, err := in.versionOf(h)
	if err != nil {
		return nil, err
	}
	name := v.RecoveryFile()
	if v.UsesSignalFiles() {
		name = "postgresql.auto.conf"
	}
	before, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, name))
	if err != nil {
		return nil, err
	}
	return &recoveryEdit{version: v, before: before, file: conf.Parse(before.Data)}, nil
}

// startedWith reports whether the running server was started with the target.
func (in In) startedWith(ctx context.Context, h *facts.Host, e *recoveryEdit, name, value string) (bool, error) {
	if !h.Server.Running {
		return false, nil
	}
	if !e.version.UsesSignalFiles() {
		// The file alone knows. It is only ever written while the server is
		// stopped, so one that runs has read it.
		return !e.changed(), nil
	}
	settings, err := h.Settings(ctx)
	if err != nil {
		return false, err
	}
	return settings[name].Value == value, nil
}

// refuseOtherTarget: two targets are a FATAL at the start (12+), and before that the
// last one wins.
func (in In) refuseOtherTarget(ctx context.Context, h *facts.Host, e *recoveryEdit, t replay.Target) error {
	ours, value := t.Setting()
	for _, name := range e.version.RecoveryTargets() {
		have, ok := e.file.Get(name)
		if ok && have.Value != "" && (name != ours || have.Value != value) {
			return fault.Refuse(in.Self.Name, "to take it away: pgrepctl replay resume "+in.Self.Name+" --follow",
				fmt.Errorf("it has a recovery target already: %s = %s in %s:%d", name, have.Value, e.before.Path, have.Line))
		}
	}
	if !e.version.UsesSignalFiles() {
		return nil
	}
	main := path.Join(in.Self.Postgres.ConfigDirectory, "postgresql.conf")
	tree, _, err := loadTree(ctx, h, in.Self.Postgres.OSUser, main)
	if err != nil {
		return err
	}
	for _, name := range e.version.RecoveryTargets() {
		if have, file, line, ok := tree.Get(name); ok && have != "" && name != ours {
			return fault.Refuse(in.Self.Name, "take the line out, then type the same command again",
				fmt.Errorf("%s = %s in %s:%d is a second recovery target: the server would not start", name, have, file, line))
		}
	}
	return nil
}

// refusePassed: what is replayed cannot be taken back.
func (in In) refusePassed(h *facts.Host, t replay.Target, standsAt postgres.LSN, v postgres.Version) error {
	if len(h.Server.Senders) > 0 {
		return fault.Refuse(in.Self.Name, "let "+h.Server.Senders[0].Application+" stream from another host first",
			fmt.Errorf("%s streams from it, and would stand still with it", h.Server.Senders[0].Application))
	}
	replayed, last := h.Server.LSN, h.Server.Replay.LastReplayAt
	if !h.Server.Running {
		// What the control file says is the least that it has replayed.
		replayed = max(h.Data.Control.MinRecoveryLSN, h.Data.Control.RedoLSN)
		last = nil
	}
	if t.Kind == replay.Name && standsAt == 0 {
		return fault.Refuse(in.Self.Name, "to look for it in the WAL of the standby: pgrepctl replay until "+in.Self.Name+" --name "+strconv.Quote(t.Name),
			errors.New("where the restore point stands is not known: if replay is past it, the standby would replay all that there is"))
	}
	if err := t.Passed(replayed, last, standsAt); err != nil {
		return fault.Refuse(in.Self.Name, replay.PassedHint, err)
	}
	return nil
}

// restarted stops the server, edits the file and starts the server again. As effects
// in this order, so that an undo stops it, puts the file back and starts it.
func (in In) restarted(h *facts.Host, e *recoveryEdit, why, what string) Planned {
	var p Planned
	if h.Server.Running || h.Server.NotReady != "" {
		stop := in.service(h, e, "stop")
		stop.Why = why
		p.Effects = append(p.Effects, stop)
	}
	if e.changed() {
		secret := sensitive(e.before.Data)
		p.Effects = append(p.Effects, &effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: e.before.Path, Before: e.before, Data: e.file.Bytes(), Mode: 0o600,
			Image: in.image(h.Machine.OSUserHome, imageName(e.before.Path)), Why: what, Sensitive: secret})
	}
	start := in.service(h, e, "start")
	start.Why = "(it must come up in recovery, or it is stopped at once)"
	p.Effects = append(p.Effects, start)
	return p
}

func (in In) service(h *facts.Host, e *recoveryEdit, action string) *effect.Service {
	c := Control(in.Self, h)
	c.OwnLog = false // the log is not of this run
	return &effect.Service{Host: in.Self.Name, Action: action, Control: c, Expect: effect.ExpectStandby, Timeout: startTimeout,
		Data: in.Self.Postgres.DataDirectory, DataAs: in.Self.Postgres.OSUser, Signal: e.version.RecoveryFile(), Tells: e.version.StatusInPIDFile()}
}

func (in In) awaitTarget(h *facts.Host, e *recoveryEdit, t replay.Target, timeout time.Duration) *effect.AwaitTarget {
	if timeout == 0 {
		timeout = time.Minute
	}
	c := Control(in.Self, h)
	from, _ := in.Run.Output(effect.LogOffset(in.Self.Name))
	return &effect.AwaitTarget{Host: in.Self.Name, Target: t, Timeout: timeout, Version: e.version, Log: c.Log, LogAs: c.LogAs, LogFrom: from,
		Slot: slotOf(in.Self, e), Upstream: in.Self.UpstreamName}
}

// slotOf is the slot that the standby is set up to use, empty if none.
func slotOf(self *inventory.Host, e *recoveryEdit) string {
	if s, ok := e.file.Get("primary_slot_name"); ok {
		return strings.TrimSpace(s.Value)
	}
	return self.Slot
}
