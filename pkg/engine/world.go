package engine

import (
	"context"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// world is the facts of all hosts, each gathered at the first question. An
// apply drops a host's facts with every effect on it; a preview keeps them and
// lets effects predict into them.
type world struct {
	cluster Cluster
	mu      sync.Mutex
	hosts   map[string]*facts.Host
	// read is the hosts as they were read last, before any prediction.
	read Reading
	// before: what it knows is that of the preview, which has found work.
	before bool
	// forward: a point of no return is behind. A host that cannot be reached then stops
	// the steps at it, and not those at the others, who wait for what they are owed; gone
	// are those that are known for it.
	forward bool
	gone    map[string]bool
}

func newWorld(c Cluster) *world {
	return &world{cluster: c, hosts: map[string]*facts.Host{}, read: Reading{}, gone: map[string]bool{}}
}

// Reading is hosts as they were found a moment ago, by their names. What is planned from
// it is a preview, or is planned again once the cluster lock is held.
type Reading map[string]*facts.Host

// worldOf is a world that begins with what was read before.
func worldOf(c Cluster, before Reading) *world {
	w := newWorld(c)
	for name, h := range before {
		w.add(name, h.Copy())
	}
	return w
}

// add is a host that was just read.
func (w *world) add(name string, h *facts.Host) {
	before := h.Copy()
	h.Observe()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name], w.read[name] = h, before
	delete(w.gone, name)
}

// Read reads a host for the preview that comes next. One that cannot be read is not in
// what it gives: the preview asks again, and says why.
func (e *Engine) Read(ctx context.Context, name string) Reading {
	w := newWorld(e.Cluster)
	_, _ = w.Of(ctx, name)
	return w.read
}

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
	w.add(name, h)
	return h, nil
}

// prefetch gathers the hosts that a plan names side by side, those that are not
// known: one after the other each would cost its own round trips.
func (w *world) prefetch(ctx context.Context, nodes []plan.Node) error {
	names := map[string]bool{}
	collect(nodes, names)
	maps.DeleteFunc(names, func(name string, _ bool) bool { return w.Known(name) != nil || w.lost(name) })
	if len(names) == 0 {
		return nil
	}
	w.mu.Lock()
	forward := w.forward
	w.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	failed := map[string]error{}
	for name := range names {
		g.Go(func() error {
			_, err := w.Of(ctx, name)
			if !cannotBeAsked(err) || ctx.Err() != nil {
				return err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if forward && fault.ClassOf(err) == fault.Unreachable {
				w.gone[name] = true
			} else {
				failed[name] = err // the others are asked all the same, so that all can be named
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return away(failed)
}

// onlyForward is said once something is done that cannot be taken back.
func (w *world) onlyForward() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forward = true
}

func (w *world) lost(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone[name]
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
// started or stopped, which its peers notice, when the lock was taken: what was
// read while another run may have held it is not true any more; and when it was waited
// until a standby was not far behind, which may take long.
//
// Of some hosts nothing is changed by a wait, but what was read before it is old after it.
func (w *world) drop(e effect.Effect) {
	if o, ok := e.(interface{ Outlasts() []string }); ok {
		for _, name := range o.Outlasts() {
			w.forget(name)
		}
	}
	if i, ok := e.(interface{ Inert() bool }); ok && i.Inert() {
		return
	}
	if k, ok := e.(interface{ Known() bool }); ok && k.Known() {
		e.Predict(w)
		return
	}
	switch e.(type) {
	case *effect.Service, *effect.Promote, *effect.TakeLock, *effect.AwaitLag:
		w.clear()
		return
	}
	w.forget(e.On())
}

// clear forgets all hosts.
func (w *world) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.hosts)
	w.before = false
}

// forget drops a host's facts: an effect on it happened, or failed and may have happened half.
func (w *world) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.hosts, name)
}
