package steps

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Login proves access from the standby's host to its upstream before anything
// is copied.
type Login struct {
	To string `yaml:"to"` // upstream
	// Anew: also of a standby whose data are about to be replaced.
	Anew bool `yaml:"anew"`
}

var _ Step = (*Login)(nil)

// Validate is called when a plan file is read.
func (s *Login) Validate() error { return onlyUpstream("to", s.To) }

// Plan is a noop once the standby is one: then its walreceiver proves it.
func (s *Login) Plan(ctx context.Context, in In) (Planned, error) {
	if s.Anew && in.replaced() {
		return noop("this run has proved it, and brought the new data"), nil
	}
	if !s.Anew {
		if done, reason, err := in.seeded(ctx); err != nil || done {
			return noop("%s", reason), err
		}
	}
	up, h, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	l, err := in.login(ctx, in.Self, up)
	if err != nil {
		return Planned{}, err
	}
	return Planned{Effects: []effect.Effect{&effect.ProveLogin{Host: in.Self.Name, Upstream: up.Name, SystemID: h.Server.SystemID, Login: l}}}, nil
}

// login is how a host logs in to another for replication.
func (in In) login(ctx context.Context, from, up *inventory.Host) (host.Login, error) {
	pw, err := in.Run.Password(ctx)
	if err != nil {
		return host.Login{}, err
	}
	r := in.Cluster.Replication
	l := host.Login{Address: up.Address, Port: up.Postgres.Port, User: r.User, Password: pw, SSLMode: r.SSLMode}
	if r.SSLRootCert == "" || r.SSLRootCert == "system" {
		return l, nil
	}
	h, err := in.Facts.Of(ctx, from.Name)
	if err != nil {
		return host.Login{}, err
	}
	f, err := h.File(ctx, from.Postgres.OSUser, r.SSLRootCert)
	l.SSLRootCert = f.Data
	return l, err
}
