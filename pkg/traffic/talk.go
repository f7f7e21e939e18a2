package traffic

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// Socket asks a unix socket on a balancer's host.
type Socket interface {
	AskSocket(ctx context.Context, as, path, question string) (string, error)
}

// Talk is what HAProxy's stats socket is told and asked. Each command has a connection
// of its own: after a reload one that was kept would still be answered by the process
// that was, which knows nothing of what became of its servers.
type Talk struct {
	Host   Socket
	As     string
	Socket string
}

// Ask gives one command, or several with ; between.
func (t Talk) Ask(ctx context.Context, command string) (string, error) {
	answer, err := t.Host.AskSocket(ctx, t.As, t.Socket, command)
	if err != nil {
		return "", fmt.Errorf("haproxy: %s: %w", command, err)
	}
	return answer, nil
}

// Tell gives a command that answers nothing when it was done.
func (t Talk) Tell(ctx context.Context, command string) error {
	said, err := t.Ask(ctx, command)
	if err != nil {
		return err
	}
	if said = strings.TrimSpace(said); said != "" {
		return fmt.Errorf("haproxy: %s: %s", command, said)
	}
	return nil
}

// Show asks for the servers of a backend.
func (t Talk) Show(ctx context.Context, backend string) ([]facts.Balanced, error) {
	answer, err := t.Ask(ctx, ShowHAProxy(backend))
	if err != nil {
		return nil, err
	}
	return ReadHAProxy(backend, answer)
}
