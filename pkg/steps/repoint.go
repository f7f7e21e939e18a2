package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Repoint lets a standby stream from another host than before: a slot there, host
// and port in primary_conninfo, and a reload, or a restart before 13. The rule in
// the other host's pg_hba.conf is a step of its own.
type Repoint struct {
	To string `yaml:"to"` // a host's name, or primary
	// From is the host whose slot it needs no longer: standby, or empty.
	From string `yaml:"from"`
	// Prepare makes the slot, and no more.
	Prepare bool          `yaml:"prepare"`
	Timeout time.Duration `yaml:"timeout"` // for it to stream from there (5m); a delayed one is not waited for
}

var _ Step = (*Repoint)(nil)

// Validate is called when a plan file is read.
func (s *Repoint) Validate() error {
	if s.From != "" && s.From != "standby" {
		return fmt.Errorf("from %q: only standby is supported", s.From)
	}
	return nil
}

// moves is what is known of a standby that is re-pointed.
type moves struct {
	to       *inventory.Host
	self, up *facts.Host
	v        postgres.Version
	line     *settingLine
	conninfo string // as it shall be
}

// Plan begins with the slot: from there on the other host keeps what is needed. Then
// a real login from here to there is proven, before anything depends on it.
func (s *Repoint) Plan(ctx context.Context, in In) (Planned, error) {
	m, err := s.look(ctx, in)
	if err != nil {
		return Planned{}, err
	}
	if err := s.refuseCutOff(ctx, in, m); err != nil {
		return Planned{}, err
	}
	if err := m.refusePaused(in); err != nil {
		return Planned{}, err
	}
	var p Planned
	if err := s.slot(ctx, in, m, &p); err != nil {
		return Planned{}, err
	}
	if err := s.prove(ctx, in, m, &p); err != nil {
		return Planned{}, err
	}
	if !s.Prepare {
		if err := s.move(ctx, in, m, &p); err != nil {
			return Planned{}, err
		}
		if err := s.oldSlot(ctx, in, &p); err != nil {
			return Planned{}, err
		}
	}
	if len(p.Effects) == 0 {
		return m.there(in), nil
	}
	return p, nil
}

func (s *Repoint) look(ctx context.Context, in In) (moves, error) {
	var m moves
	var err error
	if m.to, err = hostNamed(in.Cluster, s.To); err != nil {
		return m, err
	}
	if m.self, err = in.self(ctx); err != nil {
		return m, err
	}
	if m.up, err = in.Facts.Of(ctx, m.to.Name); err != nil {
		return m, err
	}
	if m.v, err = postgres.ParseVersion(in.Self.Postgres.Version); err != nil {
		return m, fmt.Errorf("version of %s: %w", in.Self.Name, err)
	}
	if !m.self.Server.Running && !in.Run.Changed(in.Self.Name) {
		return m, fault.Refuse(in.Self.Name, "start it, then type the same command again", errors.New("its server does not run: it cannot be seen to stream from "+m.to.Name))
	}
	if !m.up.Server.Running {
		return m, notRunning(m.up)
	}
	if m.self.Server.Running && !m.self.Server.InRecovery {
		return m, fault.Refuse(in.Self.Name, "correct the inventory", errors.New("it is no standby: it takes writes"))
	}
	settings, err := m.up.Settings(ctx)
	if err != nil {
		return m, err
	}
	if l, ok := settings.Lookup("listen_addresses"); ok && (l.Value == "" || l.Value == "localhost") {
		return m, fault.Refuse(m.to.Name, "set listen_addresses there and restart it, then type the same command again",
			fmt.Errorf("it listens on %q only: no other host can stream from it", l.Value))
	}
	if err := m.refuseOtherSlot(in); err != nil {
		return m, err
	}
	return m, s.target(ctx, in, &m)
}

// setSlot is the slot that a running standby asks its upstream for, and whether that is known.
func (m *moves) setSlot() (name string, known bool) {
	switch {
	case !m.self.Server.Running:
		return "", false
	case m.v.UsesSignalFiles():
		return m.self.Server.Replay.ConfiguredSlot, true
	}
	return m.self.Data.PrimarySlotName, m.self.Data.PrimarySlotUnread == ""
}

// refuseOtherSlot: the slot that is made on the other host is that of the inventory, and the
// standby asks for the one that it is set to. It would find none there, and stay cut off. One that
// is cut off already, by a promotion of this run, is past that.
func (m *moves) refuseOtherSlot(in In) error {
	set, known := m.setSlot()
	if !known || set == "" || set == in.Self.Slot || in.Run.Claimed("promote "+m.to.Name) {
		return nil
	}
	hint := "if that is its slot: say slot: " + set + " for it in the inventory; to set it to the inventory's, while its upstream runs: pgrepctl apply"
	if !m.v.PrimaryConninfoReloads() {
		hint += " --restart=rolling"
	}
	if in.Standby == m.to { // a promotion
		hint += "; to leave it out: --without " + in.Self.Name
	}
	return fault.Refuse(in.Self.Name, hint+"; then type the same command again",
		fmt.Errorf("its primary_slot_name is %s, and the inventory gives it %s: %s would have no slot that it asks for", set, cmp.Or(in.Self.Slot, "none"), m.to.Name))
}

// withoutSlot is said of one that is set to no slot. None is made for it, which nobody would use.
func (m *moves) withoutSlot(in In) (Held, bool) {
	if set, known := m.setSlot(); !known || set != "" || in.Self.Slot == "" {
		return Held{}, false
	}
	return Held{What: "it is set to no slot, and none is made for it on " + m.to.Name + ": WAL is kept for it as long as the settings there say",
		Hint: "to give it slot " + in.Self.Slot + ", when it streams again: pgrepctl apply", Note: true}, true
}

// target finds primary_conninfo, and what it shall be: only host and port differ.
func (s *Repoint) target(ctx context.Context, in In, m *moves) error {
	as := in.Self.Postgres.OSUser
	if m.v.UsesSignalFiles() {
		l, err := openSetting(ctx, in, m.self, "primary_conninfo")
		if err != nil {
			return err
		}
		m.line = l
		if tl, err := openSetting(ctx, in, m.self, "recovery_target_timeline"); err != nil {
			return err
		} else if tl != nil && tl.value != "latest" && tl.value != "" {
			return fault.Refuse(in.Self.Name, "take the line out of "+tl.at, fmt.Errorf("recovery_target_timeline = %s keeps it from following another timeline", tl.value))
		}
	} else {
		f, err := m.self.File(ctx, as, path.Join(in.Self.Postgres.DataDirectory, m.v.RecoveryFile()))
		if err != nil {
			return err
		}
		m.line = lineOf(f, "primary_conninfo")
		if tl := lineOf(f, "recovery_target_timeline"); tl == nil || tl.value != "latest" {
			return fault.Refuse(in.Self.Name, "write recovery_target_timeline = 'latest' into "+f.Path+", restart it, then type the same command again",
				errors.New("it would stay on its timeline (to 11 that is the default)"))
		}
	}
	if m.line == nil || m.line.value == "" {
		return fault.Refuse(in.Self.Name, "", errors.New("it has no primary_conninfo"))
	}
	params, err := postgres.ParseConninfo(m.line.value)
	if err != nil {
		return fault.Refuse(in.Self.Name, "mend "+m.line.at, fmt.Errorf("primary_conninfo: %w", err))
	}
	params = slices.DeleteFunc(params, func(p postgres.Param) bool { return p.Key == "host" || p.Key == "hostaddr" || p.Key == "port" })
	params = append([]postgres.Param{{Key: "host", Value: m.to.Address}, {Key: "port", Value: strconv.Itoa(m.to.Postgres.Port)}}, params...)
	if m.conninfo, err = postgres.Conninfo(params); err != nil {
		return fmt.Errorf("primary_conninfo: %w", err)
	}
	return nil
}

// slot is that of the standby, on the other host. One that is there, and that it
// does not use, is somebody else's, unless it is a late one, which will use it.
func (s *Repoint) slot(ctx context.Context, in In, m moves, p *Planned) error {
	name := in.Self.Slot
	if name == "" {
		return nil
	}
	if held, ok := m.withoutSlot(in); ok {
		p.Held = append(p.Held, held)
		return nil
	}
	claim := "slot " + name + " on " + m.to.Name
	have, ok := m.up.Server.Slot(name)
	if ok && (in.Run.Claimed(claim) || have.Client == applicationName(in.Self) || m.late(in)) && have.Type == "physical" && have.WALStatus != "lost" {
		return nil
	}
	if ok {
		return fault.Refuse(m.to.Name, "if nobody needs it: pgrepctl slot drop "+name+" --on "+m.to.Name+"; then type the same command again",
			fmt.Errorf("slot %s is there already, and %s does not use it", name, in.Self.Name))
	}
	there := in
	there.Self, there.Standby = m.to, in.Self
	made, err := (&Slot{Name: name, Reserve: true}).create(ctx, there, m.up, claim)
	p.Effects = append(p.Effects, made.Effects...)
	return err
}

// prove makes a login, unless the standby's own has proven it. One that is stopped
// half-way through its move has logged in before.
func (s *Repoint) prove(ctx context.Context, in In, m moves, p *Planned) error {
	if _, streams := m.up.Server.Sender(applicationName(in.Self)); streams || m.line.value == m.conninfo || !m.self.Server.Running {
		return nil
	}
	l, err := in.login(ctx, in.Self, m.to)
	if err != nil {
		return err
	}
	p.Effects = append(p.Effects, &effect.ProveLogin{Host: in.Self.Name, Upstream: m.to.Name, SystemID: m.up.Server.SystemID, Login: l})
	return nil
}

// move lets the standby read where it streams from now. Undone, it takes effect
// at once too: the slot is dropped next, and must not be in use.
func (s *Repoint) move(ctx context.Context, in In, m moves, p *Planned) error {
	if done, err := m.moved(ctx, in); err != nil || done {
		return err
	}
	written := m.line.value == m.conninfo
	server := Server{}
	reloads := m.v.PrimaryConninfoReloads()
	if !written {
		data, err := m.line.set(m.conninfo)
		if err != nil {
			return fmt.Errorf("primary_conninfo: %w", err)
		}
		e := &effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: m.line.before.Path, Before: m.line.before, Data: data, Mode: 0o600,
			Image: in.image(m.self.Machine.OSUserHome, imageName(m.line.before.Path)), Why: "(primary_conninfo names " + m.to.Name + ")",
			Sensitive: sensitive(data, m.line.before.Data), ReloadBack: reloads}
		if m.self.Server.Running && !reloads {
			p.Effects = append(p.Effects, server.service(in, m.self, "stop", ""))
		}
		p.Effects = append(p.Effects, e)
	}
	switch {
	case reloads && m.self.Server.Running:
		p.Settles = append(p.Settles, Settle{Host: in.Self.Name, Why: "primary_conninfo"})
		p.Effects = append(p.Effects, &effect.Reload{Host: in.Self.Name, Why: "(for primary_conninfo)"})
	case !m.self.Server.Running || !written:
		e := server.service(in, m.self, "start", effect.ExpectStandby)
		e.Why = "(it must come up in recovery, or it is stopped at once)"
		ofStandby(e, in.Self, m.v)
		then, err := m.started(ctx, in)
		if err != nil {
			return err
		}
		e.Then = then
		p.Effects = append(p.Effects, e)
	}
	if in.Self.ApplyDelay > 0 {
		p.Held = append(p.Held, m.unproven(in))
		return nil
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = rejoinTimeout
	}
	c := Control(in.Self, m.self)
	p.Effects = append(p.Effects, &effect.AwaitStreaming{Host: in.Self.Name, Upstream: m.to.Name, Application: applicationName(in.Self), Log: c.Log, LogAs: c.LogAs,
		Timeout: timeout, Version: m.up.Server.Version})
	return nil
}

// started is what is known of the server when it runs again: what it was before, for
// nothing but its upstream has changed.
func (m moves) started(ctx context.Context, in In) (func(*facts.Host), error) {
	if m.self.Server.Running {
		was := m.self.Server
		return func(h *facts.Host) { h.Server = was }, nil
	}
	return predictStandby(ctx, in, m.self, m.up)
}

// oldSlot is that on the host that it streamed from, if that one can be asked.
func (s *Repoint) oldSlot(ctx context.Context, in In, p *Planned) error {
	if s.From == "" || in.Self.Slot == "" {
		return nil
	}
	h, err := in.Facts.Of(ctx, in.Standby.Name)
	if err != nil || !h.Server.Running {
		return err
	}
	have, ok := h.Server.Slot(in.Self.Slot)
	if !ok {
		return nil
	}
	there := in
	there.Self = in.Standby
	gone, err := (&Slot{Name: in.Self.Slot, State: "absent", Of: in.Self.Name, Terminate: true}).absent(ctx, there)
	if err != nil {
		return fmt.Errorf("slot %s on %s: %w", have.Name, in.Standby.Name, err)
	}
	p.Effects = append(p.Effects, gone.Effects...)
	return nil
}
