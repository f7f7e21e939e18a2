package steps

import (
	"context"
	"errors"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ScratchDatabase keeps a database around its body that has the schema of another one,
// and no rows.
type ScratchDatabase struct {
	Of string `yaml:"of"` // the database whose schema it gets
}

var _ Bracket = (*ScratchDatabase)(nil)

// Validate is called when a plan file is read.
func (s *ScratchDatabase) Validate() error {
	if s.Of == "" {
		return errors.New("of: want the name of a database")
	}
	return nil
}

// Open makes it. The inverse of the first effect, at the end of the bracket, drops it.
func (s *ScratchDatabase) Open(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	name := in.Self.Name
	switch {
	case !h.Server.Running:
		return Planned{}, effect.NoServer(name, host.ErrNoServer)
	case h.Server.InRecovery:
		return Planned{}, fault.Refuse(name, "name the primary", errors.New("a standby takes no database"))
	}
	for _, tool := range []string{"pg_dump", "psql"} {
		if h.Machine.Tools[tool] == "" {
			return Planned{}, fault.Refuse(name, "install PostgreSQL's client programs there, or check without --probe", errors.New("it has no "+tool))
		}
	}
	scratch := postgres.ScratchName(in.Run.ID())
	return Planned{Effects: []effect.Effect{
		&effect.CreateScratch{Host: name, Name: scratch, Like: s.Of},
		&effect.CopySchema{Host: name, As: in.Self.Postgres.OSUser, From: s.Of, To: scratch, Version: h.Server.Version,
			PGDump: h.Machine.Tools["pg_dump"], PSQL: h.Machine.Tools["psql"]},
	}}, nil
}

// Close has nothing to add.
func (*ScratchDatabase) Close(context.Context, In) (Planned, error) { return Planned{}, nil }
