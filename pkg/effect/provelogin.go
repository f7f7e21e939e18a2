package effect

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// ProveLogin makes a real replication login from the standby's host: only that
// shows that network, pg_hba.conf, role, password and TLS fit together.
type ProveLogin struct {
	Host     string `json:"host"`
	Upstream string `json:"upstream"`
	SystemID string `json:"system_id"`
	// Login holds the password.
	Login host.Login `json:"-"`
}

func (e *ProveLogin) Kind() string    { return "prove-login" }
func (e *ProveLogin) On() string      { return e.Host }
func (e *ProveLogin) Inverse() Effect { return nil }
func (e *ProveLogin) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *ProveLogin) Inert() bool { return true }

func (e *ProveLogin) Describe() Description {
	return Description{Verb: "log in", Subject: "for replication from here to " + e.Upstream,
		Detail: fmt.Sprintf("(%s@%s:%d, sslmode=%s)", e.Login.User, e.Login.Address, e.Login.Port, e.Login.SSLMode)}
}

func (e *ProveLogin) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	sys, err := h.ReplicationLogin(ctx, e.Login)
	if err != nil {
		f := &fault.Error{Class: fault.Auth, Host: e.Host, Op: "log in for replication to " + e.Upstream, Err: err,
			State: "nothing was copied yet",
			Hint:  "the server log of " + e.Upstream + " says why; a rule for this address must stand in pg_hba.conf before any that rejects it"}
		if errors.Is(err, host.ErrNoServer) {
			f.Class = fault.Unreachable
			f.Hint = fmt.Sprintf("the server of %s does not listen on %s:%d: see listen_addresses there (a change needs a restart)", e.Upstream, e.Login.Address, e.Login.Port)
		}
		return nil, f
	}
	if sys.ID != e.SystemID {
		return nil, fault.Refuse(e.Host, "check the address of "+e.Upstream+" in the inventory",
			fmt.Errorf("%s:%d, seen from here, is another server: system identifier %s, expected %s", e.Login.Address, e.Login.Port, sys.ID, e.SystemID))
	}
	return nil, nil
}
