package poll

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// door refuses everybody, and counts.
type door struct {
	dialed, forgiven int
	err              error
}

func (d *door) Dial(context.Context, string) (host.Host, error) {
	d.dialed++
	return nil, d.err
}
func (d *door) Forgive(string) { d.forgiven++ }

func TestARefusedLoginIsForgivenOnceAMinute(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)
	d := &door{err: &fault.Error{Class: fault.Auth, Host: "pg2", Op: "connect", Err: errors.New("no key was taken")}}
	h := New(d, "shop", &inventory.Host{Name: "pg2"}, func() time.Time { return now })
	for range 125 { // of two seconds each
		o := h.Look(t.Context())
		if !o.Refused || o.Err != "connect: no key was taken" || o.Host != "pg2" || o.At != now {
			t.Fatalf("%+v", o)
		}
		now = now.Add(2 * time.Second)
	}
	if d.dialed != 125 || d.forgiven != 4 {
		t.Errorf("in four minutes: dialed %d times, forgiven %d times", d.dialed, d.forgiven)
	}
	// A host that is away has not refused anybody.
	d.err = &fault.Error{Class: fault.Unreachable, Host: "pg2", Err: errors.New("no route to host")}
	h = New(d, "shop", &inventory.Host{Name: "pg2"}, func() time.Time { return now })
	d.forgiven = 0
	for range 125 {
		if o := h.Look(t.Context()); o.Refused || o.Err != "no route to host" {
			t.Fatalf("%+v", o)
		}
		now = now.Add(2 * time.Second)
	}
	if d.forgiven != 0 {
		t.Errorf("forgiven %d times what was not refused", d.forgiven)
	}
}

// runner answers programs by their names; others are not there.
type runner map[string]string

func (r runner) Run(_ context.Context, c host.Cmd, out host.Stdio) error {
	text, ok := r[c.Argv[0]]
	if !ok {
		return &host.ExitError{Cmd: c, Code: 127}
	}
	_, err := out.Out.Write([]byte(text))
	return err
}

func TestAHomeIsFoundOnSmallSystemsToo(t *testing.T) {
	t.Parallel()
	const entry = "postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n"
	for name, r := range map[string]runner{"getent": {"getent": entry}, "awk": {"awk": entry}} {
		if got, err := home(t.Context(), r, "postgres"); got != "/var/lib/postgresql" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, r := range map[string]runner{"nothing": {}, "no entry": {"getent": ""}, "no path": {"getent": "postgres:x:1:1::home:/bin/sh"}} {
		if got, err := home(t.Context(), r, "postgres"); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}
