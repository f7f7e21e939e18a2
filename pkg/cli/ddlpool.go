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
	"github.com/pgrepctl/pgrepctl/pkg/host"
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
				bound := gatherTimeout + a.set.ConnectTimeout()
				looking, cancel := context.WithTimeoutCause(asking, bound, fmt.Errorf("no answer within %s", bound))
				defer cancel()
				names, err := keptOut(looking, s.conn.pool, s.inv.Standbys(), b.Path)
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
				g, err := s.conn.Gatherer(asking, b.Name)
				if err == nil {
					_, err = g.SQL(asking)
				}
				return err
			}
			h, err := s.facts(asking, b.Name, gatherTimeout+cmp.Or(a.set.ConnectTimeout(), b.SSH.ConnectTimeout))
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

// keptOut are the standbys that a health file keeps reads away from. Where that cannot be
// told nobody knows who serves. Of a standby that does not answer nothing is said: it is
// refused where it is needed, with what to do.
func keptOut(ctx context.Context, d host.Dialer, standbys []*inventory.Host, file string) ([]string, error) {
	there, errs := make([]bool, len(standbys)), make([]error, len(standbys))
	var wg sync.WaitGroup
	for i, x := range standbys {
		if x.BalancedName() == "" {
			continue
		}
		wg.Go(func() {
			h, err := d.Dial(ctx, x.Name)
			if err != nil {
				return
			}
			there[i], err = host.Exists(ctx, h.Files(x.Postgres.OSUser), file)
			if err != nil && fault.ClassOf(err) != fault.Unreachable {
				errs[i] = fault.Refuse(x.Name, "let "+x.Postgres.OSUser+" look into "+path.Dir(file)+" there, then type the same command again",
					fmt.Errorf("whether %s keeps reads away from it cannot be told: %w", file, err))
			}
		})
	}
	wg.Wait()
	var out []string
	for i, x := range standbys {
		if there[i] {
			out = append(out, x.Name)
		}
	}
	return out, cmp.Or(errs...)
}
