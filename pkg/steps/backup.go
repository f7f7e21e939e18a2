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
		Init: backupSession(v), Start: v.StartBackup(), Stop: v.StopBackup(),
	}}}, nil
}

// backupSession are the settings of a session that is fit to hold a backup for
// hours: no time-out of the role or database applies; but once the heartbeat
// is missed for long the server itself ends the session, and the backup with
// it (14+), and a busy backend notices a dead client.
func backupSession(v postgres.Version) []string {
	var q []string
	for _, name := range v.TimeoutSettings() {
		q = append(q, "set "+name+" = 0")
	}
	if v.IdleSessionTimeout() {
		q = append(q, "set idle_session_timeout = '150s'", "set client_connection_check_interval = '10s'")
	}
	return q
}

// Close stops it, and yields the backup label.
func (*Backup) Close(_ context.Context, in In) (Planned, error) {
	return Planned{Effects: []effect.Effect{&effect.StopBackup{Host: in.Self.Name}}}, nil
}
