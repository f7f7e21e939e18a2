package cli

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/check/poll"
	"github.com/pgrepctl/pgrepctl/pkg/check/serve"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// hostLook is a host that a check looks at, and what it saw last.
type hostLook struct {
	serve.Looker
	host *inventory.Host
	obs  check.Observation
}

// looks are those of one check.
type looks struct {
	inv      *inventory.Cluster
	members  []check.Member
	looker   func(*inventory.Host) serve.Looker
	bound    func(inventory.SSH) time.Duration // the most that one look may take
	slots    *semaphore.Weighted
	complain func(err error, then string)
}

func (a *app) looks(s *session, members []check.Member) *looks {
	return &looks{inv: s.inv, members: members, complain: a.complain, slots: semaphore.NewWeighted(int64(a.readers())),
		looker: func(h *inventory.Host) serve.Looker { return poll.New(s.conn.pool, s.inv.Name, h, time.Now) }, bound: a.bound}
}

// observe looks at the hosts that are asked for, and at those that others are judged by. Each
// is asked twice: the first answers are of as many moments as there are hosts, for to connect
// to one may take seconds longer than to another, and a busy primary writes 100 MB meanwhile.
// known: the primary said what runs did.
func (l *looks) observe(ctx context.Context, asked []*inventory.Host) (obs []check.Observation, plans map[string]check.Plan, known bool) {
	seen := l.first(ctx, withUpstreams(l.inv, asked))
	if !hasWrites(l.inv.Primary(), seen) {
		seen = append(seen, l.first(ctx, without(l.inv, seen))...)
	}
	l.each(ctx, seen, func(ctx context.Context, x *hostLook) {
		if x.obs.Server.Running {
			x.obs = x.Look(ctx)
		}
	})
	l.each(ctx, seen, func(ctx context.Context, x *hostLook) {
		defer x.Close(ctx)
		if x.obs.Err != "" {
			return
		}
		l.files(ctx, x)
		if x.host == l.inv.Primary() {
			plans, known = l.plans(ctx, x)
		}
	})
	for _, x := range seen {
		obs = append(obs, x.obs)
	}
	return obs, plans, known
}

// first connects hosts, and looks at them.
func (l *looks) first(ctx context.Context, hosts []*inventory.Host) []*hostLook {
	var seen []*hostLook
	for _, h := range hosts {
		seen = append(seen, &hostLook{Looker: l.looker(h), host: h})
	}
	l.each(ctx, seen, func(ctx context.Context, x *hostLook) { x.obs = x.Look(ctx) })
	return seen
}

// each does something with hosts side by side, with each in bounded time.
func (l *looks) each(ctx context.Context, seen []*hostLook, do func(context.Context, *hostLook)) {
	var wg sync.WaitGroup
	for _, x := range seen {
		wg.Go(func() {
			if err := l.slots.Acquire(ctx, 1); err != nil {
				x.obs = check.Observation{Host: x.host.Name, At: time.Now(), Err: err.Error()}
				return
			}
			defer l.slots.Release(1)
			looking, cancel := answering(ctx, l.bound(x.host.SSH))
			defer cancel()
			do(looking, x)
		})
	}
	wg.Wait()
}

// files notes whether a health file is there.
func (l *looks) files(ctx context.Context, x *hostLook) {
	at := slices.IndexFunc(l.members, func(m check.Member) bool { return m.Name == x.host.Name })
	if at < 0 {
		return
	}
	out, err := x.KeptOut(ctx, l.members[at])
	if err != nil {
		l.complain(err, "does not know whether a health file keeps reads away from "+x.host.Name)
	}
	x.obs.KeptOut, x.obs.FilesUnknown = out, err != nil
}

func (l *looks) plans(ctx context.Context, x *hostLook) (plans map[string]check.Plan, known bool) {
	plans, err := x.Plans(ctx, x.obs.Server, l.members)
	if err != nil {
		l.complain(err, "does not know what runs have planned")
	}
	return plans, err == nil
}

// withUpstreams adds the primary, whose position is what lag is measured against,
// and the upstreams, who know which standby is synchronous.
func withUpstreams(inv *inventory.Cluster, asked []*inventory.Host) []*inventory.Host {
	return slices.DeleteFunc(slices.Clone(inv.Hosts), func(h *inventory.Host) bool {
		return h != inv.Primary() && !slices.ContainsFunc(asked, func(x *inventory.Host) bool { return x == h || x.UpstreamName == h.Name })
	})
}

// hasWrites reports whether the inventory's primary takes writes, as far as those say that
// were looked at: none of them is on a newer timeline. Otherwise writes may have gone on to any
// other host, and a standby that does not follow there shows old data.
func hasWrites(primary *inventory.Host, seen []*hostLook) bool {
	at := slices.IndexFunc(seen, func(x *hostLook) bool { return x.host == primary })
	if at < 0 {
		return false
	}
	s := seen[at].obs.Server // of a host that did not answer it is empty
	return s.Running && !s.InRecovery && !slices.ContainsFunc(seen, func(x *hostLook) bool { return x.obs.Server.Timeline > s.Timeline && s.Timeline > 0 })
}

// without are the hosts that were not looked at.
func without(inv *inventory.Cluster, seen []*hostLook) []*inventory.Host {
	return slices.DeleteFunc(slices.Clone(inv.Hosts), func(h *inventory.Host) bool {
		return slices.ContainsFunc(seen, func(x *hostLook) bool { return x.host == h })
	})
}
