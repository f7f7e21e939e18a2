package effect

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// answers tells whether a server listens. Any refusal comes from a server too: one
// that starts up, say. An error is of the way there, and says nothing of the server.
func answers(ctx context.Context, env Env, name string) (bool, error) {
	s, err := session(ctx, env, name, false)
	return listens(ctx, s, err)
}

// listens is what an attempt to open a session tells of the server.
func listens(ctx context.Context, s host.SQL, err error) (bool, error) {
	var refused *host.SQLError
	switch {
	case err == nil:
		_ = s.Close(ctx)
		return true, nil
	case errors.Is(err, host.ErrNoServer):
		return false, nil
	case errors.As(err, &refused):
		return true, nil
	}
	return false, err
}

// settled tells the same once it is certain. A stop that nobody waited for, because its tool
// died, or pg_ctl gave up, goes on: the server that refuses sessions meanwhile will be gone.
func (e *Service) settled(ctx context.Context, env Env, h host.Host) (up bool, err error) {
	var last error
	err = pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		s, err := session(ctx, env, e.Host, false)
		if host.SQLState(err) == postgres.CannotConnectNow && !e.takesNone(ctx, h) {
			last = err // it starts up, or shuts down
			return false, e.recovering(ctx, h), nil
		}
		up, err = listens(ctx, s, err)
		return err == nil, "", err
	}, func() error {
		return e.explain(ctx, h, fmt.Errorf("for %s it neither took sessions nor ended: %w", e.Timeout, last), nil)
	})
	return up, err
}
