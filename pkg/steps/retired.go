package steps

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

// Retired proves that nothing of the standby is left on a server that could have
// sent WAL to it.
type Retired struct{}

var _ Step = (*Retired)(nil)

// Plan is a noop where the facts show it and this run has changed nothing.
func (*Retired) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !h.Server.Running {
		return noop("its server does not run"), nil // the slot step has looked at its files
	}
	app := applicationName(in.Standby)
	_, slot := h.Server.Slot(in.Standby.Slot)
	_, sender := h.Server.Sender(app)
	if !slot && !sender && !in.Run.Changed(in.Self.Name) {
		return noop("it has no slot and no walsender of %s", app), nil
	}
	return Planned{Effects: []effect.Effect{&effect.ProveRetired{Host: in.Self.Name, Standby: app, Slot: in.Standby.Slot}}}, nil
}
