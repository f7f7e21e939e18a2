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
	h := slowStart{s, make(chan error)}
	if _, err := service("start", effect.ExpectStandby).Do(ctx, newEnv(h)); err != nil {
		t.Fatal(err)
	}
	cancel() // the end of the run ends the waiting for the manager
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
