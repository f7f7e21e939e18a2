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
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

// keptOpen is up to how many hosts the connections stay open once all of them are
// read: --watch reads again over them, and a second look does.
const keptOpen = 64

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
				if len(hosts) > keptOpen {
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

// readers is how many hosts are read at a time.
func (a *app) readers() int { return a.set.Parallel() }

func (a *app) readOne(ctx context.Context, s *session, h *inventory.Host, ask question) status.Result {
	f, err := s.ask(ctx, h.Name, a.bound(h.SSH), ask)
	return status.Result{Facts: f, Err: err, At: time.Now()}
}

// bound is the most that one look at a host, or a balancer, may take.
func (a *app) bound(way inventory.SSH) time.Duration {
	return gatherTimeout + cmp.Or(a.set.ConnectTimeout(), way.ConnectTimeout)
}

// answering bounds the time until there is an answer, and says so when there is none.
func answering(ctx context.Context, bound time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, bound, fmt.Errorf("no answer within %s", bound))
}

// question is what a host is asked.
type question func(*live.Gatherer, context.Context) (*facts.Host, error)

// facts reads one host, or a balancer, within a bound.
func (s *session) facts(ctx context.Context, name string, bound time.Duration) (*facts.Host, error) {
	ctx, cancel := answering(ctx, bound)
	defer cancel()
	g, err := s.conn.Gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	return g.Gather(ctx)
}

// ask asks a host, within a bound.
func (s *session) ask(ctx context.Context, name string, bound time.Duration, ask question) (*facts.Host, error) {
	ctx, cancel := answering(ctx, bound)
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
