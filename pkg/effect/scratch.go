package effect

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// CreateScratch makes an empty database that sorts as another one does, for this run
// alone. It is done under the cluster lock: what has such a name already belongs to a run
// that died, and is dropped.
type CreateScratch struct {
	Host string `json:"host"`
	Name string `json:"name"`
	Like string `json:"like"`
}

func (e *CreateScratch) Kind() string  { return "create-scratch" }
func (e *CreateScratch) On() string    { return e.Host }
func (e *CreateScratch) Predict(World) {}

// Inert: no step asks for anything that it changes.
func (e *CreateScratch) Inert() bool { return true }

func (e *CreateScratch) Describe() Description {
	return Description{Verb: "create", Subject: "a scratch database", Detail: "(that sorts as " + e.Like + " does; dropped at the end, and so is what a dead run has left of the kind)"}
}

func (e *CreateScratch) Inverse() Effect {
	drop, err := postgres.DropDatabase(e.Name)
	if err != nil {
		return nil // nor could it be made
	}
	return &SQL{Host: e.Host, Verb: "drop", What: "the scratch database", Statements: drop}
}

func (e *CreateScratch) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var rows []postgres.Locale
	if err := s.Query(ctx, &rows, postgres.DatabaseLike, e.Like); err != nil {
		return nil, fmt.Errorf("look at database %s: %w", e.Like, err)
	}
	if len(rows) == 0 {
		return nil, untouched{fault.Refuse(e.Host, "name another one with --database", fmt.Errorf("it has no database %q", e.Like))}
	}
	create, err := postgres.CreateDatabase(e.Name, rows[0])
	if err != nil {
		return nil, untouched{err}
	}
	if err := e.sweep(ctx, env, s); err != nil {
		return nil, err
	}
	if err := s.Exec(ctx, create); err != nil {
		return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "create a scratch database", Err: err, Hint: "check without --probe"}
	}
	return nil, nil
}

// sweep drops what runs that died have left.
func (e *CreateScratch) sweep(ctx context.Context, env Env, s host.SQL) error {
	var left []struct {
		Name string `json:"name"`
	}
	if err := s.Query(ctx, &left, postgres.ScratchDatabases); err != nil {
		return fmt.Errorf("look for scratch databases: %w", err)
	}
	for _, l := range left {
		drop, err := postgres.DropDatabase(l.Name)
		if err != nil {
			return err
		}
		for _, q := range drop {
			if err := s.Exec(ctx, q); err != nil {
				return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "drop database " + l.Name, Err: err, Hint: "it is of a run that died; drop it by hand"}
			}
		}
		if l.Name != e.Name {
			env.Warn(e.Host, "dropped database "+l.Name+", which a run that died has left")
		}
	}
	return nil
}

// CopySchema fills the scratch database with the schema of another one, without rows: by
// pg_dump and psql, on the host, as the server's OS user. It goes with the database.
type CopySchema struct {
	Host string `json:"host"`
	As   string `json:"as"`
	From string `json:"from"`
	To   string `json:"to"`
	// PGDump and PSQL are the programs: the server's own, or newer ones.
	PGDump  string           `json:"pg_dump"`
	PSQL    string           `json:"psql"`
	Version postgres.Version `json:"version"`
}

//go:embed copyschema.sh
var copySchemaScript string

func (e *CopySchema) Kind() string    { return "copy-schema" }
func (e *CopySchema) On() string      { return e.Host }
func (e *CopySchema) Inverse() Effect { return nil }
func (e *CopySchema) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *CopySchema) Inert() bool { return true }

func (e *CopySchema) Describe() Description {
	return Description{Verb: "copy", Subject: "the schema of " + e.From + " into it", Detail: "(pg_dump --schema-only: no rows; it reads the catalog and locks nobody out)"}
}

func (e *CopySchema) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	db, err := env.Database(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	from, err := conninfo(db, e.From)
	if err != nil {
		return nil, err
	}
	to, err := conninfo(db, e.To)
	if err != nil {
		return nil, err
	}
	argv := []string{"/bin/sh", "-c", copySchemaScript, "pgrepctl-copy-schema", e.PGDump, e.PSQL, from, to}
	if e.Version.AtLeast(10) {
		// A subscription would keep the database from being dropped.
		argv = append(argv, "--no-subscriptions")
	}
	err = h.Run(ctx, host.Cmd{Argv: argv, As: e.As, Leash: true}, host.Stdio{})
	var exit *host.ExitError
	if errors.As(err, &exit) {
		return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "copy the schema of " + e.From, Err: errors.New("pg_dump or psql failed"), Stderr: host.Tail(exit.Stderr, 5), Hint: "check without --probe"}
	}
	if err != nil {
		return nil, fmt.Errorf("copy the schema of %s: %w", e.From, err)
	}
	return nil, nil
}

// conninfo is a connection string to a database through the server's socket. A name that
// has an equals sign would be taken for one.
func conninfo(db host.Database, name string) (string, error) {
	user := db.User
	if user == "" {
		user = db.As
	}
	return postgres.Conninfo([]postgres.Param{{Key: "host", Value: db.SocketDir}, {Key: "port", Value: strconv.Itoa(db.Port)},
		{Key: "user", Value: user}, {Key: "dbname", Value: name}, {Key: "application_name", Value: strings.TrimSpace(db.Application)}})
}
