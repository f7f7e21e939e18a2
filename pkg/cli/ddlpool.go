package cli

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// pool asks the balancers who serves.
func (a *app) pool(ctx context.Context, s *session) (ddl.Pool, error) {
	if !s.inv.Traffic.Steered() { // nobody is told anything
		return poolOf(s.inv, nil, nil), nil
	}
	seen := map[string]*facts.Host{}
	out := map[string]bool{} // standbys that a health file keeps reads away from
	var mu sync.Mutex
	g, asking := errgroup.WithContext(ctx)
	for _, b := range s.inv.Traffic.Balancers {
		if b.Kind == inventory.BalancerFile {
			g.Go(func() error {
				names, err := keptOut(lookForFile(asking, s.conn.pool, s.inv.Standbys(), b.Path, a.bound))
				mu.Lock()
				defer mu.Unlock()
				for _, name := range names {
					out[name] = true
				}
				return cmp.Or(context.Cause(asking), err)
			})
			continue
		}
		g.Go(func() error {
			if b.Kind == inventory.BalancerPgBouncer { // of no standby, but its console is needed
				asking, cancel := answering(asking, a.bound(b.SSH))
				defer cancel()
				g, err := s.conn.Gatherer(asking, b.Name)
				if err == nil {
					_, err = g.SQL(asking)
				}
				return err
			}
			h, err := s.facts(asking, b.Name, a.bound(b.SSH))
			mu.Lock()
			defer mu.Unlock()
			seen[b.Name] = h
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return ddl.Pool{}, err
	}
	return poolOf(s.inv, seen, out), nil
}

// poolOf is made of what the balancers say, by their names, and of the standbys that a
// health file keeps reads away from.
func poolOf(inv *inventory.Cluster, seen map[string]*facts.Host, out map[string]bool) ddl.Pool {
	pool := ddl.Pool{Balancers: inv.Traffic.Steered()}
	for _, x := range inv.Standbys() {
		serves := pool.Balancers && x.BalancedName() != "" && !out[x.Name]
		for _, b := range inv.Traffic.Balancers {
			if h := seen[b.Name]; h != nil && serves && b.Kind != inventory.BalancerPgBouncer {
				be, name := b.Server(x)
				serves = h.Balances(be, name).State == facts.Serving
			}
		}
		switch {
		case serves:
			pool.Serving = append(pool.Serving, x.Name)
		case x.ApplyDelay == 0 && (!pool.Balancers || x.BalancedName() == ""):
			pool.Others = append(pool.Others, x.Name)
		}
	}
	if pool.Balancers {
		pool.Others = nil // nobody reads there
	}
	pool.NoPrimary = noPrimary(inv, seen)
	return pool
}

// noPrimary says why a balancer would not send reads to the primary; "" when all would.
func noPrimary(inv *inventory.Cluster, seen map[string]*facts.Host) string {
	p, asked := inv.Primary(), false
	for _, b := range inv.Traffic.Balancers {
		h := seen[b.Name]
		if h == nil || b.Kind == inventory.BalancerPgBouncer {
			continue
		}
		asked = true
		be, name := b.Server(p)
		if name == "" {
			return "the inventory has traffic: none for " + p.Name
		}
		switch now := h.Balances(be, name); {
		case now.State == facts.NotListed && b.Kind == inventory.BalancerHAProxy:
			return fmt.Sprintf(`backend %s of %s has no server %s: put "server %s %s:%d check backup" there (backup: it gets reads only while nobody else does), and reload HAProxy`, be, b.Name, name, name, p.Address, p.Postgres.Port)
		case now.State != facts.Serving:
			return fmt.Sprintf("%s has %s as %s", b.Name, name, now.State)
		}
	}
	if !asked {
		return "no balancer of the inventory knows servers"
	}
	return ""
}

// keptOut are the standbys that a health file keeps reads away from. Where that cannot be
// told nobody knows who serves. Of a standby that does not answer nothing is said: it is
// refused where it is needed, with what to do.
func keptOut(looks []fileLook) ([]string, error) {
	var out []string
	var untold []error
	for _, x := range looks {
		h := x.standby
		if x.err != nil && fault.ClassOf(x.err) != fault.Unreachable {
			untold = append(untold, fault.Refuse(h.Name, "let "+h.Postgres.OSUser+" look into "+path.Dir(x.file)+" there, then type the same command again",
				fmt.Errorf("whether %s keeps reads away from it cannot be told: %w", x.file, x.err)))
		}
		if x.there {
			out = append(out, h.Name)
		}
	}
	return out, cmp.Or(untold...)
}
