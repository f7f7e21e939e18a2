package steps

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// What a standby is left as that is taken out of its cluster.
const (
	stopped  = "stopped"
	separate = "separate" // a server of its own, promoted
)

func leftAs(as string) error {
	if as != stopped && as != separate {
		return fmt.Errorf("as %q: want %s or %s", as, stopped, separate)
	}
	return nil
}

// Leave ends a standby: its server is stopped, or promoted to one of its own.
type Leave struct {
	As      string        `yaml:"as"`      // stopped, or separate: promoted, a server of its own
	Timeout time.Duration `yaml:"timeout"` // for the server to stop, or to be promoted
}

var _ Step = (*Leave)(nil)

// Validate is called when a plan file is read.
func (s *Leave) Validate() error { return leftAs(s.As) }

// Plan stops it in such a way that an undo brings it back streaming.
func (s *Leave) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	v, err := postgres.ParseVersion(in.Self.Postgres.Version)
	if err != nil {
		return Planned{}, fmt.Errorf("version of %s: %w", in.Self.Name, err)
	}
	switch {
	case s.As == separate && h.Server.Running && !h.Server.InRecovery:
		return noop("it is a server of its own, on timeline %d", h.Server.Timeline), nil
	case s.As == separate:
		return s.promote(ctx, in, h)
	case !h.Server.Running && h.Data.PID == 0:
		return noop("its server does not run"), nil
	}
	if uf.Server.Running {
		v = uf.Server.Version
	}
	server := Server{Timeout: s.Timeout}
	e := server.service(in, h, "stop", "")
	e.Why = "(cleanly; its data stay)"
	e.Data, e.DataAs, e.Signal, e.Tells = in.Self.Postgres.DataDirectory, in.Self.Postgres.OSUser, v.RecoveryFile(), v.StatusInPIDFile()
	if h.Server.InRecovery && uf.Server.Running {
		late, err := in.applyDelay(ctx, h)
		if err != nil {
			return Planned{}, err
		}
		if max(late, in.Self.ApplyDelay) > 0 {
			// It asks for nothing until it has replayed what it has, each transaction at its time.
			e.Expect = effect.ExpectStandby
			return Planned{Effects: []effect.Effect{e}}, nil
		}
		e.Rejoin = &effect.Rejoin{Upstream: up.Name, Application: applicationName(in.Self), Version: v, Timeout: rejoinTimeout}
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// rejoinTimeout is how long a standby that comes back may make no progress.
const rejoinTimeout = 5 * time.Minute

// promote makes a twin of the cluster, so whatever the twin could spoil is looked
// at: the archive that both would write to.
func (s *Leave) promote(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	if err := in.refuseArchiving(h); err != nil {
		return Planned{}, err
	}
	if h.Server.Replay.Paused {
		target, err := in.recoveryTarget(ctx, h)
		if err != nil {
			return Planned{}, err
		}
		if target != "" {
			return Planned{}, effect.AtTarget(in.Self.Name, target)
		}
	}
	return promotion(in, h,
		"(as a server of its own: it takes writes, under the system identifier of the cluster; clients are not kept away from it)",
		in.Self.Name+" takes writes of its own, and can never follow "+in.Standby.UpstreamName+" again")
}

// promotion is the act, with what is to be said of it.
func promotion(in In, h *facts.Host, why, noReturn string) (Planned, error) {
	if !h.Server.Running {
		return Planned{}, fault.Refuse(in.Self.Name, "start it, then type the same command again", errors.New("its server does not run: it cannot be promoted"))
	}
	if h.Server.Replay.Paused { // by this command, which looks for a recovery target: to resume replay there ends recovery
		return Planned{}, fault.Refuse(in.Self.Name, "pgrepctl replay resume "+in.Self.Name+"; then type the same command again",
			errors.New("replay is paused: a promotion would wait (to 12) or replay what somebody wanted to hold back (13 and later)"))
	}
	e := &effect.Promote{Host: in.Self.Name, Version: h.Server.Version, Timeline: h.Server.Timeline, Timeout: promoteTimeout, Why: why, NoReturn: noReturn}
	if !h.Server.Version.PromoteFunction() {
		e.Command = effect.Command{As: in.Self.Postgres.OSUser, Argv: []string{path.Join(h.Machine.BinDirectory, "pg_ctl"), "promote", "-W", "-D", in.Self.Postgres.DataDirectory}}
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// promoteTimeout is how long a standby may replay what it has received before it
// opens.
const promoteTimeout = 10 * time.Minute
