package cli

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/semaphore"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/check/serve"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// scene is a cluster that a check looks at. What is asked is noted in its order.
type scene struct {
	mu    sync.Mutex
	seen  map[string]facts.Server // who is not there gives no answer
	asked []string
}

// extra is a host of a scene.
type extra struct {
	*scene
	name string
}

func (x extra) Name() string { return x.name }

func (x extra) note(what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = append(x.asked, what+" "+x.name)
}

func (x extra) Look(context.Context) check.Observation {
	x.note("look")
	x.mu.Lock()
	defer x.mu.Unlock()
	s, ok := x.seen[x.name]
	if !ok {
		return check.Observe(x.name, time.Now(), s, errors.New("no route to host"))
	}
	// Time goes on.
	s.LSN++
	x.seen[x.name] = s
	return check.Observe(x.name, time.Now(), s, nil)
}

func (x extra) Plans(context.Context, facts.Server, []check.Member) (map[string]check.Plan, error) {
	x.note("plans")
	return map[string]check.Plan{"pg2": {Run: "r1"}}, nil
}

func (x extra) KeptOut(context.Context, check.Member) (bool, error) {
	x.note("file")
	return true, nil
}

func (x extra) Close(context.Context) { x.note("close") }

// count is how often something was asked of a host.
func (s *scene) count(what string) (n int) {
	for _, a := range s.asked {
		if a == what {
			n++
		}
	}
	return n
}

// shop is pg1 (primary) and its standbys pg2 and pg3.
func shop() *inventory.Cluster {
	return &inventory.Cluster{Name: "shop", Hosts: []*inventory.Host{{Name: "pg1", Role: inventory.Primary},
		{Name: "pg2", Role: inventory.Standby, UpstreamName: "pg1"}, {Name: "pg3", Role: inventory.Standby, UpstreamName: "pg1"}}}
}

func (s *scene) looks(inv *inventory.Cluster) *looks {
	return &looks{inv: inv, members: check.Members(inv), slots: semaphore.NewWeighted(8), complain: func(error, string) {},
		looker: func(h *inventory.Host) serve.Looker { return extra{s, h.Name} }, bound: func(inventory.SSH) time.Duration { return time.Minute }}
}

// TestACheckComparesWhatItReadsOnOpenSessions: what is read as each host is connected is of
// as many moments.
func TestACheckComparesWhatItReadsOnOpenSessions(t *testing.T) {
	t.Parallel()
	at := func(lsn postgres.LSN, reads bool) facts.Server {
		return facts.Server{Running: true, InRecovery: reads, Timeline: 1, LSN: lsn}
	}
	inv := shop()
	s := &scene{seen: map[string]facts.Server{"pg1": at(100, false), "pg2": at(200, true), "pg3": {NotReady: "it starts"}}}
	obs, plans, known := s.looks(inv).observe(t.Context(), inv.Hosts)
	got := map[string]postgres.LSN{}
	for _, o := range obs {
		got[o.Host] = o.Server.LSN
		if !o.KeptOut {
			t.Errorf("the file of %s is not known", o.Host)
		}
	}
	// A server that does not run has no position.
	if d := cmp.Diff(map[string]postgres.LSN{"pg1": 102, "pg2": 202, "pg3": 1}, got); d != "" {
		t.Error(d)
	}
	first := strings.Join(s.asked[:3], ",")
	for _, h := range inv.Hosts {
		if !strings.Contains(first, "look "+h.Name) {
			t.Errorf("%s is asked again before %s is connected: %v", first, h.Name, s.asked)
		}
		if s.count("close "+h.Name) != 1 || s.count("file "+h.Name) != 1 {
			t.Errorf("%v", s.asked)
		}
	}
	if !known || plans["pg2"].Run != "r1" || s.count("plans pg1") != 1 || s.count("plans pg2") != 0 {
		t.Errorf("%v, %t: %v", plans, known, s.asked)
	}
}

// TestACheckLooksForWhoHasTheWrites where the inventory's primary has none: pg2 is asked for,
// and only pg3 tells that it does not follow.
func TestACheckLooksForWhoHasTheWrites(t *testing.T) {
	t.Parallel()
	writes := func(timeline int) facts.Server { return facts.Server{Running: true, Timeline: timeline} }
	reads := func(timeline int) facts.Server {
		return facts.Server{Running: true, InRecovery: true, Timeline: timeline}
	}
	for name, c := range map[string]struct {
		seen map[string]facts.Server
		want []string
	}{
		"the primary writes":           {map[string]facts.Server{"pg1": writes(1), "pg2": reads(1)}, []string{"pg1", "pg2"}},
		"its timeline is not known":    {map[string]facts.Server{"pg1": writes(0), "pg2": reads(1)}, []string{"pg1", "pg2"}},
		"it gives no answer":           {map[string]facts.Server{"pg2": reads(1), "pg3": writes(2)}, []string{"pg1", "pg2", "pg3"}},
		"it does not run":              {map[string]facts.Server{"pg1": {}, "pg2": reads(1), "pg3": writes(2)}, []string{"pg1", "pg2", "pg3"}},
		"it is a standby":              {map[string]facts.Server{"pg1": reads(2), "pg2": reads(1), "pg3": writes(2)}, []string{"pg1", "pg2", "pg3"}},
		"it writes on an old timeline": {map[string]facts.Server{"pg1": writes(1), "pg2": reads(2), "pg3": writes(2)}, []string{"pg1", "pg2", "pg3"}},
		"nobody answers":               {nil, []string{"pg1", "pg2", "pg3"}},
	} {
		inv := shop()
		s := &scene{seen: c.seen}
		obs, _, _ := s.looks(inv).observe(t.Context(), inv.Hosts[1:2])
		var got []string
		for _, o := range obs {
			got = append(got, o.Host)
			if s.count("close "+o.Host) != 1 {
				t.Errorf("%s: the session of %s stays open", name, o.Host)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
