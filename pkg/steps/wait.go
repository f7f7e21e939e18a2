package steps

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// Wait waits until the standby streams.
type Wait struct {
	Streaming bool          `yaml:"streaming"` // until it streams and has replayed what its upstream wrote after its start
	Timeout   time.Duration `yaml:"timeout"`   // for that (10m)
}

var _ Step = (*Wait)(nil)

// Validate is called when a plan file is read.
func (s *Wait) Validate() error {
	if !s.Streaming {
		return fmt.Errorf("say what to wait for: streaming: true")
	}
	return nil
}

// Plan is a noop only for a standby that streamed before the run touched it.
func (s *Wait) Plan(ctx context.Context, in In) (Planned, error) {
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	app := applicationName(in.Self)
	sender, ok := uf.Server.Sender(app)
	if !ok && h.Server.InRecovery && h.Server.Replay.SlotName == in.Self.Slot { // it says so itself: another may use the slot
		sender, ok = uf.Server.SenderOf(app, in.Self.Slot)
	}
	if ok && sender.State == "streaming" && !in.touched() {
		return noop("it streams from %s", up.Name), nil
	}
	if late, err := in.comesOfAge(ctx, h); err != nil {
		return Planned{}, err
	} else if late {
		p := noop("it replays what it has, %s late as it should, and streams from %s after that", in.Self.ApplyDelay, up.Name)
		if in.Run.Changed(in.Self.Name) {
			p.Held = []Held{{What: "whether it streams from " + up.Name + " is not proven: it replays what it has first, " + in.Self.ApplyDelay.String() + " late as it should",
				Hint: "when that is done: pgrepctl standby verify " + in.Self.Name, Note: true}}
		}
		return p, nil
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = 10 * time.Minute
	}
	c := Control(in.Self, h)
	from, _ := in.Run.Output(effect.LogOffset(in.Self.Name))
	return Planned{Effects: []effect.Effect{&effect.AwaitStreaming{Host: in.Self.Name, Upstream: up.Name, Application: app,
		Delayed: in.Self.ApplyDelay > 0, Timeout: timeout, Version: uf.Server.Version, Log: c.Log, LogAs: c.LogAs, LogFrom: from}}}, nil
}

// touched reports whether this run has changed the standby, or made its slot: one that
// had lost that streams within seconds, and what a run does must not depend on when.
func (in In) touched() bool {
	return in.Run.Changed(in.Self.Name) || in.Run.Claimed(slotClaim(in.Self.Slot))
}

// comesOfAge: see facts.Host.ComesOfAge. A standby that this run has made has no delay
// until it streams, and is waited for; one that has its delay already would not stream
// for as long as that. Before 12 a new one has it from the start, so there whatever
// this run changed is waited for.
func (in In) comesOfAge(ctx context.Context, h *facts.Host) (bool, error) {
	if !h.ComesOfAge(in.Self.ApplyDelay) {
		return false, nil
	}
	if !in.Run.Changed(in.Self.Name) {
		return true, nil
	}
	if !h.Server.Version.UsesSignalFiles() {
		return false, nil
	}
	d, err := in.applyDelay(ctx, h)
	return d > 0, err
}
