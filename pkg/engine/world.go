package engine

import (
	"context"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// world is the facts of all hosts, each gathered at the first question. An
// apply drops a host's facts with every effect on it; a preview keeps them and
// lets effects predict into them.
type world struct {
	cluster Cluster
	mu      sync.Mutex
	hosts   map[string]*facts.Host
}

func newWorld(c Cluster) *world { return &world{cluster: c, hosts: map[string]*facts.Host{}} }

func (w *world) Of(ctx context.Context, name string) (*facts.Host, error) {
	if h := w.Known(name); h != nil {
		return h, nil
	}
	g, err := w.cluster.Gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	h, err := g.Gather(ctx)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = h
	return h, nil
}

// prefetch gathers the hosts that a plan names side by side, those that are not
// known: one after the other each would cost its own round trips.
func (w *world) prefetch(ctx context.Context, nodes []plan.Node) error {
	names := map[string]bool{}
	collect(nodes, names)
	maps.DeleteFunc(names, func(name string, _ bool) bool { return w.Known(name) != nil })
	if len(names) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for name := range names {
		g.Go(func() error {
			_, err := w.Of(ctx, name)
			return err
		})
	}
	return g.Wait()
}

func collect(nodes []plan.Node, names map[string]bool) {
	for _, n := range nodes {
		names[n.Host.Name] = true
		collect(n.Body, names)
	}
}

// Known is for predictions: a host that nobody asked for needs none.
func (w *world) Known(name string) *facts.Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[name]
}

// drop forgets what e may have changed, unless e says that it changes no fact, or
// that all it changes is known, such as the bytes of a file just written: its host, or all when a server was
// started or stopped, which its peers notice, and when the lock was taken: what was
// read while another run may have held it is not true any more.
func (w *world) drop(e effect.Effect) {
	if i, ok := e.(interface{ Inert() bool }); ok && i.Inert() {
		return
	}
	if k, ok := e.(interface{ Known() bool }); ok && k.Known() {
		e.Predict(w)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.(type) {
	case *effect.Service, *effect.TakeLock:
		clear(w.hosts)
		return
	}
	delete(w.hosts, e.On())
}

// forget drops a host's facts: an effect on it failed, and may have happened half.
func (w *world) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.hosts, name)
}
