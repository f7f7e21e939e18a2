package steps

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/hba"
)

// HBARule is a rule of pg_hba.conf as a plan says it.
type HBARule struct {
	Type     string `yaml:"type"`     // of connection: host, hostssl, hostnossl, hostgssenc, hostnogssenc
	Database string `yaml:"database"` // a database's name, all, or replication
	User     string `yaml:"user"`     // a role
	Address  string `yaml:"address"`  // of the client: an address, alone or with a mask, or a host's name
	Hosts    string `yaml:"hosts"`    // instead of address: others, for a rule for each other host of the inventory
	Method   string `yaml:"method"`   // default: the strongest the server knows
}

// withdraw takes the rule out that was added for the standby, and no other: one
// that is wider, or spelled in another way, is the administrator's. A rule that
// another host of the inventory needs, at the same address, stays.
func (s *HBA) withdraw(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	w := s.Withdraw
	for _, other := range in.Cluster.Hosts {
		if in.Standby == nil || other == in.Standby || other == in.Self {
			continue
		}
		if sameAddress(other.Address, w.Address) {
			return noop("%s has the same address and needs it", other.Name), nil
		}
	}
	p := h.Server.HBAFile
	if !h.Server.Running {
		p = path.Join(in.Self.Postgres.ConfigDirectory, "pg_hba.conf")
	}
	f, err := h.File(ctx, in.Self.Postgres.OSUser, p)
	if err != nil {
		return Planned{}, err
	}
	if !f.Exists {
		return noop("there is no %s", p), nil
	}
	name, err := hba.Name(w.User)
	if err != nil {
		return Planned{}, fmt.Errorf("pg_hba.conf rule: user: %w", err)
	}
	file := hba.Parse(f.Data)
	removed := 0
	// The type follows sslmode and the method the server's version: either may
	// have been another one when the rule was written.
	for _, typ := range []string{"hostssl", "host"} {
		for _, method := range []string{string(postgres.SCRAMSHA256), string(postgres.MD5)} {
			rule := hba.Rule{Type: typ, Databases: []hba.Token{{Value: w.Database}}, Users: []hba.Token{name}, Address: w.Address, Method: method}
			for file.Remove(rule) {
				removed++
			}
		}
	}
	if removed == 0 {
		return noop("%s has no rule for %s from %s", f.Path, w.User, w.Address), nil
	}
	if bad := hba.Parse(file.Bytes()).Errors(); len(bad) > 0 && h.Server.Running {
		return Planned{}, fault.Refuse(in.Self.Name, "mend the line, then type the same command again",
			fmt.Errorf("%s has a line that PostgreSQL does not understand: %w", f.Path, errors.New(bad[0].Reason)))
	}
	e := in.edit(h, in.Self, f, file.Bytes())
	e.Why = fmt.Sprintf("(-%d rule: %s from %s)", removed, w.User, w.Address)
	out := Planned{Effects: []effect.Effect{e}}
	if h.Server.Running {
		out.Settles = []Settle{{Host: in.Self.Name, Why: "pg_hba.conf"}}
	}
	return out, nil
}

// sameAddress compares a host's address with one of pg_hba.conf that has a prefix.
func sameAddress(address, rule string) bool {
	if address == rule {
		return true
	}
	a, err1 := netip.ParseAddr(address)
	p, err2 := netip.ParsePrefix(rule)
	return err1 == nil && err2 == nil && p.IsSingleIP() && p.Addr() == a
}
