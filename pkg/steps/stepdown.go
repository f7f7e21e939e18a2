package steps

import (
	"context"
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// StepDown stops the old primary, so that the standby gets all that it wrote, and
// fences it: whoever starts it again gets a server that is read-only.
type StepDown struct{}

// StepDownKind is its name, in plans and journals.
const StepDownKind = "step-down"

var _ Step = (*StepDown)(nil)

// Fresh: the lock of this run is on the standby. Who began on the primary after this run had looked
// there would be cut off by the stop.
func (s *StepDown) Fresh(c *inventory.Cluster) []string { return []string{c.Primary().Name} }

// Plan is a noop for a primary that is stopped and fenced.
func (s *StepDown) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		if in.Standby != nil && takesWrites(ctx, in, in.Standby.Name) {
			return noop("%s is the primary: what is left of the run does not need this host, which cannot be read", in.Standby.Name), nil
		}
		return Planned{}, err
	}
	if h.Server.Running && h.Server.InRecovery {
		return noop("it is in recovery"), nil
	}
	if l := h.Server.Lock; l != nil && !h.Server.Holds(in.Run.ID()) {
		return Planned{}, effect.Locked(in.Self.Name, l)
	}
	if err := unfinished(in, h); err != nil {
		return Planned{}, err
	}
	if !h.Server.Running && h.Data.PID != 0 {
		return Planned{}, notRunning(h)
	}
	v, err := postgres.ParseVersion(in.Self.Postgres.Version)
	if err != nil {
		return Planned{}, fmt.Errorf("version of %s: %w", in.Self.Name, err)
	}
	if !h.Server.Running && !h.Data.Control.State.Clean() {
		return Planned{}, fault.Refuse(in.Self.Name, "start it, so that it can be stopped in order; or, if that is not possible: --primary-gone, which gives up what only it has",
			fmt.Errorf("its server was not shut down cleanly (it is %q): it may have commits that no standby has", h.Data.Control.State))
	}
	var p Planned
	if h.Server.Running {
		server := Server{}
		e := server.service(in, h, "stop", "")
		e.Why = "(cleanly: it sends all that it has written first; from here until the promotion nobody can write)"
		p.Effects = append(p.Effects, e)
	}
	signal, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, v.RecoveryFile()))
	if err != nil {
		return Planned{}, err
	}
	if !signal.Exists {
		f := &effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: signal.Path, Before: signal, Mode: 0o600,
			Why: "(the fence: it can only start read-only)", Then: func(h *facts.Host) { h.Data.Standby = true }}
		if !v.UsesSignalFiles() {
			f.Data = []byte("standby_mode = 'on'\nrecovery_target_timeline = 'latest'\n")
		}
		p.Effects = append(p.Effects, f)
	}
	if len(p.Effects) == 0 {
		return noop("it is stopped, and %s is there", v.RecoveryFile()), nil
	}
	return p, nil
}
