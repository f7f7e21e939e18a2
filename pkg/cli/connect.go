package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/secret/source"
)

// connections is the way to the hosts of one inventory, for one call.
type connections struct {
	inv  *inventory.Cluster
	pool *remote.Pool

	mu        sync.Mutex
	gatherers map[string]gathering
}

// gathering is a gatherer and the connection that it reads over.
type gathering struct {
	host     host.Host
	gatherer engine.Gatherer
}

var _ engine.Cluster = (*connections)(nil)

func (a *app) connect(inv *inventory.Cluster, sink event.Sink) *connections {
	var targets []remote.Target
	for _, h := range inv.Hosts {
		targets = append(targets, a.target(h.Name, h.Address, h.SSH))
	}
	for _, b := range inv.Traffic.Balancers {
		if b.Address != "" {
			targets = append(targets, a.target(b.Name, b.Address, b.SSH))
		}
	}
	return &connections{inv: inv, pool: remote.NewPool(targets, remote.WithEvents(sink)), gatherers: map[string]gathering{}}
}

func (a *app) target(name, address string, s inventory.SSH) remote.Target {
	t := remote.Target{Name: name, Address: address, User: s.User, Port: s.Port, Become: s.Become, Jump: s.Jump, ProxyCommand: s.ProxyCommand,
		ConfigFile: a.expand(s.ConfigFile), HostKey: s.HostKey, ConnectTimeout: cmp.Or(a.set.ConnectTimeout(), s.ConnectTimeout)}
	for _, f := range s.IdentityFile {
		t.IdentityFiles = append(t.IdentityFiles, a.expand(f))
	}
	for _, f := range s.KnownHosts {
		t.KnownHosts = append(t.KnownHosts, a.expand(f))
	}
	if !s.BecomePassword.IsZero() {
		t.BecomePassword = func(ctx context.Context) (secret.Value, error) { return a.resolver().Resolve(ctx, s.BecomePassword) }
	}
	return t
}

func (a *app) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return a.Env("HOME") + "/" + rest
	}
	return path
}

func (a *app) resolver() source.Resolver {
	return source.Resolver{LookupEnv: os.LookupEnv, Home: a.Env("HOME"), Stderr: a.Err}
}

// Host dials once.
func (c *connections) Host(ctx context.Context, name string) (host.Host, error) {
	return c.pool.Dial(ctx, name)
}

// Gatherer of a host, kept for the call.
func (c *connections) Gatherer(ctx context.Context, name string) (engine.Gatherer, error) {
	h, err := c.pool.Dial(ctx, name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// That of a connection that was lost would never see the host again.
	if g, ok := c.gatherers[name]; ok && g.host == h {
		return g.gatherer, nil
	}
	var g engine.Gatherer
	if b, ok := c.inv.Balancer(name); ok {
		g = live.NewBalancer(h, b, c.inv)
	} else {
		inv, _ := c.inv.Host(name)
		g = live.New(h, inv)
	}
	c.gatherers[name] = gathering{h, g}
	return g, nil
}

func (c *connections) gatherer(ctx context.Context, name string) (*live.Gatherer, error) {
	g, err := c.Gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	server, ok := g.(*live.Gatherer)
	if !ok {
		return nil, fmt.Errorf("%s is no server of the cluster", name)
	}
	return server, nil
}

// drop ends the connection to a host, and what hangs on it. The next call makes
// another.
func (c *connections) drop(ctx context.Context, name string) {
	c.mu.Lock()
	g, ok := c.gatherers[name]
	delete(c.gatherers, name)
	c.mu.Unlock()
	if ok {
		_ = g.gatherer.Close(ctx)
	}
	_ = c.pool.Drop(name)
}

// counts is how many TCP connections were made to each host.
func (c *connections) counts() map[string]int {
	out := map[string]int{}
	for _, h := range c.inv.Hosts {
		if n := c.pool.Connections(h.Name); n > 0 {
			out[h.Name] = n
		}
	}
	return out
}

// Close ends all connections.
func (c *connections) Close(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var wg sync.WaitGroup
	for _, g := range c.gatherers {
		// What it says of a connection that is closed next helps nobody.
		wg.Go(func() { _ = g.gatherer.Close(ctx) })
	}
	wg.Wait()
	return c.pool.Close()
}
