package effect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// TestAHealthFileIsNotMadeWhenTheOthersServeNobodyByThen: what the drain was planned from
// may be old. A standby that cannot be asked does not count.
func TestAHealthFileIsNotMadeWhenTheOthersServeNobodyByThen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file    bool
		asked   []hosttest.Call // of the other's server
		least   int
		refused bool
	}{
		"the other serves":           {false, answering(), 1, false},
		"the other has it":           {true, nil, 1, true},
		"the other's server is down": {false, []hosttest.Call{{Do: "connect", Err: host.ErrNoServer}}, 1, true},
		"the other's server hangs":   {false, []hosttest.Call{{Do: "connect"}, {Do: "exec select 1", Err: context.DeadlineExceeded}}, 1, true},
		"two others must serve":      {false, answering(), 2, true},
		"nobody has to serve then":   {true, nil, 0, false},
	} {
		mine, other := hosttest.NewFS("/run"), hosttest.NewFS("/run")
		if c.file {
			other.Put("/run/drained", "postgres", 0o644, "by hand\n")
		}
		in := newEnv(hosttest.NewScript(t, "pg2", mine), hosttest.NewScript(t, "pg3", other, c.asked...))
		e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n", Others: map[string]string{"pg3": "postgres", "pg4": "postgres"}, Least: c.least}
		_, err := e.Do(t.Context(), in)
		if refused := fault.ClassOf(err) == fault.Refused && errors.Is(err, effect.ErrUntouched); refused != c.refused || !refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if mine.Has("/run/drained") == c.refused {
			t.Errorf("%s: the file is there: %t", name, !c.refused)
		}
	}
}

// A tool that was killed while it made the file has left another one beside it.
func TestAHealthFileThatWasHalfMadeIsSweptByTheNextTryAndByTheUndo(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]bool{"the next try": false, "the undo": true} {
		fs := hosttest.NewFS("/run")
		fs.Put("/run/.drained.pgrepctl-ABC", "postgres", 0o600, "")
		fs.Put("/run/.other", "postgres", 0o600, "")
		e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n", Serve: serve}
		if _, err := e.Do(t.Context(), newEnv(hosttest.NewScript(t, "pg2", fs))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if fs.Has("/run/.drained.pgrepctl-ABC") || !fs.Has("/run/.other") || fs.Has("/run/drained") == serve {
			t.Errorf("%s: half-made: %t, other: %t, made: %t", name, fs.Has("/run/.drained.pgrepctl-ABC"), fs.Has("/run/.other"), fs.Has("/run/drained"))
		}
	}
}

// answering is a server that is asked whether it is there.
func answering() []hosttest.Call {
	return []hosttest.Call{{Do: "connect"}, {Do: "exec select 1"}}
}

// renewed is an env whose first session on every server was lost.
type renewed struct {
	*env
	old host.SQL
}

func (r *renewed) SQL(ctx context.Context, name string) (host.SQL, error) {
	if s := r.old; s != nil {
		r.old = nil
		return s, nil
	}
	return r.env.SQL(ctx, name)
}

// TestAServerThatWasStartedAnewServes though the session from before is gone.
func TestAServerThatWasStartedAnewServes(t *testing.T) {
	t.Parallel()
	before := hosttest.NewScript(t, "pg3", hosttest.NewFS(), hosttest.Call{Do: "connect"}, hosttest.Call{Do: "exec select 1", Err: errors.New("the connection is lost")})
	old, err := before.SQL(t.Context(), host.Database{})
	if err != nil {
		t.Fatal(err)
	}
	close(before.Lose)
	in := &renewed{newEnv(hosttest.NewScript(t, "pg2", hosttest.NewFS("/run")), hosttest.NewScript(t, "pg3", hosttest.NewFS("/run"), answering()...)), old}
	do(t, &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Others: map[string]string{"pg3": "postgres"}, Least: 1}, in)
}

// TestTheInverseOfAHealthFileAsksNobody: reads are let in, whoever else serves.
func TestTheInverseOfAHealthFileAsksNobody(t *testing.T) {
	t.Parallel()
	fs := hosttest.NewFS("/run")
	fs.Put("/run/drained", "postgres", 0o644, "run1\n")
	e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n", Others: map[string]string{"pg3": "postgres"}, Least: 1}
	do(t, e.Inverse(), newEnv(hosttest.NewScript(t, "pg2", fs)))
	if fs.Has("/run/drained") {
		t.Error("the file is there")
	}
}

func TestTheWaitForACheckEndsWithItsTimeOrTheRun(t *testing.T) {
	t.Parallel()
	e := &effect.AwaitCheck{Host: "pg2", Path: "/run/drained", For: time.Millisecond}
	do(t, e, newEnv())
	why := errors.New("stopped by the operator")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(why)
	e.For = time.Hour
	if _, err := e.Do(ctx, newEnv()); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if d := e.Describe().String(); !strings.Contains(d, "1h0m0s") || !strings.Contains(d, "/run/drained") {
		t.Errorf("it is shown as %q", d)
	}
}

// Everybody may make a name in /tmp, and the OS user of the database may write where
// another one may not.
func TestAHealthFileIsNotWrittenThroughASymlink(t *testing.T) {
	t.Parallel()
	const link, target = "/tmp/drained", "/var/lib/postgresql/15/main/PG_VERSION"
	for name, there := range map[string]bool{"to a file": true, "to nothing": false} {
		fs := hosttest.NewFS("/tmp", "/var/lib/postgresql/15/main")
		if there {
			fs.Put(target, "postgres", 0o600, "15\n")
		}
		if err := fs.Files("").Symlink(t.Context(), target, link); err != nil {
			t.Fatal(err)
		}
		start := fs.Dump("/")
		e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: link, Text: "run1\n"}
		_, err := e.Do(t.Context(), newEnv(hosttest.NewScript(t, "pg2", fs)))
		if fault.ClassOf(err) != fault.Refused || !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), "/tmp/drained: ") {
			t.Errorf("%s: %v", name, err)
		}
		if now := fs.Dump("/"); now != start {
			t.Errorf("%s: it was written:\n%s", name, now)
		}
	}
}

// One that is made in the moment between the look and the write is replaced, and not followed.
func TestASymlinkThatComesBetweenIsNotFollowed(t *testing.T) {
	t.Parallel()
	const link, target = "/tmp/drained", "/var/lib/postgresql/15/main/PG_VERSION"
	fs := hosttest.NewFS("/tmp")
	fs.Put(target, "postgres", 0o600, "15\n")
	made := false
	fs.OnChange(func(string, bool) error {
		if made {
			return nil
		}
		made = true
		return fs.Files("").Symlink(t.Context(), target, link)
	})
	do(t, &effect.HealthFile{Host: "pg2", As: "postgres", Path: link, Text: "run1\n"}, newEnv(hosttest.NewScript(t, "pg2", fs)))
	if got, _ := fs.Get(target); got != "15\n" {
		t.Errorf("the file that it led to has %q", got)
	}
	if got, _ := fs.Get(link); got != "run1\n" {
		t.Errorf("the health file has %q", got)
	}
}

// A tool that is killed, or a rename that is not allowed, leaves nothing behind for long.
func TestAHealthFileThatBrokeOffAnywhereIsTakenBack(t *testing.T) {
	t.Parallel()
	for k, more := 1, true; more; k++ {
		fs := hosttest.NewFS("/run")
		start, n, broken := fs.Dump("/"), 0, errors.New("connection lost")
		fs.OnChange(func(string, bool) error {
			if n++; n >= k {
				return broken
			}
			return nil
		})
		e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n"}
		in := newEnv(hosttest.NewScript(t, "pg2", fs))
		_, err := e.Do(t.Context(), in)
		more = err != nil
		fs.OnChange(nil)
		do(t, e.Inverse(), in)
		if now := fs.Dump("/"); now != start {
			t.Errorf("broken off at %d, it left:\n%s", k, now)
		}
	}
}

// The file beside is written by way of another one beside that.
func TestWhatTheWritingOfAHealthFileHasLeftIsSwept(t *testing.T) {
	t.Parallel()
	fs := hosttest.NewFS()
	fs.Dir("/run", "postgres", 0o755)
	start := fs.Dump("/")
	fs.Put("/run/.drained.pgrepctl-A", "postgres", 0o644, "run1\n")
	fs.Put("/run/..drained.pgrepctl-A.pgrepctl-B", "postgres", 0o600, "ru")
	e := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n"}
	do(t, e.Inverse(), newEnv(hosttest.NewScript(t, "pg2", fs)))
	if now := fs.Dump("/"); now != start {
		t.Errorf("it left:\n%s", now)
	}
}
