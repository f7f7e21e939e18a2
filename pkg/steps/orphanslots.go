package steps

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// OrphanSlots drops the physical slots of a host that no host of the inventory
// has and nobody uses now, or only tells of them: each keeps WAL until the disk is
// full, but somebody may come back to one whom the inventory does not know.
type OrphanSlots struct {
	State string `yaml:"state"` // absent, reported
}

var _ Step = (*OrphanSlots)(nil)

// Validate is called when a plan file is read.
func (s *OrphanSlots) Validate() error {
	if s.State != "absent" && s.State != "reported" {
		return fmt.Errorf("state %q: want absent or reported", s.State)
	}
	return nil
}

// Plan leaves alone what is in use, logical or temporary.
func (s *OrphanSlots) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !h.Server.Running {
		return noop("no server runs on %s: it sends nothing", in.Self.Name), nil
	}
	var p Planned
	for _, have := range h.Server.Slots {
		if have.Active {
			continue
		}
		owner := in.ownerOf(ctx, have)
		if owner.Use != slot.Orphan {
			continue
		}
		if s.State == "reported" {
			p.Held = append(p.Held, reported(in, have))
			continue
		}
		dropped, err := (&Slot{Name: have.Name}).drop(in, h.Server.Version, have, owner)
		if err != nil {
			return Planned{}, err
		}
		p.Effects = append(p.Effects, dropped.Effects...)
	}
	switch {
	case len(p.Held) > 0:
		p.Noop = "nothing is dropped without being asked for"
	case len(p.Effects) == 0:
		return noop("%s has no slot that nobody uses", in.Self.Name), nil
	}
	return p, nil
}

// reported tells of an orphan, with the command that drops it.
func reported(in In, have facts.Slot) Held {
	keeps := ""
	if have.RetainedBytes != nil {
		keeps = ", and keeps " + postgres.PrettyBytes(*have.RetainedBytes) + " of WAL"
	}
	return Held{What: "slot " + have.Name + " is used by nobody, and by no host of the inventory" + keeps,
		Hint: "if nobody needs it: pgrepctl slot drop " + have.Name + " --on " + in.Self.Name + "; or apply with --prune", Note: true}
}
