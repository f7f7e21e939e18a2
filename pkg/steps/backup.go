package steps

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Backup holds a non-exclusive base backup open around its body.
type Backup struct {
	Label      string `yaml:"label"`
	Checkpoint string `yaml:"checkpoint"` // fast (default) or spread
}

var _ Bracket = (*Backup)(nil)

// Validate is called when a plan file is read.
func (s *Backup) Validate() error {
	if s.Checkpoint != "" && s.Checkpoint != "fast" && s.Checkpoint != "spread" {
		return fmt.Errorf("checkpoint %q: want fast or spread", s.Checkpoint)
	}
	return postgres.ValidBackupLabel(s.Label)
}

// Open starts it on a session that is held until the end.
func (s *Backup) Open(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	v := h.Server.Version
	if v.ExclusiveBackup() {
		return Planned{}, fault.Refuse(in.Self.Name, "", fmt.Errorf("PostgreSQL %s has only exclusive backups, which are not supported yet", v.Major()))
	}
	return Planned{Effects: []effect.Effect{&effect.StartBackup{
		Host: in.Self.Name, Label: s.Label, Fast: s.Checkpoint != "spread",
		Start: v.StartBackup(), Stop: v.StopBackup(),
	}}}, nil
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
	return Planned{Effects: []effect.Effect{&effect.StopBackup{Host: in.Self.Name, Copied: copied, Waits: h.Server.Version.StopBackupWaitsForArchive()}}}, nil
}

// copiedTablespaces are the locations that were copied under the backup of this
// host that is about to end; nil when nothing was, as in a preview.
func (in In) copiedTablespaces(ctx context.Context) ([]string, error) {
	if in.Standby == nil || in.Cluster.Upstream(in.Standby) != in.Self {
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
