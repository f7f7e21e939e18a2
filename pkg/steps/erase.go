package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Erase empties the data directory of a standby that has left, its WAL directory
// and its tablespaces, and removes what the tool keeps in the home directory of
// the server's OS user. There is no way back.
type Erase struct {
	// Confirm is the host's name, said once more; empty keeps the data.
	Confirm string `yaml:"confirm"`
}

var _ Step = (*Erase)(nil)

// Plan shows every directory that will be emptied.
func (s *Erase) Plan(ctx context.Context, in In) (Planned, error) {
	dir := in.Self.Postgres.DataDirectory
	if s.Confirm == "" {
		return noop("the data stay, in %s", dir), nil
	}
	if s.Confirm != in.Self.Name {
		return Planned{}, &fault.Error{Class: fault.Usage, Host: in.Self.Name, Err: fmt.Errorf("to erase its data its name has to be given once more, and %q was", s.Confirm), Hint: "--erase-data " + in.Self.Name}
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	e := &effect.EraseData{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: dir, WAL: in.Self.Postgres.WALDirectory, Claims: "erase " + in.Self.Name,
		Then: func(h *facts.Host) { h.Data = facts.DataDir{Path: h.Data.Path, State: facts.Empty} }}
	done, err := s.refuse(in, h, uf)
	if err != nil {
		return Planned{}, err
	}
	if err := s.elsewhere(ctx, in, e, h); err != nil {
		return Planned{}, err
	}
	if e.Also, err = s.own(ctx, in, h); err != nil {
		return Planned{}, err
	}
	if done && len(e.Also) == 0 {
		return noop("nothing is in %s", dir), nil
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// refuse says no to whatever is not this cluster's. done: there is nothing in it.
func (s *Erase) refuse(in In, h, uf *facts.Host) (done bool, err error) {
	d, system := h.Data, uf.Server.SystemID
	begun := in.Run.Claimed("erase " + in.Self.Name)
	switch {
	case d.State == facts.Absent || d.State == facts.Empty:
		return true, nil
	case h.Server.Running || d.PID != 0:
		return false, fault.Refuse(in.Self.Name, "stop the server, then type the same command again", fmt.Errorf("a server runs in %s", d.Path))
	case d.State == facts.Cluster && strconv.FormatUint(d.Control.SystemID, 10) == system,
		d.State == facts.Partial && d.Marker.SystemID == system, begun:
		return false, nil
	case d.State == facts.Foreign:
		return false, fault.Refuse(in.Self.Name, "look at it, and erase it by hand if nobody needs it", fmt.Errorf("%s is no data directory: it holds %v", d.Path, d.Sample))
	}
	return false, fault.Refuse(in.Self.Name, "correct data_directory in the inventory, or erase it by hand",
		fmt.Errorf("%s holds another cluster's data: its system identifier is not %s", d.Path, system))
}

// elsewhere are the tablespaces that the primary knows: the standby's own links are
// compared with them when it is done.
func (s *Erase) elsewhere(ctx context.Context, in In, e *effect.EraseData, h *facts.Host) error {
	p, err := in.Facts.Of(ctx, in.Cluster.Primary().Name)
	if err != nil {
		return err
	}
	catalog := p.Data.Control.CatalogVersion
	if h.Data.State == facts.Cluster {
		catalog = h.Data.Control.CatalogVersion
	}
	for _, ts := range p.Server.Tablespaces {
		e.Tablespaces = append(e.Tablespaces, path.Clean(movedTo(in.Self, ts.Location)))
	}
	slices.Sort(e.Tablespaces)
	if len(e.Tablespaces) > 0 {
		e.Sub = fmt.Sprintf("PG_%s_%d", in.Self.Postgres.Version, catalog)
	}
	return nil
}

// runDirectory is the name of what a run keeps on a host.
var runDirectory = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]+$`)

// own is what the tool has in the home directory. Where another cluster, or another
// host of this one, has its files there too, whose a run's are cannot be told: they stay.
func (s *Erase) own(ctx context.Context, in In, h *facts.Host) ([]string, error) {
	as, own := in.Self.Postgres.OSUser, h.Machine.Own()
	all, err := h.List(ctx, as, own)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s on %s: %w", own, in.Self.Name, err)
	}
	shared := neighbour(in.Cluster, in.Self) != nil || slices.ContainsFunc(all, func(x host.Entry) bool {
		return path.Ext(x.Name) == ".pgpass" && x.Name != in.Cluster.Name+".pgpass"
	})
	var out []string
	for _, x := range all {
		p := path.Join(own, x.Name)
		switch {
		case x.Name == in.Self.Name+".log":
			out = append(out, p)
		case x.Mode.IsDir() && runDirectory.MatchString(x.Name) && !shared && x.Name != in.Run.ID():
			// A copy of a journal belongs to a run that goes on.
			j, err := h.File(ctx, as, path.Join(p, facts.JournalCopy))
			if err != nil {
				return nil, err
			}
			if !j.Exists {
				out = append(out, p)
			}
		}
	}
	return out, nil
}
