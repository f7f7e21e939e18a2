package engine

import (
	"context"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
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
	w.mu.Lock()
	defer w.mu.Unlock()
	if h, ok := w.hosts[name]; ok {
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
	w.hosts[name] = h
	return h, nil
}

// Known is for predictions: a host that nobody asked for needs none.
func (w *world) Known(name string) *facts.Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[name]
}

// drop forgets what e may have changed: its host, or all when a server was
// started or stopped, which its peers notice, and when the lock was taken: what was
// read while another run may have held it is not true any more.
func (w *world) drop(e effect.Effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.(type) {
	case *effect.Service, *effect.TakeLock:
		clear(w.hosts)
		return
	}
	delete(w.hosts, e.On())
}
