package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
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
	// Running: ask pg_file_settings and pg_hba_file_rules too.
	Running bool
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
	if !j.Running {
		return nil
	}
	s, err := env.SQL(ctx, name)
	if err != nil {
		return err
	}
	var bad []struct {
		File  string `json:"file"`
		Line  int    `json:"line"`
		Error string `json:"error"`
	}
	// A changed restart-only setting is reported as an error as well, with
	// the same words as a bad value; the -C above has already told them apart.
	const q = `select f.sourcefile as file, f.sourceline as line, f.error
		from pg_file_settings f left join pg_settings s on lower(s.name) = lower(f.name)
		where f.error is not null and s.context is distinct from 'postmaster'
		union all
		select current_setting('hba_file'), line_number, error from pg_hba_file_rules where error is not null`
	if err := s.Query(ctx, &bad, q); err != nil {
		return fmt.Errorf("ask the server about its files: %w", err)
	}
	if len(bad) == 0 {
		return nil
	}
	lines := make([]string, 0, len(bad))
	for _, b := range bad {
		lines = append(lines, fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.Error))
	}
	return fmt.Errorf("the server refuses the file: %s", strings.Join(lines, "; "))
}
