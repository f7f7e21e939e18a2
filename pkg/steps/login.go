package steps

import (
	"context"
	"path"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
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

// Plan is a noop once the standby is one: then its walreceiver proves it, but for a
// channel binding that its conninfo does not ask for yet.
func (s *Login) Plan(ctx context.Context, in In) (Planned, error) {
	if s.Anew && in.replaced() {
		return noop("this run has proved it, and brought the new data"), nil
	}
	if !s.Anew {
		done, reason, err := in.seeded(ctx)
		bound := false
		if err == nil && done {
			bound, err = in.bound(ctx)
		}
		if err != nil || bound {
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

// bound reports whether the standby's conninfo asks for the channel binding that it
// shall have. If it does not, standby-config is about to write it, and a walreceiver
// that cannot be bound is refused for ever.
func (in In) bound(ctx context.Context) (bool, error) {
	if in.Cluster.Replication.Binding != inventory.BindingRequire {
		return true, nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return false, err
	}
	f, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return false, err
	}
	have, _ := conf.Parse(f.Data).Get("primary_conninfo")
	params, err := postgres.ParseConninfo(have.Value)
	if err != nil {
		return false, nil // it is written anew
	}
	// From 16 on require_auth is written too, and asks for nothing more.
	return slices.Contains(params, postgres.Param{Key: "channel_binding", Value: "require"}), nil
}

// login is how a host logs in to another for replication.
func (in In) login(ctx context.Context, from, up *inventory.Host) (host.Login, error) {
	pw, err := in.Run.Password(ctx)
	if err != nil {
		return host.Login{}, err
	}
	r := in.Cluster.Replication
	l := host.Login{Address: up.Address, Port: up.Postgres.Port, User: r.User, Password: pw, SSLMode: r.SSLMode, Binding: r.Binding}
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
