package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Judge lets PostgreSQL itself look at an edited configuration, before a
// reload, because pg_reload_conf() returns true for a broken file too: the old
// rules stay in force and the next restart fails.
type Judge struct {
	// Postgres is the postgres binary, ConfigDir the directory for -D:
	// `postgres -C` fails on a value that a start would refuse.
	Postgres  string
	ConfigDir string
	As        string
	// Running: ask the server too, whose version is Version.
	Running bool
	Version postgres.Version
}

func (j *Judge) check(ctx context.Context, env Env, name string) error {
	h, err := env.Host(ctx, name)
	if err != nil {
		return err
	}
	argv := []string{j.Postgres, "-D", j.ConfigDir, "-C", "port"}
	if err := h.Run(ctx, host.Cmd{Argv: argv, As: j.As}, host.Stdio{}); err != nil {
		var exit *host.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("PostgreSQL refuses the file: %s", host.Tail(exit.Stderr, 3))
		}
		return fmt.Errorf("check the configuration: %w", err)
	}
	q, ok := j.Version.ConfigErrorsQuery()
	if !j.Running || !ok {
		return nil
	}
	s, err := env.SQL(ctx, name)
	if err != nil {
		return err
	}
	var bad []facts.ConfigError
	if err := s.Query(ctx, &bad, q); err != nil {
		return fmt.Errorf("ask the server about its files: %w", err)
	}
	if len(bad) == 0 {
		return nil
	}
	lines := make([]string, 0, len(bad))
	for _, b := range bad {
		lines = append(lines, fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.Message))
	}
	return fmt.Errorf("the server refuses the file: %s", strings.Join(lines, "; "))
}
