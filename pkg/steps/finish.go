package steps

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// BackupLabel writes backup_label, and tablespace_map where there is one, byte
// for byte as the server gave them at the end of the backup.
type BackupLabel struct{}

var _ Step = (*BackupLabel)(nil)

// Plan knows the bytes only after the backup; a preview shows the act alone.
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
		if before.Exists && string(before.Data) == data {
			return nil
		}
		p.Effects = append(p.Effects, &effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: before.Path, Before: before,
			Data: []byte(data), Mode: 0o600, Own: true, Sensitive: true, Why: "(as the server gave it at the end of the backup)"})
		return nil
	}
	if text, _ := in.Run.Output(effect.BackupMap); text != "" || len(uf.Server.Tablespaces) > 0 {
		if err := write("tablespace_map", effect.BackupMap); err != nil {
			return Planned{}, err
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

// Wait waits until the standby streams.
type Wait struct {
	Streaming bool          `yaml:"streaming"`
	Timeout   time.Duration `yaml:"timeout"`
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
	if sender, ok := uf.Server.Sender(app); ok && sender.State == "streaming" && !in.Run.Changed(in.Self.Name) {
		return noop("it streams from %s", up.Name), nil
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
	if !in.Run.Changed(in.Self.Name) && proven(h, uf, in.Self.Slot) {
		return noop("in recovery, of the system and timeline of %s, slot in use, replay not paused", up.Name), nil
	}
	return Planned{Effects: []effect.Effect{&effect.VerifyStandby{Host: in.Self.Name, Upstream: up.Name, Slot: in.Self.Slot, Delayed: in.Self.ApplyDelay > 0, Version: uf.Server.Version}}}, nil
}

func proven(h, up *facts.Host, slot string) bool {
	if slot != "" {
		if s, ok := up.Server.Slot(slot); !ok || !s.Active {
			return false
		}
	}
	return h.Server.InRecovery && h.Server.SystemID == up.Server.SystemID && h.Server.Timeline == up.Server.Timeline && !h.Server.Replay.Paused
}
