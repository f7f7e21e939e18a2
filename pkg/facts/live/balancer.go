package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/traffic"
)

// Balancer reads what one balancer does with the standbys of a cluster.
type Balancer struct {
	h   host.Host
	b   *inventory.Balancer
	inv *inventory.Cluster

	mu      sync.Mutex
	console host.SQL
}

// NewBalancer returns a reader of the balancer b on the host h.
func NewBalancer(h host.Host, b *inventory.Balancer, inv *inventory.Cluster) *Balancer {
	return &Balancer{h: h, b: b, inv: inv}
}

var errNoServer = errors.New("it is a balancer, and no server of the cluster")

// Gather reads it. PgBouncer is in front of other balancers and knows no standby.
func (g *Balancer) Gather(ctx context.Context) (*facts.Host, error) {
	out := facts.New(g.b.Name, nil)
	var err error
	switch g.b.Kind {
	case inventory.BalancerHAProxy:
		out.Balanced, err = g.haproxy(ctx)
	case inventory.BalancerCommand:
		out.Balanced, err = g.command(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read balancer %s: %w", g.b.Name, err)
	}
	return out, nil
}

func (g *Balancer) haproxy(ctx context.Context) ([]facts.Balanced, error) {
	var backends []string
	for _, h := range g.inv.Hosts {
		if be, name := g.b.Server(h); name != "" && !slices.Contains(backends, be) {
			backends = append(backends, be)
		}
	}
	var out []facts.Balanced
	talk := traffic.Talk{Host: g.h, As: g.b.OSUser, Socket: g.b.Socket}
	for _, be := range backends {
		list, err := talk.Show(ctx, be)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

func (g *Balancer) command(ctx context.Context) ([]facts.Balanced, error) {
	var out []facts.Balanced
	for _, h := range g.inv.Standbys() {
		_, name := g.b.Server(h)
		if name == "" {
			continue
		}
		answer, err := host.Output(ctx, g.h, host.Cmd{Argv: traffic.Command(g.b.Status, name), As: g.b.OSUser})
		if err != nil {
			return nil, err
		}
		s, err := traffic.ReadCommand(name, string(answer))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Database is PgBouncer's console, which no other balancer has.
func (g *Balancer) Database(context.Context) (host.Database, error) {
	if g.b.Kind != inventory.BalancerPgBouncer {
		return host.Database{}, fmt.Errorf("%s: %w", g.b.Name, errNoServer)
	}
	return host.Database{As: g.b.OSUser, SocketDir: g.b.SocketDirectory, Port: g.b.Port, User: g.b.ConsoleUser, Name: "pgbouncer"}, nil
}

// SQL is a session of the console, opened again when it was lost.
func (g *Balancer) SQL(ctx context.Context) (host.SQL, error) {
	db, err := g.Database(ctx)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.console != nil && !host.Lost(g.console) {
		return g.console, nil
	}
	s, err := g.h.SQL(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("open the console of PgBouncer: %w", err)
	}
	g.console = s
	return s, nil
}

// Session is never asked for of a balancer: its console is one session for all.
func (g *Balancer) Session(context.Context, string, string) (host.SQL, error) {
	return nil, fmt.Errorf("%s: %w", g.b.Name, errNoServer)
}

// Spare ends a session that cannot be one of ours.
func (g *Balancer) Spare(ctx context.Context, _ string, s host.SQL) { _ = s.Close(ctx) }

// Close ends the session, if there is one.
func (g *Balancer) Close(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.console
	g.console = nil
	if s == nil {
		return nil
	}
	return s.Close(ctx)
}
