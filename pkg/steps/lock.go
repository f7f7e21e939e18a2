package steps

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

// Lock holds the cluster lock around its body, on the primary unless the plan says
// another host.
type Lock struct{}

var (
	_ Bracket = (*Lock)(nil)
	_ Guard   = (*Lock)(nil)
)

// Guard refuses while another run holds the lock: a plan made of what that one
// has half done would call its slot somebody else's, and say to drop it.
func (*Lock) Guard(ctx context.Context, in In) error {
	name := in.Self.Name
	h, err := in.Facts.Of(ctx, name)
	if err != nil {
		return err
	}
	us := effect.Run{ID: in.Run.ID(), Operator: in.Run.Operator()}.Application()
	if l := h.Server.Lock; l != nil && l.Application != us {
		return effect.Locked(name, l)
	}
	return nil
}

// Open takes the lock where every operator meets.
func (*Lock) Open(_ context.Context, in In) (Planned, error) {
	return Planned{Effects: []effect.Effect{&effect.TakeLock{Host: in.Self.Name}}}, nil
}

// Close frees it.
func (*Lock) Close(_ context.Context, in In) (Planned, error) {
	return Planned{Effects: []effect.Effect{&effect.ReleaseLock{Host: in.Self.Name}}}, nil
}
