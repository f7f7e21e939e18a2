package cli

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/settings"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

// readAtOnce is how many hosts are read at a time when --parallel does not say:
// it is about those that are acted on.
const readAtOnce = 64

// gatherTimeout bounds the reading of one host's facts once it is connected: a
// frozen host keeps its connections.
const gatherTimeout = 10 * time.Second

// look gathers the facts of hosts, side by side, each in bounded time.
func (a *app) look(ctx context.Context, s *session, hosts []*inventory.Host) map[string]status.Result {
	return a.read(ctx, s, hosts, (*live.Gatherer).Gather)
}

// read asks hosts, side by side, each in bounded time.
func (a *app) read(ctx context.Context, s *session, hosts []*inventory.Host, ask question) map[string]status.Result {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]status.Result{}
	slots := semaphore.NewWeighted(int64(a.readers()))
	for _, h := range hosts {
		wg.Go(func() {
			res := status.Result{}
			if res.Err = slots.Acquire(ctx, 1); res.Err == nil {
				res = a.readOne(ctx, s, h, ask)
				if len(hosts) > readAtOnce {
					// A connection is some hundred kilobytes, and nobody
					// comes back to most of them.
					s.conn.drop(ctx, h.Name)
				}
				slots.Release(1)
			}
			mu.Lock()
			defer mu.Unlock()
			out[h.Name] = res
		})
	}
	wg.Wait()
	return out
}

func (a *app) readers() int {
	if a.set.Origin("parallel").Source == settings.FromDefault {
		return readAtOnce
	}
	return a.set.Parallel()
}

func (a *app) readOne(ctx context.Context, s *session, h *inventory.Host, ask question) status.Result {
	f, err := s.ask(ctx, h.Name, gatherTimeout+cmp.Or(a.set.ConnectTimeout(), h.SSH.ConnectTimeout), ask)
	return status.Result{Facts: f, Err: err, At: time.Now()}
}

// question is what a host is asked.
type question func(*live.Gatherer, context.Context) (*facts.Host, error)

// facts reads one host, or a balancer, within a bound.
func (s *session) facts(ctx context.Context, name string, bound time.Duration) (*facts.Host, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("no answer within %s", bound))
	defer cancel()
	g, err := s.conn.Gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	return g.Gather(ctx)
}

// ask asks a host, within a bound.
func (s *session) ask(ctx context.Context, name string, bound time.Duration, ask question) (*facts.Host, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("no answer within %s", bound))
	defer cancel()
	g, err := s.conn.gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	return ask(g, ctx)
}

// secondLook is the time between two readings that tell what stands still.
const secondLook = 1500 * time.Millisecond

// glance reads what status and topology tell, and reads again what one reading
// leaves open.
func (a *app) glance(ctx context.Context, s *session, hosts []*inventory.Host) map[string]status.Result {
	seen := a.read(ctx, s, hosts, (*live.Gatherer).Glance)
	again := status.Again(s.inv, seen)
	if len(again) == 0 {
		return seen
	}
	pause := time.NewTimer(secondLook)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return seen
	case <-pause.C:
	}
	var whom []*inventory.Host
	for _, name := range again {
		if h, ok := s.inv.Host(name); ok {
			whom = append(whom, h)
		}
	}
	later := a.read(ctx, s, whom, (*live.Gatherer).Glance)
	for name, res := range seen {
		// What was read once has been so since then.
		res.Earlier, res.EarlierAt = res.Facts, res.At
		if now, ok := later[name]; ok && now.Err == nil {
			res = now.Following(seen[name])
		}
		seen[name] = res
	}
	return seen
}
