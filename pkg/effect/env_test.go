package effect_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is an effect's way to the hosts of a test.
type env struct {
	hosts    map[string]host.Host
	held     map[string]effect.Held
	sql      map[string]host.SQL
	progress []event.Progress
	warnings []string
	spared   []string // sessions that were left for others, as host/database
	known    effect.Output
}

var _ effect.Env = (*env)(nil)

func newEnv(hosts ...host.Host) *env {
	e := &env{hosts: map[string]host.Host{}, held: map[string]effect.Held{}, sql: map[string]host.SQL{}}
	for _, h := range hosts {
		e.hosts[h.Name()] = h
	}
	return e
}

func (e *env) Host(_ context.Context, name string) (host.Host, error) {
	h, ok := e.hosts[name]
	if !ok {
		return nil, errors.New("no host " + name)
	}
	return h, nil
}

func (e *env) Database(context.Context, string) (host.Database, error) {
	return host.Database{As: "postgres"}, nil
}

func (e *env) SQL(ctx context.Context, name string) (host.SQL, error) {
	if s, ok := e.sql[name]; ok {
		return s, nil
	}
	h, err := e.Host(ctx, name)
	if err != nil {
		return nil, err
	}
	e.sql[name], err = h.SQL(ctx, host.Database{})
	return e.sql[name], err
}

func (e *env) Session(ctx context.Context, name, database string) (host.SQL, error) {
	h, err := e.Host(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := h.SQL(ctx, host.Database{As: "postgres", Name: database})
	if err != nil {
		return nil, effect.NoServer(name, err)
	}
	return s, nil
}

func (e *env) Spare(ctx context.Context, name, database string, s host.SQL) {
	e.spared = append(e.spared, name+"/"+database)
	_ = s.Close(ctx)
}

func (e *env) Hold(key string, h effect.Held) { e.held[key] = h }
func (e *env) TakeHeld(key string) (effect.Held, bool) {
	h, ok := e.held[key]
	delete(e.held, key)
	return h, ok
}
func (e *env) Note(_ context.Context, out effect.Output) error {
	if e.known == nil {
		e.known = effect.Output{}
	}
	maps.Copy(e.known, out)
	return nil
}
func (e *env) Known(key string) (string, bool) { v, ok := e.known[key]; return v, ok }
func (e *env) Progress(p event.Progress)       { e.progress = append(e.progress, p) }
func (e *env) Warn(_, text string)             { e.warnings = append(e.warnings, text) }
func (e *env) Password(context.Context) (secret.Value, error) {
	return secret.New("canary-password"), nil
}
func (e *env) Run() effect.Run { return effect.Run{ID: "run1", Operator: "anna@desk"} }

// emptied is how find is told to empty a directory.
const emptied = " -xdev -mindepth 1 ! -name lost+found ! -path */lost+found/* -delete"

// disk is a host of files and of the two commands that belong to them.
type disk struct{ *hosttest.Script }

func (d disk) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	switch line := c.String(); {
	case c.Argv[0] == "sync", slices.Contains(c.Argv, "pgrepctl-mounts"):
		return nil
	case strings.HasPrefix(line, "find ") && strings.HasSuffix(line, emptied):
		var names []string
		d.Walk(c.Argv[2], func(p string, _ bool, _ string) { names = append(names, p) })
		for i := len(names) - 1; i >= 0; i-- {
			if err := d.Files(c.As).Remove(ctx, names[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return d.Script.Run(ctx, c, stdio)
}

func do(t *testing.T, e effect.Effect, in effect.Env) effect.Output {
	t.Helper()
	out, err := e.Do(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func exit(code int, stderr string) error { return &host.ExitError{Code: code, Stderr: stderr} }
