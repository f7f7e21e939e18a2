package steps

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
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
	// CopyFrom is the host that is copied from, upstream or another: its sshd is proved to be
	// reached, too. Empty: nothing is copied.
	CopyFrom string `yaml:"copy-from"`
	// Restart no: a standby that runs, and would have to be restarted to follow another
	// upstream (before 13), keeps the one that it has.
	Restart string `yaml:"restart"`
}

var _ Step = (*Login)(nil)

// Validate is called when a plan file is read.
func (s *Login) Validate() error { return onlyUpstream("to", s.To) }

// Plan is a noop once the standby is one: then its walreceiver proves it, but for another
// upstream than the one that it follows, and for a channel binding that its conninfo does
// not ask for yet.
func (s *Login) Plan(ctx context.Context, in In) (Planned, error) {
	if s.Anew && in.replaced() {
		return noop("this run has proved it, and brought the new data"), nil
	}
	if !s.Anew {
		done, reason, err := in.seeded(ctx)
		asked := false
		if err == nil && done {
			asked, err = s.asked(ctx, in)
		}
		if err != nil || asked {
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
	p := Planned{Effects: []effect.Effect{&effect.ProveLogin{Host: in.Self.Name, Upstream: up.Name, SystemID: h.Server.SystemID, Login: l}}}
	if s.CopyFrom == "" || in.Self.Relay {
		return p, nil
	}
	self, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	src, sf, err := in.source(ctx, s.CopyFrom)
	if err != nil {
		return Planned{}, err
	}
	p.Effects = append(p.Effects, &effect.ProveSSH{Host: in.Self.Name, As: in.Self.Postgres.OSUser, To: src.Name, Argv: sshOf(self, src, sf), Address: src.Address, KnownHost: knownSource(sf), Dir: self.Machine.TmpFS})
	return p, nil
}

// asked reports whether the standby's conninfo is one by which its walreceiver logs in to
// its upstream of the inventory, with the channel binding that it shall have. If it is not,
// standby-config is about to write another, and a walreceiver that is refused there is
// refused for ever.
func (s *Login) asked(ctx context.Context, in In) (bool, error) {
	up := in.Cluster.Upstream(in.Self)
	h, err := in.self(ctx)
	if err != nil {
		return false, err
	}
	if s.Restart == "no" && h.Server.Running && !h.Server.Version.PrimaryConninfoReloads() {
		return true, nil
	}
	v, err := postgres.ParseVersion(in.Self.Postgres.Version)
	if err != nil {
		return false, fmt.Errorf("version of %s: %w", in.Self.Name, err)
	}
	name := "postgresql.auto.conf"
	if !v.UsesSignalFiles() {
		name = v.RecoveryFile()
	}
	f, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, name))
	if err != nil {
		return false, err
	}
	have, there := conf.Parse(f.Data).Get("primary_conninfo")
	if !there && in.Cluster.Replication.Binding != inventory.BindingRequire {
		return true, nil // it is in a file of somebody else's, if at all
	}
	params, err := postgres.ParseConninfo(have.Value)
	if err != nil {
		return false, nil // it is written anew
	}
	has := func(key, value string) bool { return slices.Contains(params, postgres.Param{Key: key, Value: value}) }
	if there && !(has("host", up.Address) && has("port", strconv.Itoa(up.Postgres.Port))) {
		return false, nil
	}
	// From 16 on require_auth is written too, and asks for nothing more.
	return in.Cluster.Replication.Binding != inventory.BindingRequire || has("channel_binding", "require"), nil
}

// login is how a host logs in to another for replication.
func (in In) login(ctx context.Context, from, up *inventory.Host) (host.Login, error) {
	pw, err := in.Run.Password(ctx)
	if err != nil {
		return host.Login{}, err
	}
	r := in.Cluster.Replication
	l := host.Login{Address: up.Address, Port: up.Postgres.Port, User: r.User, Password: pw, SSLMode: r.SSLMode, Binding: r.Binding}
	if r.SSLRootCert == "" {
		return l, nil
	}
	h, err := in.Facts.Of(ctx, from.Name)
	if err != nil {
		return host.Login{}, err
	}
	files := []string{r.SSLRootCert}
	if r.SSLRootCert == "system" {
		files = systemRoots()
	}
	for _, p := range files {
		f, err := h.File(ctx, from.Postgres.OSUser, p)
		if err != nil {
			return host.Login{}, err
		}
		if f.Exists {
			l.SSLRootCert = f.Data
			return l, nil
		}
	}
	if r.SSLRootCert == "system" {
		return host.Login{}, fault.Refuse(from.Name, "install the package ca-certificates there, then type the same command again",
			fmt.Errorf("sslrootcert is system, and the system has no CA certificates: none of %s is there", strings.Join(files, ", ")))
	}
	return l, nil // the login says so
}

// systemRoots are the files of the CA certificates of a system, which libpq has from OpenSSL:
// of Debian, of the Red Hat family and of SUSE.
func systemRoots() []string {
	return []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"}
}
