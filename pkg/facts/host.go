package facts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// errNoSource is met only in tests that forgot to write a fact down.
var errNoSource = errors.New("fact not given")

// New returns an empty snapshot that reads the rest from src on demand.
func New(name string, src Source) *Host {
	return &Host{Name: name, source: src, files: map[string]host.File{}, roles: map[string]Role{}}
}

// Copy is the snapshot without what was read on demand: what is predicted into the one
// is not in the other.
func (h *Host) Copy() *Host {
	c := New(h.Name, h.source)
	c.Machine, c.Server, c.Data, c.Config, c.Service, c.Runs, c.Balanced = h.Machine, h.Server, h.Data, h.Config, h.Service, h.Runs, h.Balanced
	c.Server.Senders = slices.Clip(c.Server.Senders) // the one list that grows in place
	return c
}

func fileKey(as, p string) string { return as + "\x00" + p }

// File returns a file as OS user as sees it; the first reading is kept, so that
// one plan is made from one state.
func (h *Host) File(ctx context.Context, as, path string) (host.File, error) {
	if f, ok := h.files[fileKey(as, path)]; ok {
		return f, nil
	}
	if h.source == nil || h.cleared(path) {
		return host.File{Path: path}, nil
	}
	f, err := h.source.File(ctx, as, path)
	if err != nil {
		return host.File{}, fmt.Errorf("read %s on %s: %w", path, h.Name, err)
	}
	h.sawFile(as, f)
	h.SetFile(as, f)
	return f, nil
}

// SetFile is how a preview, or a test, says what a file holds.
func (h *Host) SetFile(as string, f host.File) {
	if h.files == nil {
		h.files = map[string]host.File{}
	}
	h.files[fileKey(as, f.Path)] = f
}

// SetEmptied predicts that all in a directory is gone; unless it stays, itself too.
func (h *Host) SetEmptied(dir string, stays bool) {
	if h.emptied == nil {
		h.emptied = map[string]bool{}
	}
	h.emptied[path.Clean(dir)] = stays
	maps.DeleteFunc(h.files, func(_ string, f host.File) bool { return strings.HasPrefix(f.Path, path.Clean(dir)+"/") })
}

// cleared reports whether a path is in a directory that is predicted to be emptied.
func (h *Host) cleared(p string) bool {
	for dir := range h.emptied {
		if strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

// List returns a directory's entries, those of files that are only predicted too.
func (h *Host) List(ctx context.Context, as, dir string) ([]host.Entry, error) {
	var entries []host.Entry
	var err error
	if stays := h.emptied[path.Clean(dir)]; h.cleared(path.Join(dir, "x")) && !stays {
		err = fs.ErrNotExist
	} else if h.source != nil && !stays {
		entries, err = h.source.List(ctx, as, dir)
	}
	for key, f := range h.files {
		if key != fileKey(as, f.Path) || path.Dir(f.Path) != path.Clean(dir) {
			continue
		}
		is := func(e host.Entry) bool { return e.Name == path.Base(f.Path) }
		switch {
		case !f.Exists:
			entries = slices.DeleteFunc(entries, is)
		case !slices.ContainsFunc(entries, is):
			entries = append(entries, host.Entry{Name: path.Base(f.Path), Mode: f.Mode, UID: f.UID, Size: int64(len(f.Data))})
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	slices.SortFunc(entries, func(a, b host.Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, err
}

// ReadLink returns where a symlink leads; fs.ErrNotExist if there is none.
func (h *Host) ReadLink(ctx context.Context, as, path string) (string, error) {
	if h.source == nil {
		return "", fs.ErrNotExist
	}
	return h.source.ReadLink(ctx, as, path)
}

// Settings returns pg_settings.
func (h *Host) Settings(ctx context.Context) (postgres.Settings, error) {
	if h.settings != nil {
		return h.settings, nil
	}
	if h.source == nil {
		return nil, fmt.Errorf("settings of %s: %w", h.Name, errNoSource)
	}
	s, err := h.source.Settings(ctx)
	if err != nil {
		return nil, fmt.Errorf("read settings of %s: %w", h.Name, err)
	}
	h.sawSettings(s)
	h.settings = s
	return s, nil
}

// SetSettings replaces them.
func (h *Host) SetSettings(s postgres.Settings) { h.settings = maps.Clone(s) }

// Role returns a database role.
func (h *Host) Role(ctx context.Context, name string) (Role, error) {
	if r, ok := h.roles[name]; ok {
		return r, nil
	}
	if h.source == nil {
		return Role{Name: name}, nil
	}
	r, err := h.source.Role(ctx, name)
	if err != nil {
		return Role{}, fmt.Errorf("read role %s on %s: %w", name, h.Name, err)
	}
	h.sawRole(r)
	h.SetRole(r)
	return r, nil
}

// SetFor says for whom else than the whole server a setting is set.
func (h *Host) SetFor(ctx context.Context, setting string) ([]SetFor, error) {
	if h.source == nil || h.expected {
		return nil, nil
	}
	s, err := h.source.SetFor(ctx, setting)
	if err != nil {
		return nil, fmt.Errorf("read for whom %s is set on %s: %w", setting, h.Name, err)
	}
	return s, nil
}

// SetRole says what a role is.
func (h *Host) SetRole(r Role) {
	if h.roles == nil {
		h.roles = map[string]Role{}
	}
	h.roles[r.Name] = r
}

// Expect says that the server, as it is described now, is not there yet.
func (h *Host) Expect() { h.expected = true }

// ConfigErrors asks the server to judge its files; one that runs only in a
// preview has no say yet.
func (h *Host) ConfigErrors(ctx context.Context) ([]ConfigError, error) {
	if h.source == nil || h.expected {
		return nil, nil
	}
	bad, err := h.source.ConfigErrors(ctx)
	if errors.Is(err, host.ErrNoServer) {
		return nil, nil
	}
	return bad, err
}

// RsyncServer asks this host's rsync for the command it would run remotely.
func (h *Host) RsyncServer(ctx context.Context, flags []string, path string) ([]string, error) {
	if h.source == nil {
		return nil, fmt.Errorf("rsync server command of %s: %w", h.Name, errNoSource)
	}
	return h.source.RsyncServer(ctx, flags, path)
}

// ReplicationLogin tries a replication login from this host.
func (h *Host) ReplicationLogin(ctx context.Context, l host.Login) (host.System, error) {
	if h.source == nil {
		return host.System{}, fmt.Errorf("replication login from %s: %w", h.Name, errNoSource)
	}
	return h.source.ReplicationLogin(ctx, l)
}

// Slot finds a slot by name.
func (s *Server) Slot(name string) (Slot, bool) {
	i := slices.IndexFunc(s.Slots, func(x Slot) bool { return x.Name == name })
	if i < 0 {
		return Slot{}, false
	}
	return s.Slots[i], true
}

// SetSlot adds or replaces a slot.
func (s *Server) SetSlot(slot Slot) {
	s.DropSlot(slot.Name)
	s.Slots = append(slices.Clone(s.Slots), slot)
	slices.SortFunc(s.Slots, func(a, b Slot) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// DropSlot removes it.
func (s *Server) DropSlot(name string) {
	s.Slots = slices.DeleteFunc(slices.Clone(s.Slots), func(x Slot) bool { return x.Name == name })
}

// Sender finds a walsender by application_name.
func (s *Server) Sender(application string) (Sender, bool) {
	for _, x := range s.Senders {
		if x.Application == application {
			return x, true
		}
	}
	return Sender{}, false
}
