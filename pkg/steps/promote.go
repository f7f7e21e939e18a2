package steps

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Promote makes the standby the primary.
type Promote struct {
	// After names the host whose last word is waited for: primary, or nothing.
	After string `yaml:"after"`
}

var _ Step = (*Promote)(nil)

// Fresh: a primary that was gone may be back by now.
func (s *Promote) Fresh(c *inventory.Cluster) []string {
	if s.After == "nothing" {
		return []string{c.Primary().Name}
	}
	return nil
}

// Validate is called when a plan file is read.
func (s *Promote) Validate() error {
	if s.After != "primary" && s.After != "nothing" {
		return fmt.Errorf("after %q: want primary or nothing", s.After)
	}
	return nil
}

// Plan waits for what the old primary wrote last, if it can be known.
func (s *Promote) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if h.Server.Running && !h.Server.InRecovery {
		return noop("it is the primary, on timeline %d", h.Server.Timeline), nil
	}
	if s.After == "nothing" {
		if err := refuseAlive(ctx, in); err != nil {
			return Planned{}, err
		}
	}
	old := in.Cluster.Primary()
	fence := old.Name + " is stopped, and can only start read-only"
	if s.After == "nothing" {
		fence = old.Name + " IS NOT FENCED: see to it that it cannot come back, or there are two primaries"
	}
	p, err := promotion(in, h, "(to the primary of the cluster; "+fence+")", "from its first write on there is no way back: "+old.Name+" does not have what "+in.Self.Name+" writes")
	if err != nil || s.After == "nothing" {
		return p, err
	}
	wait := &effect.AwaitLastWAL{Host: in.Self.Name, Primary: old.Name, PrimaryAs: old.Postgres.OSUser, Data: old.Postgres.DataDirectory,
		Version: h.Server.Version, Timeout: promoteTimeout}
	p.Effects = append([]effect.Effect{wait}, p.Effects...)
	return p, nil
}
