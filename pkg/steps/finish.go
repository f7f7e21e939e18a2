package steps

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// BackupLabel writes backup_label, and tablespace_map where there is one, byte
// for byte as the server gave them at the end of the backup.
type BackupLabel struct{}

var _ Step = (*BackupLabel)(nil)

// Plan knows the bytes only after the backup; a preview shows the act alone. Those of an
// exclusive backup are files of the source, which the copy has brought along: only a map
// of tablespaces that move is written anew.
func (*BackupLabel) Plan(ctx context.Context, in In) (Planned, error) {
	done, reason, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	if done {
		return noop("%s", reason), nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	write := func(name, key string) error {
		data, _ := in.Run.Output(key)
		if key == effect.BackupMap {
			if data, err = postgres.MoveTablespaces(data, func(at string) string { return movedTo(in.Self, at) }); err != nil {
				return err
			}
		}
		before, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, name))
		if err != nil {
			return err
		}
		if label, _ := in.Run.Output(effect.BackupLabel); label == "" && uf.Server.Version.ExclusiveBackup() {
			if before.Exists = true; name == "backup_label" || !anyMoves(in.Self, uf) {
				return nil
			}
		} else if before.Exists && string(before.Data) == data {
			return nil
		}
		p.Effects = append(p.Effects, &effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: before.Path, Before: before,
			Data: []byte(data), Mode: 0o600, Own: true, Sensitive: true, Why: "(as the server gave it at the end of the backup)"})
		return nil
	}
	if text, _ := in.Run.Output(effect.BackupMap); text != "" || len(uf.Server.Tablespaces) > 0 && uf.Server.Version.WritesTablespaceMap() {
		if err := write("tablespace_map", effect.BackupMap); err != nil {
			return Planned{}, err
		}
	} else if label, _ := in.Run.Output(effect.BackupLabel); label != "" {
		// No copy brings one, and the server would make links of what it says.
		as := in.Self.Postgres.OSUser
		stale, err := h.File(ctx, as, path.Join(in.Self.Postgres.DataDirectory, "tablespace_map"))
		if err != nil {
			return Planned{}, err
		}
		if stale.Exists {
			p.Effects = append(p.Effects, &effect.RemoveFile{Host: in.Self.Name, As: as, Path: stale.Path, Why: "(of an earlier backup: there is no tablespace now)"})
		}
	}
	if err := write("backup_label", effect.BackupLabel); err != nil {
		return Planned{}, err
	}
	if len(p.Effects) == 0 {
		return noop("backup_label is what the server gave"), nil
	}
	return p, nil
}

func anyMoves(to *inventory.Host, up *facts.Host) bool {
	return slices.ContainsFunc(up.Server.Tablespaces, func(t facts.Tablespace) bool { return movedTo(to, t.Location) != t.Location })
}

// Wait waits until the standby streams.
type Wait struct {
	Streaming bool          `yaml:"streaming"` // until it streams and has replayed what its upstream wrote after its start
	Timeout   time.Duration `yaml:"timeout"`   // for that (10m)
}

var _ Step = (*Wait)(nil)

// Validate is called when a plan file is read.
func (s *Wait) Validate() error {
	if !s.Streaming {
		return fmt.Errorf("say what to wait for: streaming: true")
	}
	return nil
}

// Plan is a noop only for a standby that streamed before the run touched it.
func (s *Wait) Plan(ctx context.Context, in In) (Planned, error) {
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	app := applicationName(in.Self)
	sender, ok := uf.Server.Sender(app)
	if !ok && h.Server.InRecovery && h.Server.Replay.SlotName == in.Self.Slot { // it says so itself: another may use the slot
		sender, ok = uf.Server.SenderOf(app, in.Self.Slot)
	}
	if ok && sender.State == "streaming" && !in.touched() {
		return noop("it streams from %s", up.Name), nil
	}
	if late, err := in.comesOfAge(ctx, h); err != nil {
		return Planned{}, err
	} else if late {
		p := noop("it replays what it has, %s late as it should, and streams from %s after that", in.Self.ApplyDelay, up.Name)
		if in.Run.Changed(in.Self.Name) {
			p.Held = []Held{{What: "whether it streams from " + up.Name + " is not proven: it replays what it has first, " + in.Self.ApplyDelay.String() + " late as it should",
				Hint: "when that is done: pgrepctl standby verify " + in.Self.Name, Note: true}}
		}
		return p, nil
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = 10 * time.Minute
	}
	c := Control(in.Self, h)
	from, _ := in.Run.Output(effect.LogOffset(in.Self.Name))
	return Planned{Effects: []effect.Effect{&effect.AwaitStreaming{Host: in.Self.Name, Upstream: up.Name, Application: app,
		Delayed: in.Self.ApplyDelay > 0, Timeout: timeout, Version: uf.Server.Version, Log: c.Log, LogAs: c.LogAs, LogFrom: from}}}, nil
}

// touched reports whether this run has changed the standby, or made its slot: one that
// had lost that streams within seconds, and what a run does must not depend on when.
func (in In) touched() bool {
	return in.Run.Changed(in.Self.Name) || in.Run.Claimed(slotClaim(in.Self.Slot))
}

// comesOfAge: see facts.Host.ComesOfAge. A standby that this run has made has no delay
// until it streams, and is waited for; one that has its delay already would not stream
// for as long as that. Before 12 a new one has it from the start, so there whatever
// this run changed is waited for.
func (in In) comesOfAge(ctx context.Context, h *facts.Host) (bool, error) {
	if !h.ComesOfAge(in.Self.ApplyDelay) {
		return false, nil
	}
	if !in.Run.Changed(in.Self.Name) {
		return true, nil
	}
	if !h.Server.Version.UsesSignalFiles() {
		return false, nil
	}
	d, err := in.applyDelay(ctx, h)
	return d > 0, err
}

// Verify proves that the standby is what it should be.
type Verify struct{}

var _ Step = (*Verify)(nil)

// Plan is a noop only for a standby that this run did not touch and that the
// facts show to be right.
func (*Verify) Plan(ctx context.Context, in In) (Planned, error) {
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if late, err := in.comesOfAge(ctx, h); err != nil {
		return Planned{}, err
	} else if late && h.Server.SystemID == uf.Server.SystemID {
		return noop("in recovery, of the system of %s, and replays what it has", up.Name), nil
	}
	if h.Server.Replay.Paused {
		return paused(in)
	}
	if !in.touched() && proven(h, uf, in.Self.Slot) {
		return noop("in recovery, of the system and timeline of %s, slot in use, replay not paused", up.Name), nil
	}
	return Planned{Effects: []effect.Effect{&effect.VerifyStandby{Host: in.Self.Name, Upstream: up.Name, Slot: in.Self.Slot, Delayed: in.Self.ApplyDelay > 0, Version: uf.Server.Version}}}, nil
}

// paused: somebody has paused replay, and it is not for a run to fail because of that
// when it changes nothing there. What it changes could not be proven, and the preview
// refuses it.
func paused(in In) (Planned, error) {
	const hint = "when it is no longer wanted: pgrepctl replay resume "
	if in.Run.Changed(in.Self.Name) {
		return Planned{}, fault.Refuse(in.Self.Name, hint+in.Self.Name+"; then type the same command again", errors.New("replay is paused: what is to be changed there could not be proven"))
	}
	p := noop("replay is paused: it is not verified")
	p.Held = []Held{{What: "replay is paused, by somebody else than this run", Hint: hint + in.Self.Name, Note: true}}
	return p, nil
}

func proven(h, up *facts.Host, slot string) bool {
	if slot != "" {
		if s, ok := up.Server.Slot(slot); !ok || !s.Active {
			return false
		}
	}
	return h.Server.InRecovery && h.Server.SystemID == up.Server.SystemID && h.Server.Timeline == up.Server.Timeline && !h.Server.Replay.Paused
}
