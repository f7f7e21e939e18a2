package steps

import (
	"context"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Replayed waits until a standby has replayed the run's schema change.
type Replayed struct {
	Timeout time.Duration `yaml:"timeout"` // (1m)
}

var _ Step = (*Replayed)(nil)

// Plan goes by the position of the change once it is known.
func (s *Replayed) Plan(ctx context.Context, in In) (Planned, error) {
	done, err := in.replayedDDL(ctx)
	if in.leftBehind(err) {
		return s.unreached(in)
	}
	if err != nil {
		return Planned{}, err
	}
	if late, ok := in.Run.Output(effect.DDLLate + in.Self.Name); done && (!ok || late == "") {
		return noop("it has replayed the DDL"), nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	return Planned{Effects: []effect.Effect{&effect.AwaitDDL{Host: in.Self.Name, Version: h.Server.Version, Timeout: orElse(s.Timeout, time.Minute)}}}, nil
}

// unreached waits all the same: the host may be there again, and else it is known to be late.
func (s *Replayed) unreached(in In) (Planned, error) {
	v, err := postgres.ParseVersion(in.Self.Postgres.Version)
	if err != nil {
		return Planned{}, err
	}
	return Planned{Effects: []effect.Effect{&effect.AwaitDDL{Host: in.Self.Name, Version: v, Timeout: orElse(s.Timeout, time.Minute)}}}, nil
}

// replayedDDL reports whether the host is known to have the run's schema change.
func (in In) replayedDDL(ctx context.Context) (bool, error) {
	text, ok := deployed(in.Run)
	if !ok {
		return false, nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return false, err
	}
	lsn, err := postgres.ParseLSN(text)
	if err != nil {
		return false, err
	}
	return h.Server.Running && h.Server.InRecovery && h.Server.LSN >= lsn, nil
}
