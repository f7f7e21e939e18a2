package steps

import (
	"context"
	"errors"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

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
	if late, err := in.comesOfAge(ctx, h); err != nil {
		return Planned{}, err
	} else if late && h.Server.SystemID == uf.Server.SystemID {
		return noop("in recovery, of the system of %s, and replays what it has", up.Name), nil
	}
	if h.Server.Replay.Paused {
		return paused(in)
	}
	if !in.touched() && proven(h, uf, in.Self.Slot) {
		return noop("in recovery, of the system and timeline of %s, slot in use, replay not paused", up.Name), nil
	}
	return Planned{Effects: []effect.Effect{&effect.VerifyStandby{Host: in.Self.Name, Upstream: up.Name, Slot: in.Self.Slot, Delayed: in.Self.ApplyDelay > 0, Version: uf.Server.Version}}}, nil
}

// paused: somebody has paused replay, and it is not for a run to fail because of that
// when it changes nothing there. What it changes could not be proven, and the preview
// refuses it.
func paused(in In) (Planned, error) {
	const hint = "when it is no longer wanted: pgrepctl replay resume "
	if in.Run.Changed(in.Self.Name) {
		return Planned{}, fault.Refuse(in.Self.Name, hint+in.Self.Name+"; then type the same command again", errors.New("replay is paused: what is to be changed there could not be proven"))
	}
	p := noop("replay is paused: it is not verified")
	p.Held = []Held{{What: "replay is paused, by somebody else than this run", Hint: hint + in.Self.Name, Note: true}}
	return p, nil
}

func proven(h, up *facts.Host, slot string) bool {
	if slot != "" {
		if s, ok := up.Server.Slot(slot); !ok || !s.Active {
			return false
		}
	}
	return h.Server.InRecovery && h.Server.SystemID == up.Server.SystemID && h.Server.Timeline == up.Server.Timeline && !h.Server.Replay.Paused
}
