package effect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// EmptyDirectory removes what a copy brought into a directory that the journal
// says was empty before. No step plans it: it exists only as an inverse.
type EmptyDirectory struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"`
	// WAL is where its pg_wal leads to, if that is elsewhere; it goes with it.
	WAL string `json:"wal,omitempty"`
}

func (e *EmptyDirectory) Kind() string    { return "empty-directory" }
func (e *EmptyDirectory) On() string      { return e.Host }
func (e *EmptyDirectory) Inverse() Effect { return nil }
func (e *EmptyDirectory) Predict(World)   {}
func (e *EmptyDirectory) Describe() Description {
	return Description{Verb: "empty", Subject: e.Path, Detail: "which this run filled, and which was empty before"}
}

func (e *EmptyDirectory) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if full, err := e.full(ctx, h, e.Path); err != nil {
		return nil, err
	} else if full {
		if err := e.emptyData(ctx, h); err != nil {
			return nil, err
		}
	}
	if e.WAL == "" {
		return nil, nil
	}
	if full, err := e.full(ctx, h, e.WAL); err != nil || !full {
		return nil, err
	}
	return nil, e.empty(ctx, h, e.WAL)
}

// LostFound is a directory at the top of a file system, and belongs to that: root's, whom
// nobody else may read. It is left alone, whoever owns it.
const LostFound = "lost+found"

// full reports whether something is in a directory.
func (e *EmptyDirectory) full(ctx context.Context, h host.Host, dir string) (bool, error) {
	names, err := h.Files(e.As).List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // the directory itself was taken back already
	}
	if err != nil {
		return false, fmt.Errorf("list %s: %w", dir, err)
	}
	return slices.ContainsFunc(names, func(n host.Entry) bool { return n.Name != LostFound }), nil
}

func (e *EmptyDirectory) emptyData(ctx context.Context, h host.Host) error {
	if err := e.refuseServer(ctx, h, "empty"); err != nil {
		return err
	}
	// A promoted server has none of these any more (recovery.conf before 12), and
	// data of its own.
	var there [3]bool
	for i, name := range []string{postgres.ControlFile, "standby.signal", "recovery.conf"} {
		var err error
		if there[i], err = host.Exists(ctx, h.Files(e.As), path.Join(e.Path, name)); err != nil {
			return fmt.Errorf("look at %s: %w", name, err)
		}
	}
	if there[0] && !there[1] && !there[2] {
		return fault.Refuse(e.Host, "save what nobody else has, move "+e.Path+" away, then type the same command again",
			fmt.Errorf("empty %s: it holds a server that is no standby any more", e.Path))
	}
	return e.empty(ctx, h, e.Path)
}

func (e *EmptyDirectory) empty(ctx context.Context, h host.Host, dir string) error {
	// Leashed: a find that outlives us would delete what a resume copies.
	// -H: the data directory may be behind a symlink, which find would remove or
	// leave, and not follow. -xdev: a file system mounted inside is not ours to empty.
	// -delete has find look into each directory first, and knows no -prune: of a lost+found
	// that it cannot read it complains, when it has deleted the rest.
	argv := []string{"find", "-H", dir, "-xdev", "-mindepth", "1", "!", "-name", LostFound, "!", "-path", "*/" + LostFound + "/*", "-delete"}
	err := h.Run(ctx, host.Cmd{Argv: argv, As: e.As, Leash: true}, host.Stdio{})
	var exit *host.ExitError
	if errors.As(err, &exit) {
		if full, ferr := e.full(ctx, h, dir); ferr == nil && !full {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("empty %s: %w", dir, err)
	}
	return nil
}

// refuseServer says no when a server may run in the directory. Nothing was done until then.
func (e *EmptyDirectory) refuseServer(ctx context.Context, h host.Host, verb string) error {
	there, err := host.Exists(ctx, h.Files(e.As), path.Join(e.Path, "postmaster.pid"))
	if err != nil {
		return untouched{fmt.Errorf("%s %s: look for its server: %w", verb, e.Path, err)}
	}
	if !there || !e.serverLives(ctx, h) {
		return nil
	}
	return fault.Refuse(e.Host, "stop the server and type the same command again",
		untouched{fmt.Errorf("%s %s: a server may be running in it", verb, e.Path)})
}

// serverLives asks the process, not the file: after a crash of the host there is
// a postmaster.pid, and its number may be another's by now.
func (e *EmptyDirectory) serverLives(ctx context.Context, r host.Runner) bool {
	const script = `read -r pid <"$1/postmaster.pid" && [ "$(readlink "/proc/${pid#-}/cwd")" = "$(cd "$1" && pwd -P)" ]`
	err := r.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", script, "sh", e.Path}, As: e.As}, host.Stdio{})
	var exit *host.ExitError
	return !errors.As(err, &exit)
}
