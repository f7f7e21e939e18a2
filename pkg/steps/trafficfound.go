package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// foundTraffic is the state that lets reads in where this run keeps them away, and
// nowhere else: what somebody has drained before is his.
const foundTraffic = "found"

// Stopping is a step that may stop a server, and cut the sessions of its readers: one
// of two.
type Stopping struct {
	Restart Restart `yaml:"restart"`
	Server  Server  `yaml:"server"`
}

// given reports whether there is one at all.
func (s *Stopping) given() bool { return *s != (Stopping{}) }

func (s *Stopping) validate() error {
	switch {
	case s.Restart != (Restart{}) && s.Server != (Server{}):
		return errors.New("before: want one of restart and server, as they stand in the step that follows")
	case s.Restart != (Restart{}):
		return s.Restart.Validate()
	}
	return s.Server.Validate()
}

// stops plans that step. It is planned again when its turn comes, from the facts of
// then.
func (s *Stopping) stops(ctx context.Context, in In) (bool, error) {
	var next Step = &s.Server
	if s.Restart != (Restart{}) {
		next = &s.Restart
	}
	p, err := next.Plan(ctx, in)
	for _, e := range p.Effects {
		if _, ok := e.(*effect.Service); ok {
			return true, err
		}
	}
	return false, err
}

// ownOnly: reads come in where this run keeps them away, and nowhere else. So does a
// rollout: a standby that somebody else has drained meanwhile stays so.
func (s *Traffic) ownOnly() bool { return s.State == foundTraffic || s.DDL }

// lets says whether reads that a drain like this one keeps away may come in.
func (s *Traffic) lets(in In, e interface{ KeptAway() string }) bool {
	return !s.ownOnly() || in.Run.Claimed(e.KeptAway())
}

// takenOver says what somebody else has made of a server that this run has drained. Nobody has
// where HAProxy, reloaded, has forgotten the drain, and something else keeps reads away.
func takenOver(b *inventory.Balancer, now facts.Balanced) string {
	if now.Admin == "ready" {
		return ""
	}
	return fmt.Sprintf("%s/%s is in %s at %s", now.Backend, now.Name, now.Admin, b.Name)
}

// otherName is what a standby is called in the inventory, where a balancer calls it otherwise.
func otherName(h *inventory.Host, now facts.Balanced) string {
	if h.Name == now.Name {
		return ""
	}
	return h.Name
}

// served is what is told to a balancer of a standby, before it is asked for more.
func served(b *inventory.Balancer, h *inventory.Host) *effect.Balance {
	backend, name := b.Server(h)
	return &effect.Balance{Host: b.Name, Backend: backend, Server: name}
}
