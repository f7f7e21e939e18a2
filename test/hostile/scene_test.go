package hostile

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	pg "github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// scene is a cluster of which both hosts are this machine: pg2 copies the data
// directory of pg1. Nothing but the directories' names is out of the ordinary.
type scene struct {
	host.Host // both
	env
	home     string // of the login user: .ssh/authorized_keys
	port     int    // of sshd
	source   string
	target   string
	settings pg.Settings // of pg1
}

const osUser = "postgres"

// in is what the steps are given.
func (s *scene) in() (steps.In, error) {
	up := &inventory.Host{Name: "pg1", Address: "127.0.0.1", Role: inventory.Primary, SSH: inventory.SSH{Port: s.port},
		Postgres: inventory.Postgres{Version: "15", DataDirectory: s.source, ConfigDirectory: s.source, OSUser: osUser}}
	sb := &inventory.Host{Name: "pg2", Address: "127.0.0.1", Role: inventory.Standby, UpstreamName: "pg1",
		Postgres: inventory.Postgres{Version: "15", DataDirectory: s.target, ConfigDirectory: s.target, OSUser: osUser}}
	machine := facts.Machine{LoginUser: s.User(), LoginHome: s.home, OSUser: osUser, OSUserHome: "/nonexistent", AES: true, Clock: time.Now(), HostKey: s.HostKey(), TmpFS: "/dev/shm"}
	pg1, pg2 := facts.New("pg1", &source{live.New(s.Host, up), s.settings}), facts.New("pg2", &source{live.New(s.Host, sb), s.settings})
	u, err := user.Lookup(osUser)
	if err != nil {
		return steps.In{}, err
	}
	if machine.UID, err = strconv.Atoi(u.Uid); err != nil {
		return steps.In{}, err
	}
	pg1.Machine, pg2.Machine = machine, machine
	pg1.Server = facts.Server{Running: true, Version: pg.MakeVersion(15), SystemID: "1", DataDirectory: s.source}
	pg2.Data = facts.DataDir{Path: s.target, State: facts.Empty}
	key, err := newKey()
	return steps.In{
		Cluster: &inventory.Cluster{Name: "shop", Hosts: []*inventory.Host{up, sb}}, Self: sb, Standby: sb,
		Facts: cast{"pg1": pg1, "pg2": pg2}, Run: &run{key},
	}, err
}

// authorized is what the product would do so that the copy may log in.
func (s *scene) authorized(ctx context.Context, in steps.In) ([]effect.Effect, error) {
	p, err := (&steps.CopyKey{}).Open(ctx, in)
	return p.Effects, err
}

// rsync is how the product would call it for the data directory.
func (s *scene) rsync(ctx context.Context, in steps.In) (*effect.Copy, error) {
	p, err := (&steps.Rsync{}).Plan(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, e := range p.Effects {
		if c, ok := e.(*effect.Copy); ok {
			return c, nil
		}
	}
	return nil, errors.New("no copy was planned: " + p.Noop)
}

func newKey() (steps.Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return steps.Key{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return steps.Key{}, err
	}
	signer, err := ssh.NewPublicKey(public)
	return steps.Key{Public: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer))), Private: secret.New(string(pem.EncodeToMemory(block)))}, err
}

type cast map[string]*facts.Host

func (c cast) Of(_ context.Context, name string) (*facts.Host, error) { return c[name], nil }

// source answers from the real host what a copy depends on.
type source struct {
	live     *live.Gatherer
	settings pg.Settings
}

func (s *source) RsyncServer(ctx context.Context, flags []string, path string) ([]string, error) {
	return s.live.RsyncServer(ctx, flags, path)
}
func (s *source) Settings(context.Context) (pg.Settings, error)        { return s.settings, nil }
func (*source) SetFor(context.Context, string) ([]facts.SetFor, error) { return nil, nil }
func (*source) File(_ context.Context, _, p string) (host.File, error) {
	return host.File{Path: p}, nil
}
func (*source) List(context.Context, string, string) ([]host.Entry, error) { return nil, nil }
func (s *source) ReadLink(ctx context.Context, as, p string) (string, error) {
	return s.live.ReadLink(ctx, as, p)
}
func (*source) Role(_ context.Context, name string) (facts.Role, error) {
	return facts.Role{Name: name}, nil
}
func (*source) Space(context.Context, string, []string) ([]facts.Space, error) { return nil, nil }
func (*source) Access(context.Context, string, []string) ([]facts.Access, error) {
	return nil, nil
}
func (*source) ConfigErrors(context.Context) ([]facts.ConfigError, error) { return nil, nil }
func (*source) ReplicationLogin(context.Context, host.Login) (host.System, error) {
	return host.System{}, errors.New("no step of a copy asks for it")
}

// run is a run with one key.
type run struct{ key steps.Key }

func (*run) ID() string                                     { return "run1" }
func (*run) Operator() string                               { return "anna@desk" }
func (*run) Ended(string) bool                              { return false }
func (*run) Output(string) (string, bool)                   { return "", false }
func (*run) Claimed(string) bool                            { return false }
func (*run) Changed(string) bool                            { return false }
func (*run) Owed(string) []steps.Settle                     { return nil }
func (*run) Password(context.Context) (secret.Value, error) { return secret.Value{}, nil }
func (r *run) CopyKey(int) (steps.Key, error)               { return r.key, nil }
func (*run) Accepted() []string                             { return nil }

// env lets effects act on one host, whatever name they call it by.
type env struct {
	host host.Host
	held *[]effect.Held
}

func (e env) Host(context.Context, string) (host.Host, error) { return e.host, nil }
func (env) Database(context.Context, string) (host.Database, error) {
	return host.Database{}, errors.New("no database")
}
func (env) SQL(context.Context, string) (host.SQL, error) { return nil, errors.New("no database") }
func (env) Session(context.Context, string, string) (host.SQL, error) {
	return nil, errors.New("no database")
}
func (env) Spare(context.Context, string, string, host.SQL) {}
func (e env) Hold(_ string, h effect.Held)                  { *e.held = append(*e.held, h) }
func (env) TakeHeld(string) (effect.Held, bool)             { return nil, false }
func (env) Note(context.Context, effect.Output) error       { return nil }
func (env) Known(string) (string, bool)                     { return "", false }
func (env) Password(context.Context) (secret.Value, error)  { return secret.Value{}, nil }
func (env) Progress(event.Progress)                         {}
func (env) Warn(string, string)                             {}
func (env) Run() effect.Run                                 { return effect.Run{ID: "run1"} }

var _ effect.Env = env{}

// do does effects, and gives back what undoes them, last first.
func (e env) do(ctx context.Context, all []effect.Effect) (undo []effect.Effect, err error) {
	for _, x := range all {
		if inverse := x.Inverse(); inverse != nil {
			undo = append([]effect.Effect{inverse}, undo...)
		}
		if _, err := x.Do(ctx, e); err != nil {
			return undo, fmt.Errorf("%s: %w", x.Describe(), err)
		}
	}
	return undo, nil
}

// letGo ends what is held, as the end of a bracket does before it undoes: each has a
// session of its own, and a connection gives a few.
func (e env) letGo(t testing.TB) {
	t.Helper()
	for _, h := range *e.held {
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	*e.held = nil
}

// must is do for what undoes.
func (e env) must(t testing.TB, all []effect.Effect) {
	t.Helper()
	if _, err := e.do(t.Context(), all); err != nil {
		t.Error(err)
	}
}
