package cli

import (
	"cmp"
	"context"
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
	gatherers map[string]*live.Gatherer
}

var _ engine.Cluster = (*connections)(nil)

func (a *app) connect(inv *inventory.Cluster, sink event.Sink) *connections {
	var targets []remote.Target
	for _, h := range inv.Hosts {
		targets = append(targets, a.target(h))
	}
	return &connections{inv: inv, pool: remote.NewPool(targets, remote.WithEvents(sink)), gatherers: map[string]*live.Gatherer{}}
}

func (a *app) target(h *inventory.Host) remote.Target {
	s := h.SSH
	t := remote.Target{Name: h.Name, Address: h.Address, User: s.User, Port: s.Port, Become: s.Become, Jump: s.Jump, ProxyCommand: s.ProxyCommand,
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
	return c.gatherer(ctx, name)
}

func (c *connections) gatherer(ctx context.Context, name string) (*live.Gatherer, error) {
	h, err := c.pool.Dial(ctx, name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if g, ok := c.gatherers[name]; ok {
		return g, nil
	}
	inv, _ := c.inv.Host(name)
	g := live.New(h, inv)
	c.gatherers[name] = g
	return g, nil
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
		wg.Go(func() { _ = g.Close(ctx) })
	}
	wg.Wait()
	return c.pool.Close()
}
