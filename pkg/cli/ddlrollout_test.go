package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// doors are hosts by their names; one that is not among them does not answer.
type doors map[string]host.Host

func (d doors) Dial(_ context.Context, name string) (host.Host, error) {
	if h, ok := d[name]; ok {
		return h, nil
	}
	return nil, &fault.Error{Class: fault.Unreachable, Host: name, Op: "connect", Err: errors.New("no route to host")}
}

// unlooked is a host whose files cannot be looked for.
type unlooked struct {
	host.Host
	err error
}

func (u unlooked) Files(string) host.Files { return blindFiles{err: u.err} }

type blindFiles struct {
	host.Files
	err error
}

func (f blindFiles) Stat(context.Context, string) (host.Entry, error) { return host.Entry{}, f.err }

func TestARolloutIsRefusedWhereAHealthFileCannotBeLookedFor(t *testing.T) {
	t.Parallel()
	serves, drained := hosttest.NewFS("/run"), hosttest.NewFS("/run")
	drained.Put("/run/out", "root", 0o600, "")
	d := doors{"pg2": hosttest.NewScript(t, "pg2", serves), "pg3": hosttest.NewScript(t, "pg3", drained)}
	var standbys []*inventory.Host
	for _, name := range []string{"pg2", "pg3", "pg4"} {
		standbys = append(standbys, &inventory.Host{Name: name, Role: inventory.Standby, Postgres: inventory.Postgres{OSUser: "postgres"}})
	}
	// pg4 does not answer.
	if out, err := keptOut(t.Context(), d, standbys, "/run/out"); !slices.Equal(out, []string{"pg3"}) || err != nil {
		t.Errorf("%v, %v", out, err)
	}
	d["pg4"] = unlooked{err: &fault.Error{Class: fault.Unreachable, Host: "pg4", Err: errors.New("connection lost")}}
	if _, err := keptOut(t.Context(), d, standbys, "/run/out"); err != nil {
		t.Errorf("lost meanwhile: %v", err)
	}
	d["pg4"] = unlooked{err: errors.New("stat /run/out: permission denied")}
	_, err := keptOut(t.Context(), d, standbys, "/run/out")
	if fault.ClassOf(err) != fault.Refused || !strings.HasPrefix(err.Error(), "pg4: whether /run/out keeps reads away from it cannot be told: ") {
		t.Errorf("%v", err)
	}
}
