package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// DataDirectory fences a data directory before anything is copied into it, or
// makes the finished copy durable and startable.
type DataDirectory struct {
	State string `yaml:"state"` // fenced, startable
}

var _ Step = (*DataDirectory)(nil)

// Validate is called when a plan file is read.
func (s *DataDirectory) Validate() error {
	if s.State != "fenced" && s.State != "startable" {
		return fmt.Errorf("state %q: want fenced or startable", s.State)
	}
	return nil
}

// Plan follows one rule: without pg_control no server starts, so it goes first
// and comes last.
func (s *DataDirectory) Plan(ctx context.Context, in In) (Planned, error) {
	done, reason, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	if done {
		return noop("%s", reason), nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if s.State == "fenced" {
		return s.fence(ctx, in, h)
	}
	return s.startable(ctx, in, h)
}

func (s *DataDirectory) fence(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	if err := in.refuseUnsynced(ctx, h); err != nil {
		return Planned{}, err
	}
	copied, err := in.copied(ctx)
	if err != nil {
		return Planned{}, err
	}
	if copied {
		return noop("the copy of this run is complete in it"), nil
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	as, dir := in.Self.Postgres.OSUser, in.Self.Postgres.DataDirectory
	elsewhere, err := freeElsewhere(ctx, in, h, uf)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	add := func(e effect.Effect) { p.Effects = append(p.Effects, e) }
	own := h.Machine.Own()
	if _, err := h.List(ctx, as, own); errors.Is(err, fs.ErrNotExist) {
		add(&effect.MakeDir{Host: in.Self.Name, As: as, Path: own, Mode: 0o700, Why: "(for what must outlive a run)"})
	} else if err != nil {
		return Planned{}, fmt.Errorf("list %s on %s: %w", own, in.Self.Name, err)
	}
	if h.Data.State == facts.Absent {
		add(&effect.MakeDir{Host: in.Self.Name, As: as, Path: dir, Mode: 0o700})
	}
	if gone, err := in.controlGone(ctx, h); err != nil {
		return Planned{}, err
	} else if !gone && h.Data.Overwrites() {
		add(in.controlAside()) // it may be the one of data of which nothing is overwritten yet
	} else if h.Data.State == facts.Partial && !gone {
		add(&effect.RemoveFile{Host: in.Self.Name, As: as, Path: path.Join(dir, postgres.ControlFile), Why: "(without it no server starts)", Sync: true})
	}
	empty := h.Data.State == facts.Absent || h.Data.State == facts.Empty
	marker := facts.Marker{Run: in.Run.ID(), SystemID: uf.Server.SystemID, Source: up.Name, Operator: in.Run.Operator(), Elsewhere: elsewhere,
		WasEmpty: empty || h.Data.Marker.WasEmpty, Alone: empty || h.Data.Marker.Alone && h.Data.Marker.Run == in.Run.ID()}
	b, err := json.MarshalIndent(marker, "", "  ")
	if err != nil {
		return Planned{}, fmt.Errorf("marker: %w", err)
	}
	name := path.Join(dir, postgres.RunMarker)
	was := ""
	if h.Data.State == facts.Partial {
		// Of an earlier run, mostly: without any marker its copy would be nobody's, and no
		// run would touch the directory again.
		f, err := h.File(ctx, as, name)
		if err != nil {
			return Planned{}, err
		}
		was = string(f.Data)
	}
	add(&effect.WriteFile{Host: in.Self.Name, As: as, Path: name, Data: append(b, '\n'), Was: was, Mode: 0o600, Own: true, Sensitive: true,
		What: "marker " + name, Why: "(names this run until the copy can start)",
		Then: func(h *facts.Host) { h.Data.State, h.Data.Marker = facts.Partial, marker }})
	if wal := in.Self.Postgres.WALDirectory; wal != "" {
		if _, err := h.List(ctx, as, wal); errors.Is(err, fs.ErrNotExist) {
			add(&effect.MakeDir{Host: in.Self.Name, As: as, Path: wal, Mode: 0o700, Why: "(for WAL)"})
		} else if err != nil {
			return Planned{}, fmt.Errorf("list %s on %s: %w", wal, in.Self.Name, err)
		}
		// A link that is there may be the standby's own, of before the run: an undo must leave
		// it. That of this run, before a crash, has its inverse in the journal.
		name := uf.Server.Version.WALDir()
		if to, err := in.leadsTo(ctx, h, name); err != nil {
			return Planned{}, err
		} else if to != wal {
			add(&effect.Link{Host: in.Self.Name, As: as, Path: path.Join(dir, name), Target: wal, Why: "(wal_directory of the inventory)"})
		}
	}
	return p, nil
}

func (s *DataDirectory) startable(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	_, up, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	as, dir := in.Self.Postgres.OSUser, in.Self.Postgres.DataDirectory
	id, err := strconv.ParseUint(up.Server.SystemID, 10, 64)
	if err != nil {
		return Planned{}, fmt.Errorf("system identifier of %s: %w", up.Name, err)
	}
	trees, err := copyTrees(ctx, in.Self, up)
	if err != nil {
		return Planned{}, err
	}
	return Planned{Effects: []effect.Effect{
		durable(in.Self, h, trees),
		&effect.Rename{Host: in.Self.Name, As: as, From: path.Join(dir, postgres.PendingControlFile), To: path.Join(dir, postgres.ControlFile), Why: "(from here on it can start, in recovery)"},
		&effect.RemoveFile{Host: in.Self.Name, As: as, Path: path.Join(dir, postgres.RunMarker), Then: func(h *facts.Host) {
			h.Data.State, h.Data.Standby = facts.Cluster, true
			h.Data.Control.SystemID = id
		}},
	}}, nil
}

// freeElsewhere are the directories outside the data directory that will be filled:
// by tablespaces, and by WAL. One that holds anything is refused, for it may be all
// that is left of another cluster, unless the marker says that an unfinished copy
// brought it. Nothing else looks at the place of a tablespace that was made after the
// run began.
func freeElsewhere(ctx context.Context, in In, h, up *facts.Host) ([]string, error) {
	trees, err := copyTrees(ctx, in.Self, up)
	if err != nil {
		return nil, err
	}
	if wal := in.Self.Postgres.WALDirectory; wal != "" {
		trees = append(trees, tree{what: "WAL", target: wal})
	}
	as := in.Self.Postgres.OSUser
	var out []string
	for _, t := range trees {
		if t.main {
			continue
		}
		out = append(out, t.target)
		if h.Data.State == facts.Partial && slices.Contains(h.Data.Marker.Elsewhere, t.target) {
			continue
		}
		entries, err := h.List(ctx, as, t.target)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err = h.List(ctx, as, path.Dir(t.target)); errors.Is(err, fs.ErrNotExist) {
				return nil, fault.Refuse(in.Self.Name, fmt.Sprintf("sudo install -d -m 700 -o %s -g %s %s, then type the same command again", as, as, path.Dir(t.target)),
					fmt.Errorf("no directory %s for %s", path.Dir(t.target), t.what))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", t.target, err)
		}
		entries = slices.DeleteFunc(entries, func(e host.Entry) bool { return e.Name == effect.LostFound })
		if len(entries) > 0 {
			return nil, fault.Refuse(in.Self.Name, "if nobody needs it, move "+t.target+" away, then type the same command again",
				fmt.Errorf("%s, where %s goes, is not empty", t.target, t.what))
		}
	}
	return out, nil
}

// configFiles are the files of a layout that keeps its configuration in the
// data directory.
func configFiles() []string { return []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} }

// predictCopy puts what a copy will bring, as far as later steps ask for it.
func predictCopy(ctx context.Context, in In, up *facts.Host, upDir, upAs string) (func(*facts.Host), error) {
	dir := in.Self.Postgres.DataDirectory
	if in.Self.Postgres.ConfigDirectory != dir {
		return nil, nil
	}
	theirs := map[string]host.File{}
	for _, name := range configFiles() {
		p := path.Join(upDir, name)
		f, err := up.File(ctx, upAs, p)
		if err != nil {
			return nil, err
		}
		theirs[p] = f
	}
	if main := path.Join(upDir, "postgresql.conf"); theirs[main].Exists {
		// What it includes comes along, too.
		_, included, err := loadTree(ctx, up, upAs, main)
		if err != nil {
			return nil, err
		}
		maps.Copy(theirs, included)
	}
	var files []host.File
	for _, p := range slices.Sorted(maps.Keys(theirs)) {
		name, inside := strings.CutPrefix(p, upDir+"/")
		if !inside {
			continue
		}
		f := theirs[p]
		f.Path = path.Join(dir, name)
		f.UID, f.GID = -1, -1
		files = append(files, f)
	}
	return func(h *facts.Host) {
		for _, f := range files {
			h.SetFile(in.Self.Postgres.OSUser, f)
		}
	}, nil
}
