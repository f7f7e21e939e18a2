package steps

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Login proves access from the standby's host to its upstream before anything
// is copied.
type Login struct {
	To string `yaml:"to"` // upstream
}

var _ Step = (*Login)(nil)

// Validate is called when a plan file is read.
func (s *Login) Validate() error { return onlyUpstream("to", s.To) }

// Plan is a noop once the standby is one: then its walreceiver proves it.
func (*Login) Plan(ctx context.Context, in In) (Planned, error) {
	done, reason, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	if done {
		return noop("%s", reason), nil
	}
	up, h, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	pw, err := in.Run.Password(ctx)
	if err != nil {
		return Planned{}, err
	}
	l := host.Login{Address: up.Address, Port: up.Postgres.Port, User: in.Cluster.Replication.User, Password: pw, SSLMode: in.Cluster.Replication.SSLMode}
	if c := in.Cluster.Replication.SSLRootCert; c != "" && c != "system" {
		self, err := in.self(ctx)
		if err != nil {
			return Planned{}, err
		}
		f, err := self.File(ctx, in.Self.Postgres.OSUser, c)
		if err != nil {
			return Planned{}, err
		}
		l.SSLRootCert = f.Data
	}
	return Planned{Effects: []effect.Effect{&effect.ProveLogin{Host: in.Self.Name, Upstream: up.Name, SystemID: h.Server.SystemID, Login: l}}}, nil
}
