package steps

import (
	"context"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Deployed proves that all standbys have the run's schema change.
type Deployed struct {
	Database string        `yaml:"database"` // that the statements were for
	Timeout  time.Duration `yaml:"timeout"`  // for all standbys to have replayed them (1m)
	// Not are standbys that replay late on purpose, or are not there.
	Not hostList `yaml:"not"`
}

var _ Step = (*Deployed)(nil)

// Plan is a noop once it is proven.
func (s *Deployed) Plan(ctx context.Context, in In) (Planned, error) {
	if _, ok := in.Run.Output(effect.DDLProven); ok {
		return noop("it is proven"), nil
	}
	not, err := s.Not.of(in.Cluster)
	if err != nil {
		return Planned{}, err
	}
	e := &effect.ProveDDL{Host: in.Self.Name, Database: s.Database, Timeout: orElse(s.Timeout, time.Minute), Reads: len(in.Cluster.Traffic.Balancers) > 0}
	for _, x := range in.Cluster.Standbys() {
		if slices.Contains(not, x) {
			continue
		}
		h, err := in.Facts.Of(ctx, x.Name)
		v := postgres.Version(0)
		switch {
		case in.leftBehind(err): // the proof says so
			v, err = postgres.ParseVersion(x.Postgres.Version)
		case err == nil:
			v = h.Server.Version
		}
		if err != nil {
			return Planned{}, err
		}
		e.Standbys = append(e.Standbys, effect.Replaying{Host: x.Name, Version: v})
	}
	if len(e.Standbys) == 0 {
		return noop("no standby to prove it on"), nil
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}
