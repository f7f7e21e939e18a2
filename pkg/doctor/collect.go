package doctor

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// collect reads what the checks need, so that they are plain functions. cl is the cluster
// without those who were taken out of all.
func collect(ctx context.Context, all, cl *inventory.Cluster, hosts map[string]*facts.Host, scope Scope) ([]subject, []pair, error) {
	var subjects []subject
	var peers []*facts.Host
	for _, h := range cl.Hosts {
		if f := hosts[h.Name]; f != nil {
			peers = append(peers, f)
		}
	}
	byName := map[string]subject{}
	for _, h := range cl.Hosts {
		f := hosts[h.Name]
		if f == nil || !inScope(cl, h, scope) {
			continue
		}
		s, err := read(ctx, cl, h, f)
		if err != nil {
			return nil, nil, err
		}
		s.run, s.all, s.peers = scope.Run, all, peers
		subjects = append(subjects, s)
		byName[h.Name] = s
	}
	var pairs []pair
	for _, s := range subjects {
		up, ok := byName[s.inv.UpstreamName]
		if !ok || scope.Standby != "" && s.inv.Name != scope.Standby {
			continue
		}
		p := pair{standby: s, upstream: up, reseed: scope.Reseed, emptied: scope.Emptied}
		if err := p.read(ctx); err != nil {
			return nil, nil, err
		}
		pairs = append(pairs, p)
	}
	return subjects, pairs, nil
}

// inScope: of a bootstrap, the standby, its upstream and the primary, where
// pg_hba.conf and the role are edited.
func inScope(cl *inventory.Cluster, h *inventory.Host, scope Scope) bool {
	if scope.Standby == "" || h.Name == scope.Standby || h.Role == inventory.Primary {
		return true
	}
	sb, ok := cl.Host(scope.Standby)
	return ok && sb.UpstreamName == h.Name
}

func read(ctx context.Context, cl *inventory.Cluster, h *inventory.Host, f *facts.Host) (subject, error) {
	s := subject{cl: cl, inv: h, f: f, settings: postgres.Settings{}}
	var err error
	if s.archives, err = archivesOf(ctx, cl, h, f); err != nil {
		return s, err
	}
	if s.cleans, err = cleans(ctx, cl, h, f); err != nil || !f.Server.Running {
		return s, err
	}
	if s.settings, err = f.Settings(ctx); err != nil {
		return s, err
	}
	if s.errors, err = f.ConfigErrors(ctx); err != nil {
		return s, fmt.Errorf("read configuration errors of %s: %w", h.Name, err)
	}
	if s.sorting, err = f.Sorting(ctx); err != nil {
		return s, err
	}
	if cl.Replication.User != "" {
		if s.role, err = f.Role(ctx, cl.Replication.User); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (p *pair) read(ctx context.Context) error {
	if err := p.readTrees(ctx); err != nil {
		return err
	}
	if err := p.readWALSpace(ctx); err != nil {
		return err
	}
	if err := p.readRules(ctx); err != nil {
		return err
	}
	if err := p.readConfig(ctx); err != nil {
		return err
	}
	if err := p.readAuto(ctx); err != nil {
		return err
	}
	return p.readTLS(ctx)
}

// readTrees asks only where there are tablespaces: without any, the space of the
// data directory is known already.
func (p *pair) readTrees(ctx context.Context) error {
	pg, up := p.standby.inv.Postgres, p.upstream.f.Server
	if len(up.Tablespaces) == 0 {
		return nil
	}
	var dirs []string
	var bytes []int64
	rest := up.SizeBytes
	for _, ts := range up.Tablespaces {
		at := ts.Location
		if to := pg.Tablespaces[at]; to != "" {
			at = to
		}
		dirs, bytes = append(dirs, at), append(bytes, ts.SizeBytes)
		rest -= ts.SizeBytes
	}
	dirs, bytes = append(dirs, p.standby.f.Data.Path), append(bytes, max(0, rest))
	spaces, err := p.standby.f.Space(ctx, pg.OSUser, dirs)
	if err != nil {
		return err
	}
	for i, s := range spaces {
		p.trees = append(p.trees, tree{Space: s, bytes: bytes[i]})
	}
	return nil
}

// target reports whether the standby is to be made, or made again.
func (p pair) target() bool {
	d, id := p.standby.f.Data, p.upstreamID()
	return p.reseed || d.State != facts.Cluster || !d.Standby || id != "" && systemID(d) != id
}

// upstreamID is the system identifier of the upstream, running or not.
func (p pair) upstreamID() string {
	if id := p.upstream.f.Server.SystemID; id != "" {
		return id
	}
	return systemID(p.upstream.f.Data)
}

func systemID(d facts.DataDir) string {
	if d.State != facts.Cluster {
		return ""
	}
	return fmt.Sprint(d.Control.SystemID)
}

// setting is the value of a running server's setting, empty when not known.
func (s subject) setting(name string) string {
	v, _ := s.settings.Lookup(name)
	return v.Value
}

func (s subject) number(name string) (int64, bool) {
	v, ok := s.settings.Lookup(name)
	if !ok {
		return 0, false
	}
	n, err := v.Int()
	return n, err == nil
}
