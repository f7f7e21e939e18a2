package effect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// EraseData empties a data directory that was retired, and what belongs to it
// elsewhere. The directories themselves stay: they may be mount points, and their
// parents somebody else's.
type EraseData struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"` // the data directory
	WAL  string `json:"wal,omitempty"`
	// Tablespaces are the locations; Sub is the directory in each of them that
	// is this cluster's alone: "PG_15_202209061".
	Tablespaces []string `json:"tablespaces,omitempty"`
	Sub         string   `json:"sub,omitempty"`
	// Also are files and directories of the tool's own, below the home
	// directory of As.
	Also   []string `json:"also,omitempty"`
	Claims string   `json:"-"`

	Then func(*facts.Host) `json:"-"`
}

func (e *EraseData) Claim() string   { return e.Claims }
func (e *EraseData) Kind() string    { return "erase-data" }
func (e *EraseData) On() string      { return e.Host }
func (e *EraseData) Inverse() Effect { return nil }

func (e *EraseData) Describe() Description {
	d := Description{Verb: "erase", Subject: "what is in " + e.Path, NoReturn: "the data of " + e.Host + " are gone: it can only be made anew, by a bootstrap"}
	for i, dir := range e.dirs()[1:] {
		if i == 0 {
			d.Detail = "and in "
		} else {
			d.Detail += ", "
		}
		d.Detail += dir
	}
	return d
}

// dirs are emptied, the data directory is the first.
func (e *EraseData) dirs() []string {
	out := []string{e.Path}
	if e.WAL != "" {
		out = append(out, e.WAL)
	}
	for _, ts := range e.Tablespaces {
		out = append(out, path.Join(ts, e.Sub))
	}
	return append(out, e.Also...)
}

func (e *EraseData) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		then(h, e.Then)
	}
}

func (e *EraseData) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	empty := &EmptyDirectory{Host: e.Host, As: e.As, Path: e.Path}
	if err := empty.refuseServer(ctx, h, "erase"); err != nil {
		return nil, err
	}
	if err := e.allKnown(ctx, files); err != nil {
		return nil, err
	}
	if err := e.refuseMounts(ctx, h); err != nil {
		return nil, err
	}
	if err := e.removeControl(ctx, h, files); err != nil {
		return nil, err
	}
	// The data directory last but for the tool's own: it leads to the others, and once
	// it is empty nothing tells of them any more.
	dirs := e.dirs()
	own := len(dirs) - len(e.Also)
	for i, dir := range slices.Concat(dirs[1:own], dirs[:1], dirs[own:]) {
		is, err := files.Stat(ctx, dir)
		full := false
		if err != nil || !is.Mode.IsRegular() { // else a file of the tool's own
			full, err = empty.full(ctx, h, dir)
		}
		if err == nil && full {
			err = empty.empty(ctx, h, dir)
		}
		if err != nil {
			return nil, err
		}
		stays := dir == e.WAL || i == own-1 // a mount point perhaps
		if stays {
			continue
		}
		if err := files.Remove(ctx, dir); err != nil {
			return nil, fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return nil, nil
}

// mountsScript names a mount point below each directory that has one. The kernel writes a
// space in it as \\040.
const mountsScript = `for d; do
	d=$(cd -P -- "$d" 2>/dev/null && pwd) || continue
	D=$d/ awk '{ gsub(/\\040/, " ", $5); if (index($5, ENVIRON["D"]) == 1) { print $5; exit } }' /proc/self/mountinfo
done`

// refuseMounts says no before anything is erased where a file system is mounted inside: all
// the rest would be gone, and the mount point could not go.
func (e *EraseData) refuseMounts(ctx context.Context, h host.Host) error {
	var out bytes.Buffer
	argv := append([]string{"sh", "-c", mountsScript, "pgrepctl-mounts"}, e.dirs()...)
	if err := h.Run(ctx, host.Cmd{Argv: argv, As: e.As}, host.Stdio{Out: &out}); err != nil {
		return untouched{fmt.Errorf("look for mount points in %s: %w", e.Path, err)}
	}
	at, _, _ := strings.Cut(out.String(), "\n")
	if at == "" {
		return nil
	}
	return fault.Refuse(e.Host, "umount "+at+", then type the same command again; or, to keep what is there: pgrepctl standby reseed "+e.Host,
		untouched{fmt.Errorf("erase %s: a file system is mounted at %s", e.Path, at)})
}

// removeControl is first of all, so that no server starts with half of its files. What
// comes next may be on other file systems, and be durable before it: so it is synced, also
// if it was removed by one that died then.
func (e *EraseData) removeControl(ctx context.Context, h host.Host, files host.Files) error {
	control := path.Join(e.Path, postgres.ControlFile)
	if err := files.Remove(ctx, control); err != nil {
		return fmt.Errorf("remove %s: %w", postgres.ControlFile, err)
	}
	there, err := host.Exists(ctx, files, path.Dir(control))
	if err != nil {
		return fmt.Errorf("look at %s: %w", path.Dir(control), err)
	}
	if !there {
		return nil
	}
	return syncPath(ctx, h, e.As, path.Dir(control))
}

// allKnown refuses, before anything is erased, when the data directory leads to a
// place that was not shown.
func (e *EraseData) allKnown(ctx context.Context, files host.Files) error {
	known := slices.Clone(e.Tablespaces)
	if e.WAL != "" {
		known = append(known, e.WAL)
	}
	var links []string
	spaces, err := files.List(ctx, path.Join(e.Path, "pg_tblspc"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list pg_tblspc: %w", err)
	}
	for _, s := range spaces {
		if s.Mode&fs.ModeSymlink != 0 {
			links = append(links, path.Join("pg_tblspc", s.Name))
		}
	}
	for _, name := range []string{"pg_wal", "pg_xlog"} {
		is, err := files.Stat(ctx, path.Join(e.Path, name))
		if err == nil && is.Mode&fs.ModeSymlink != 0 {
			links = append(links, name)
		}
	}
	for _, l := range links {
		to, err := files.ReadLink(ctx, path.Join(e.Path, l))
		if err != nil {
			return fmt.Errorf("look at %s: %w", l, err)
		}
		if !slices.Contains(known, path.Clean(to)) {
			return fault.Refuse(e.Host, "say so in the inventory (wal_directory, tablespaces), or remove the link and what is there by hand, then type the same command again",
				untouched{fmt.Errorf("erase %s: %s leads to %s, which neither the inventory nor the primary knows", e.Path, l, to)})
		}
	}
	return nil
}
