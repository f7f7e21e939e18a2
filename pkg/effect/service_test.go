package effect_test

import (
	"context"
	"errors"
	"io/fs"
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
	h := slowStart{s, make(chan error)}
	if _, err := service("start", effect.ExpectStandby).Do(ctx, newEnv(h)); err != nil {
		t.Fatal(err)
	}
	cancel() // the end of the run ends the waiting for the manager
}

// starting is a host whose server says that it starts, once it has come to that.
type starting struct {
	slowStart
	looks *int
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
		return host.File{}, fs.ErrNotExist
	case *f.looks == 2:
		word = "" // it writes line after line
	case *f.looks > 4:
		word = "ready   \n"
		f.Script.Expect(call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "close"})
	}
	return host.File{Data: []byte("7\n/data\n1790000000\n5432\n/run\n*\n 1 2\n" + word)}, nil
}

func TestAServerThatSaysItStartsIsNotDisturbed(t *testing.T) {
	t.Parallel()
	s, _ := script(t)
	s.Dir("/data", "postgres", 0o700)
	s.Put("/data/standby.signal", "postgres", 0o600, "")
	e := service("start", effect.ExpectStandby)
	e.Data, e.DataAs, e.Signal = "/data", "postgres", "standby.signal"
	e.Tells = true
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// A session too early is an unexpected call.
	if _, err := e.Do(ctx, newEnv(starting{slowStart{s, make(chan error)}, new(int)})); err != nil {
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
