package steps

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Backup holds a base backup open around its body: a non-exclusive one, but of 9.4 and
// 9.5, which have no other than the exclusive one.
type Backup struct {
	Label      string `yaml:"label"`      // of the backup, in the server's log and backup_label
	Checkpoint string `yaml:"checkpoint"` // fast (default) or spread
	// Slot is the standby's. If it is not there yet a temporary one of the backup's
	// session keeps the WAL until a slot step inside (held) has made it.
	Slot string `yaml:"slot"`
}

var _ Bracket = (*Backup)(nil)

// Validate is called when a plan file is read.
func (s *Backup) Validate() error {
	if s.Checkpoint != "" && s.Checkpoint != "fast" && s.Checkpoint != "spread" {
		return fmt.Errorf("checkpoint %q: want fast or spread", s.Checkpoint)
	}
	return postgres.ValidBackupLabel(s.Label)
}

// HoldsOwn: its session has a connection of its own.
func (*Backup) HoldsOwn() bool { return true }

// Open starts it on a session that is held until the end.
func (s *Backup) Open(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	v := h.Server.BackupVersion()
	if v.ExclusiveBackup() {
		return s.openExclusive(in, h)
	}
	start := &effect.StartBackup{
		Host: in.Self.Name, Label: s.Label, Fast: s.Checkpoint != "spread",
		Start: v.StartBackup(), Stop: v.StopBackup(),
	}
	if s.Slot != "" && in.holds(h) {
		return Planned{Effects: []effect.Effect{&effect.HoldSlot{Host: in.Self.Name, Version: v}, start}}, nil
	}
	if !in.fromElsewhere() || !h.Server.InRecovery {
		return Planned{Effects: []effect.Effect{start}}, nil
	}
	await := &effect.AwaitReplayed{Host: in.Self.Name, Of: in.Standby.UpstreamName, Timeout: rejoinTimeout, Version: v}
	return Planned{Effects: []effect.Effect{await, start}}, nil
}

// Close stops it, and yields the backup label.
func (*Backup) Close(ctx context.Context, in In) (Planned, error) {
	copied, err := in.copiedTablespaces(ctx)
	if err != nil {
		return Planned{}, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if h.Server.BackupVersion().ExclusiveBackup() {
		return Planned{Effects: []effect.Effect{&effect.StopExclusive{Host: in.Self.Name, Copied: copied}}}, nil
	}
	return Planned{Effects: []effect.Effect{&effect.StopBackup{Host: in.Self.Name, Copied: copied, Waits: h.Server.Version.StopBackupWaitsForArchive()}}}, nil
}

// openExclusive arms what ends the backup when this machine cannot, and begins it. The
// label is of this attempt alone: a switch that is late, of one that was broken off,
// must not end the next.
func (s *Backup) openExclusive(in In, h *facts.Host) (Planned, error) {
	v, as := h.Server.BackupVersion(), in.Self.Postgres.OSUser
	if h.Server.InRecovery {
		return Planned{}, fault.Refuse(in.Self.Name, "let the standby stream from the primary", fmt.Errorf("PostgreSQL %s cannot make a backup of a standby", v.Major()))
	}
	key, err := in.Run.CopyKey(0)
	if err != nil {
		return Planned{}, err
	}
	label := s.Label + ":" + in.Run.ID() + ":" + digest(key.Public)
	return Planned{Effects: []effect.Effect{
		&effect.BackupSwitch{Host: in.Self.Name, As: as, Label: label, Bin: h.Machine.BinDirectory},
		&effect.StartExclusive{Host: in.Self.Name, Label: label, Fast: s.Checkpoint != "spread", As: as, Dir: h.Server.DataDirectory, Major: v.Major(), Start: v.StartBackup()},
	}}, nil
}

// copiedTablespaces are the locations that were copied under the backup of this
// host that is about to end; nil when nothing was, as in a preview.
func (in In) copiedTablespaces(ctx context.Context) ([]string, error) {
	if in.Standby == nil {
		return nil, nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return nil, err
	}
	start, _ := in.Run.Output(effect.BackupStartLSN)
	copied := func(source string) bool {
		under, ok := in.Run.Output(effect.CopiedUnder(in.Self.Name, source))
		return ok && under == start
	}
	if !copied(h.Server.DataDirectory) {
		return nil, nil
	}
	out := []string{}
	for _, ts := range h.Server.Tablespaces {
		if copied(ts.Location) {
			out = append(out, ts.Location)
		}
	}
	return out, nil
}
