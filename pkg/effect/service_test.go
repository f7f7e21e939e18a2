package effect_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// slowStart is a host whose service manager still looks when the server answers.
type slowStart struct {
	*hosttest.Script
	verdict chan error
}

func (h slowStart) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if c.String() != "ctl start" {
		return h.Script.Run(ctx, c, stdio)
	}
	select {
	case err := <-h.verdict:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func TestAStartIsDoneWhenTheServerAnswersWhateverItsManagerStillDoes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := script(t, call{Do: "connect", Err: host.ErrNoServer}, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "close"})
	in := newEnv(slowStart{s, make(chan error)})
	if _, err := service("start", effect.ExpectStandby).Do(ctx, in); err != nil {
		t.Fatal(err)
	}
	if len(in.spared) != 1 || in.spared[0] != "pg1/postgres" {
		t.Errorf("left for who reads the server: %v", in.spared)
	}
	cancel() // the end of the run ends the waiting for the manager
}

// starting is a host whose server says that it starts, once it has come to that.
type starting struct {
	slowStart
	looks *int
	says  error // of its manager
}

type countedFiles struct {
	host.Files
	starting
}

func (h starting) Files(as string) host.Files { return countedFiles{h.Script.Files(as), h} }

func (f countedFiles) ReadSome(ctx context.Context, p string, limit int64) (host.File, error) {
	if p != "/data/postmaster.pid" {
		return f.Files.ReadSome(ctx, p, limit)
	}
	*f.looks++
	word := "starting\n"
	switch {
	case *f.looks == 1:
		return host.File{}, nil
	case *f.looks <= 4: // it listens, and writes line after line
		word = ""
		if *f.looks == 2 && cap(f.verdict) > 0 {
			f.verdict <- f.says
		}
	case *f.looks == 5: // it moved the lines in between two reads of the file
		word = "5432\nstarting\n"
	case *f.looks > 7:
		word = "ready   \n"
		f.Script.Expect(call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "close"})
	}
	return host.File{Exists: true, Data: []byte("7\n/data\n1790000000\n5432\n/run\n*\n 1 2\n" + word)}, nil
}

func TestAServerThatSaysItStartsIsNotDisturbed(t *testing.T) {
	t.Parallel()
	undisturbed(t, make(chan error), nil)
}

func TestAServerThatStillStartsWhenItsManagerGivesUpIsNotDisturbed(t *testing.T) {
	t.Parallel()
	undisturbed(t, make(chan error, 1), exit(1, "no connection within 30 s"))
}

func TestAServerThatStillStartsWhenItsManagerIsContentIsNotDisturbed(t *testing.T) {
	t.Parallel()
	undisturbed(t, make(chan error, 1), nil)
}

// telling is the start of a server that tells its state in postmaster.pid.
func telling(s *hosttest.Script) *effect.Service {
	s.Put("/data/standby.signal", "postgres", 0o600, "")
	e := service("start", effect.ExpectStandby)
	e.Data, e.DataAs, e.Signal = "/data", "postgres", "standby.signal"
	e.Tells = true
	return e
}

func TestAServerThatWasKilledAsItStartedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s, _ := script(t, call{Do: "run sh -c tail …"}, call{Do: "run tail -n 8 /log"})
	s.Put("/log", "postgres", 0o640, "")
	s.Dir("/data", "postgres", 0o700)
	s.Put("/data/postmaster.pid", "postgres", 0o600, "7\n/data\n1790000000\n5432\n/run\n*\n 1 2\nstarting\n")
	h := slowStart{s, make(chan error, 1)}
	h.verdict <- exit(1, "could not start server")
	_, err := telling(s).Do(t.Context(), newEnv(killed{h}))
	var failed *host.ExitError
	if !errors.As(err, &failed) || failed.Stderr != "could not start server" {
		t.Fatalf("want the manager's error, got %v", err)
	}
}

// killed is such a host with no server on it any more.
type killed struct{ slowStart }

func (killed) SQL(context.Context, host.Database) (host.SQL, error) { return nil, host.ErrNoServer }

// undisturbed starts a server whose manager gives up if it can send a verdict.
func undisturbed(t *testing.T, verdict chan error, says error) {
	t.Helper()
	s, _ := script(t)
	s.Dir("/data", "postgres", 0o700)
	s.Dir("/proc", "root", 0o555)
	s.Dir("/proc/7", "postgres", 0o555)
	e := telling(s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// A session too early is an unexpected call.
	if _, err := e.Do(ctx, newEnv(starting{slowStart{s, verdict}, new(int), says})); err != nil {
		t.Error(err)
	}
}

// down is such a host with no server on it, whose manager fails once that was seen.
type down struct{ slowStart }

func (h down) SQL(context.Context, host.Database) (host.SQL, error) {
	select {
	case h.verdict <- exit(1, "Cluster is disabled"):
	default:
	}
	return nil, host.ErrNoServer
}

func TestAManagerThatFailsEndsTheWaitForAServerThatIsDown(t *testing.T) {
	t.Parallel()
	s, _ := script(t, call{Do: "run sh -c tail …"}, call{Do: "run tail -n 8 /log"})
	s.Put("/log", "postgres", 0o640, "")
	_, err := service("start", effect.ExpectStandby).Do(t.Context(), newEnv(down{slowStart{s, make(chan error)}}))
	var failed *host.ExitError
	if !errors.As(err, &failed) || failed.Stderr != "Cluster is disabled" {
		t.Fatalf("want the manager's error, got %v", err)
	}
}

func TestAServerThatCouldNotBeReachedIsNotTakenForAStartedOne(t *testing.T) {
	t.Parallel()
	lost := errors.New("the connection was lost")
	s, _ := script(t, call{Do: "connect", Err: lost})
	if _, err := service("stop", effect.ExpectStandby).Inverse().Do(t.Context(), newEnv(s)); !errors.Is(err, lost) {
		t.Errorf("the undo of a stop ended with %v", err)
	}
}
