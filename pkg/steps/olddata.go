package steps

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// OldData is what becomes of the server and the data of a standby that is seeded again:
// the server is stopped; then its data are fenced to be overwritten in place, erased, or
// renamed aside.
type OldData struct {
	Are string `yaml:"are"` // stopped, overwritten, erased, kept
}

var _ Step = (*OldData)(nil)

// Validate is called when a plan file is read.
func (s *OldData) Validate() error { return oldData(s.Are, stopped) }

// Plan is a noop once the new data are there: a resumed run must not take them for the
// old ones.
func (s *OldData) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if in.replaced() && h.Data.State != facts.Absent && h.Data.State != facts.Empty {
		return noop("the new data are there"), nil
	}
	if err := in.refuseNotOurs(ctx, h); err != nil {
		return Planned{}, err
	}
	switch s.Are {
	case stopped:
		return s.stop(ctx, in, h)
	case erased:
		return s.erase(ctx, in, h)
	case keptAside:
		return s.keep(ctx, in, h)
	}
	return s.fence(ctx, in, h)
}

// refuseNotOurs looks once more at what the run began with: it may have been interrupted
// for days, and the standby promoted.
func (in In) refuseNotOurs(ctx context.Context, h *facts.Host) error {
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return err
	}
	if h.Server.Running && !h.Server.InRecovery {
		return fault.Refuse(in.Self.Name, "save what was written only there, stop it by hand, then type the same command again",
			fmt.Errorf("its server is a primary and takes writes, on timeline %d: it is never stopped unasked", h.Server.Timeline))
	}
	if id := strconv.FormatUint(h.Data.Control.SystemID, 10); h.Data.State == facts.Cluster && id != uf.Server.SystemID {
		return fault.Refuse(in.Self.Name, "correct address or data_directory of "+in.Self.Name+" in the inventory",
			fmt.Errorf("%s holds another cluster: system identifier %s, that of %s is %s", h.Data.Path, id, up.Name, uf.Server.SystemID))
	}
	return nil
}

// replaced reports whether this run has brought the whole copy over, and ended its
// backup: what is in the data directory is new.
func (in In) replaced() bool {
	lsn, _ := in.Run.Output(effect.BackupStopLSN)
	return lsn != ""
}

// stop takes it down in such a way that an undo brings it back: streaming, if it did.
func (s *OldData) stop(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	p, err := (&Leave{As: stopped}).Plan(ctx, in)
	if err != nil || len(p.Effects) == 0 {
		return p, err
	}
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	stop, ok := p.Effects[0].(*effect.Service)
	if !ok {
		return Planned{}, fmt.Errorf("stop of %s: %T", in.Self.Name, p.Effects[0])
	}
	stop.Why = "(cleanly: nothing may write to its data any more)"
	if sender, ok := uf.Server.Sender(applicationName(in.Self)); !ok || sender.State != "streaming" {
		stop.Rejoin, stop.Expect = nil, effect.ExpectStandby // it would never stream again
	}
	return p, nil
}

// fence makes an unfinished copy of the data: with our marker, and without pg_control,
// which stays beside it until the first file is overwritten.
func (s *OldData) fence(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	switch h.Data.State {
	case facts.Partial:
		return s.goOn(ctx, in, h)
	case facts.Cluster:
	default:
		return Planned{}, fault.Refuse(in.Self.Name, "pgrepctl standby bootstrap "+in.Self.Name, fmt.Errorf("%s holds no data that could be overwritten: it is %s", h.Data.Path, h.Data.State))
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	elsewhere, err := in.ownElsewhere(ctx, h, uf)
	if err == nil {
		err = in.refuseDropped(ctx, h, uf)
	}
	if err != nil {
		return Planned{}, err
	}
	as, dir := in.Self.Postgres.OSUser, in.Self.Postgres.DataDirectory
	marker := facts.Marker{Run: in.Run.ID(), SystemID: uf.Server.SystemID, Source: up.Name, Operator: in.Run.Operator(), Elsewhere: elsewhere}
	b, err := json.MarshalIndent(marker, "", "  ")
	if err != nil {
		return Planned{}, fmt.Errorf("marker: %w", err)
	}
	name := path.Join(dir, postgres.RunMarker)
	return Planned{Effects: []effect.Effect{
		&effect.WriteFile{Host: in.Self.Name, As: as, Path: name, Data: append(b, '\n'), Mode: 0o600, Own: true, Sensitive: true,
			What: "marker " + name, Why: "(names this run until the copy can start)",
			Then: func(h *facts.Host) { h.Data.State, h.Data.Marker, h.Data.HasData = facts.Partial, marker, true }},
		in.controlAside(),
	}}, nil
}

// goOn is for a directory with our marker, which is written first: a run that was stopped
// before it could rename pg_control has left data there of which nothing is overwritten.
// That the one pg_control is renamed, and not removed, is what an undo lives on. It holds
// for the data that an earlier run has left so, too.
func (s *OldData) goOn(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	if h.Data.Overwrites() {
		gone, err := in.controlGone(ctx, h)
		if err != nil {
			return Planned{}, err
		}
		if !gone {
			return Planned{Effects: []effect.Effect{in.controlAside()}}, nil
		}
	}
	return noop("an unfinished copy is there, and cannot start"), nil
}

func (in In) controlAside() *effect.Rename {
	as, dir := in.Self.Postgres.OSUser, in.Self.Postgres.DataDirectory
	control := path.Join(dir, postgres.ControlFile)
	return &effect.Rename{Host: in.Self.Name, As: as, From: control, To: path.Join(dir, postgres.OldControlFile), Why: "(without pg_control no server starts; an undo puts it back, until the copy begins)",
		Then: func(h *facts.Host) { h.SetFile(as, host.File{Path: control}) }}
}

// ownElsewhere are the directories outside the data directory that it leads to, as the
// inventory and the upstream say: tablespaces, and WAL. One that leads anywhere else is
// refused.
func (in In) ownElsewhere(ctx context.Context, h, uf *facts.Host) ([]string, error) {
	trees, err := copyTrees(ctx, in.Self, uf)
	if err != nil {
		return nil, err
	}
	dir, v := in.Self.Postgres.DataDirectory, uf.Server.Version
	var out []string
	for i, ts := range uf.Server.Tablespaces {
		name := path.Join("pg_tblspc", strconv.FormatInt(ts.OID, 10))
		to, err := in.leadsTo(ctx, h, name)
		if err != nil {
			return nil, err
		}
		if to == "" {
			continue // a new one: its place must be free
		}
		if want := path.Dir(trees[i].target); to != want {
			return nil, fault.Refuse(in.Self.Name, fmt.Sprintf("say tablespaces: {%s: %s} for %s in the inventory, then type the same command again", ts.Location, to, in.Self.Name),
				fmt.Errorf("%s in %s leads to %s, and should lead to %s", name, dir, to, want))
		}
		out = append(out, trees[i].target)
	}
	wal, err := in.leadsTo(ctx, h, v.WALDir())
	if err != nil {
		return nil, err
	}
	if want := in.Self.Postgres.WALDirectory; wal != want {
		hint := "say wal_directory: " + wal + " for " + in.Self.Name + " in the inventory, then type the same command again"
		if wal == "" {
			hint = "take wal_directory out of the inventory, or: pgrepctl standby reseed " + in.Self.Name + " --wipe"
		}
		return nil, fault.Refuse(in.Self.Name, hint, fmt.Errorf("%s in %s leads to %q, and the inventory says %q", v.WALDir(), dir, wal, want))
	}
	if wal != "" {
		out = append(out, wal)
	}
	return out, nil
}

// refuseDropped: of a tablespace that was dropped while the standby was away, the copy
// takes the link and not the files, to which nothing leads then. Whose they are only a
// human can tell: the link may be of another cluster that this one was copied from.
func (in In) refuseDropped(ctx context.Context, h, uf *facts.Host) error {
	as, dir := in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, "pg_tblspc")
	entries, err := h.List(ctx, as, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list %s on %s: %w", dir, h.Name, err)
	}
	for _, e := range entries {
		known := slices.ContainsFunc(uf.Server.Tablespaces, func(ts facts.Tablespace) bool { return strconv.FormatInt(ts.OID, 10) == e.Name })
		if known || e.Mode&fs.ModeSymlink == 0 {
			continue
		}
		link := path.Join(dir, e.Name)
		to, err := h.ReadLink(ctx, as, link)
		if err != nil {
			return fmt.Errorf("look at %s on %s: %w", link, h.Name, err)
		}
		files := path.Join(to, fmt.Sprintf("PG_%s_%d", uf.Server.Version.Major(), cmp.Or(h.Data.Control.CatalogVersion, uf.Data.Control.CatalogVersion)))
		return fault.Refuse(in.Self.Name, fmt.Sprintf("if nobody needs them, stop the server, rm -r %s, rm %s, then type the same command again; or, to keep the link, too: pgrepctl standby reseed %s --keep-old", files, link, in.Self.Name),
			fmt.Errorf("%s leads to %s, and %s has no such tablespace: its files there would stay, and nothing would lead to them", link, to, uf.Name))
	}
	return nil
}

// leadsTo is where a symlink in the data directory leads; empty if it is none.
func (in In) leadsTo(ctx context.Context, h *facts.Host, name string) (string, error) {
	as, p := in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, name)
	entries, err := h.List(ctx, as, path.Dir(p))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("list %s on %s: %w", path.Dir(p), h.Name, err)
	}
	if !slices.ContainsFunc(entries, func(e host.Entry) bool { return e.Name == path.Base(p) && e.Mode&fs.ModeSymlink != 0 }) {
		return "", nil
	}
	to, err := h.ReadLink(ctx, as, p)
	if err != nil {
		return "", fmt.Errorf("look at %s on %s: %w", p, h.Name, err)
	}
	return path.Clean(to), nil
}

func (s *OldData) erase(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	claim := "erase " + in.Self.Name
	switch {
	case h.Data.State == facts.Absent || h.Data.State == facts.Empty:
		return noop("nothing is in %s", h.Data.Path), nil
	case h.Data.State == facts.Partial && h.Data.Marker.Run == in.Run.ID():
		return noop("this run has erased them, and its copy has begun"), nil
	}
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	if _, err := (&Erase{}).refuse(in, h, uf); err != nil {
		return Planned{}, err
	}
	e := &effect.EraseData{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: in.Self.Postgres.DataDirectory, WAL: in.Self.Postgres.WALDirectory, Claims: claim}
	if err := (&Erase{}).elsewhere(ctx, in, e, h); err != nil {
		return Planned{}, err
	}
	e.Then = func(h *facts.Host) {
		h.Data = facts.DataDir{Path: h.Data.Path, State: facts.Empty}
		h.SetEmptied(e.Path, true)
		if e.WAL != "" {
			h.SetEmptied(e.WAL, true)
		}
		for _, ts := range e.Tablespaces {
			h.SetEmptied(path.Join(ts, e.Sub), false)
		}
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// Aside is the name under which a run keeps the data directory of a standby, or what is
// the standby's of a tablespace.
func Aside(dir, run string) string { return dir + ".before-" + run }

// keep renames them within their file systems; a tablespace first, for as long as the
// data directory is in its place it is looked at again.
func (s *OldData) keep(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	switch h.Data.State {
	case facts.Absent, facts.Empty:
		return noop("they are kept, in %s", Aside(in.Self.Postgres.DataDirectory, in.Run.ID())), nil
	case facts.Partial:
		return noop("they are kept, and the copy has begun"), nil
	case facts.Foreign:
		return Planned{}, fault.Refuse(in.Self.Name, "", fmt.Errorf("%s is no data directory", h.Data.Path))
	}
	if err := refuseAside(in, h); err != nil {
		return Planned{}, err
	}
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	own, err := in.ownElsewhere(ctx, h, uf)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	aside := func(dir, why string, then func(*facts.Host)) {
		gone := then
		then = func(h *facts.Host) {
			h.SetEmptied(dir, false)
			if gone != nil {
				gone(h)
			}
		}
		p.Effects = append(p.Effects, &effect.Rename{Host: in.Self.Name, As: in.Self.Postgres.OSUser, From: dir, To: Aside(dir, in.Run.ID()), Why: why, Tells: true, Then: then})
	}
	for _, dir := range own {
		aside(dir, "(kept)", nil)
	}
	aside(in.Self.Postgres.DataDirectory, "(kept; an undo puts it back)", func(h *facts.Host) { h.Data = facts.DataDir{Path: h.Data.Path, State: facts.Absent} })
	return p, nil
}
