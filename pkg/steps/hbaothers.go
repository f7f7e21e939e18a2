package steps

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// others admits every other host of the inventory, in one edit: on the day that
// this one is the primary they stream from it, the old primary too. The server need
// not run, for nothing depends on it today.
func (s *HBA) others(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	at, ssl, err := hbaFile(ctx, in, h)
	if err != nil {
		return Planned{}, err
	}
	v := h.Server.Version
	if !h.Server.Running {
		up, err := in.Facts.Of(ctx, in.Cluster.Primary().Name)
		if err != nil {
			return Planned{}, err
		}
		v = up.Server.Version
	}
	if s.Allow.Type == "hostssl" && !ssl {
		return noop("ssl is off in its configuration, where a hostssl rule is an error"), nil
	}
	f, err := h.File(ctx, in.Self.Postgres.OSUser, at)
	if err != nil {
		return Planned{}, err
	}
	if !f.Exists {
		return noop("%s is not there", at), nil
	}
	file, err := parseHBA(in, f)
	if err != nil {
		return Planned{}, err
	}
	var names []string
	for _, o := range in.Cluster.Hosts {
		if o == in.Self {
			continue
		}
		rule, err := s.rule(o.CIDR(), v)
		if err != nil {
			return Planned{}, err
		}
		_, changed, err := file.Ensure(rule, "")
		if err != nil {
			return Planned{}, fmt.Errorf("pg_hba.conf rule for %s: %w", o.Name, err)
		}
		if changed {
			names = append(names, o.Name)
		}
	}
	if len(names) == 0 {
		return noop("%s admits %s from every other host", at, s.Allow.User), nil
	}
	e := in.edit(h, in.Self, f, file.Bytes())
	e.Why = fmt.Sprintf("(rules for %s, for the day that it is their upstream)", strings.Join(names, ", "))
	p := Planned{Effects: []effect.Effect{e}}
	if h.Server.Running {
		p.Settles = []Settle{{Host: in.Self.Name, Why: "pg_hba.conf"}}
	}
	return p, nil
}

// hbaFile is the pg_hba.conf that the server reads, or will, and whether ssl is, or
// will be, on.
func hbaFile(ctx context.Context, in In, h *facts.Host) (at string, ssl bool, err error) {
	if h.Server.Running && h.Server.HBAFile != "" {
		return h.Server.HBAFile, h.Server.SSL, nil
	}
	dir := in.Self.Postgres.ConfigDirectory
	tree, _, err := loadTree(ctx, h, in.Self.Postgres.OSUser, path.Join(dir, "postgresql.conf"))
	if err != nil {
		return "", false, err
	}
	auto, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return "", false, err
	}
	value, _, _, _ := tree.Get("ssl")
	if s, ok := conf.Parse(auto.Data).Get("ssl"); ok {
		value = s.Value // ALTER SYSTEM has the last word
	}
	ssl = conf.Kind{Vartype: "bool"}.Equal(value, "on")
	if at, _, _, ok := tree.Get("hba_file"); ok && path.IsAbs(at) {
		return at, ssl, nil
	}
	return path.Join(dir, "pg_hba.conf"), ssl, nil
}
