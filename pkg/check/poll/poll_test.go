package poll

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
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

// open is a host whose files can be read.
type open struct{ host.Host }

func (o open) Dial(context.Context, string) (host.Host, error) { return o.Host, nil }
func (o open) Forgive(string)                                  {}

func TestAHostIsKeptOutByAnyOfItsFiles(t *testing.T) {
	t.Parallel()
	fs := hosttest.NewFS("/run")
	h := New(open{hosttest.NewScript(t, "pg2", fs)}, "shop", &inventory.Host{Name: "pg2", Postgres: inventory.Postgres{OSUser: "postgres"}}, time.Now)
	m := check.Member{Name: "pg2", Files: []string{"/run/a", "/run/b"}}
	if out, err := h.KeptOut(t.Context(), m); out || err != nil {
		t.Errorf("without a file: %t, %v", out, err)
	}
	fs.Put("/run/b", "postgres", 0o644, strings.Repeat("long\n", 10000))
	if out, err := h.KeptOut(t.Context(), m); !out || err != nil {
		t.Errorf("with one: %t, %v", out, err)
	}
	// What is in it, and what it is, does not count.
	for name, put := range map[string]func(*hosttest.FS){
		"not to be read": func(fs *hosttest.FS) { fs.Put("/run/a", "root", 0o600, "") },
		"a directory":    func(fs *hosttest.FS) { fs.Dir("/run/a", "root", 0o700) },
	} {
		fs := hosttest.NewFS("/run")
		put(fs)
		h := New(open{hosttest.NewScript(t, "pg2", fs)}, "shop", &inventory.Host{Name: "pg2", Postgres: inventory.Postgres{OSUser: "postgres"}}, time.Now)
		if out, err := h.KeptOut(t.Context(), m); !out || err != nil {
			t.Errorf("%s: %t, %v", name, out, err)
		}
	}
	// Who has none asks for nothing.
	d := &door{err: errors.New("nobody is there")}
	if out, err := New(d, "shop", &inventory.Host{Name: "pg1"}, time.Now).KeptOut(t.Context(), check.Member{Name: "pg1"}); out || err != nil || d.dialed > 0 {
		t.Errorf("%t, %v, dialed %d times", out, err, d.dialed)
	}
}

// partly is a host one of whose directories may not be looked into.
type partly struct {
	host.Host
	dir string
}

func (p partly) Files(as string) host.Files { return partlyFiles{p.Host.Files(as), p.dir} }

type partlyFiles struct {
	host.Files
	dir string
}

func (f partlyFiles) Stat(ctx context.Context, p string) (host.Entry, error) {
	if strings.HasPrefix(p, f.dir) {
		return host.Entry{}, fs.ErrPermission
	}
	return f.Files.Stat(ctx, p)
}

func TestAFileThatIsThereDecidesWhateverIsWithTheOthers(t *testing.T) {
	t.Parallel()
	files := hosttest.NewFS("/run", "/root")
	h := New(open{partly{hosttest.NewScript(t, "pg2", files), "/root"}}, "shop", &inventory.Host{Name: "pg2", Postgres: inventory.Postgres{OSUser: "postgres"}}, time.Now)
	m := check.Member{Name: "pg2", Files: []string{"/root/a", "/run/b"}}
	if out, err := h.KeptOut(t.Context(), m); out || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without the other: %t, %v", out, err)
	}
	files.Put("/run/b", "postgres", 0o644, "")
	if out, err := h.KeptOut(t.Context(), m); !out || err != nil {
		t.Errorf("with it: %t, %v", out, err)
	}
}

// far is a host to which it takes a while to connect.
type far struct {
	door
	now  *time.Time
	took time.Duration
}

func (f *far) Dial(ctx context.Context, name string) (host.Host, error) {
	*f.now = f.now.Add(f.took)
	return f.door.Dial(ctx, name)
}

func TestALookSaysWhenItBeganAndWhenItWasAnswered(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)
	now := began
	h := New(&far{door{err: errors.New("no route to host")}, &now, 2500 * time.Millisecond}, "shop", &inventory.Host{Name: "pg1"}, func() time.Time { return now })
	if o := h.Look(t.Context()); o.At != began || o.Answered != began.Add(2500*time.Millisecond) {
		t.Errorf("asked at %s, answered at %s", o.At, o.Answered)
	}
}

// stuck is a host whose files give no answer. It tells when they are asked.
type stuck struct {
	host.Host
	asked chan struct{}
}

func (s stuck) Files(as string) host.Files { return stuckFiles{s.Host.Files(as), s.asked} }

type stuckFiles struct {
	host.Files
	asked chan struct{}
}

func (f stuckFiles) Stat(ctx context.Context, _ string) (host.Entry, error) {
	f.asked <- struct{}{}
	<-ctx.Done()
	return host.Entry{}, ctx.Err()
}

func TestAHostIsLookedAtWhileItsFilesHang(t *testing.T) {
	t.Parallel()
	lost := hosttest.Call{Do: "run …", Err: errors.New("connection lost")}
	asked := make(chan struct{})
	h := New(open{stuck{hosttest.NewScript(t, "pg2", hosttest.NewFS("/run"), lost), asked}}, "shop", &inventory.Host{Name: "pg2", Postgres: inventory.Postgres{OSUser: "postgres"}}, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := h.KeptOut(ctx, check.Member{Name: "pg2", Files: []string{"/run/a"}})
		ended <- err
	}()
	<-asked
	if o := h.Look(t.Context()); !strings.Contains(o.Err, "connection lost") {
		t.Errorf("%+v", o)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
