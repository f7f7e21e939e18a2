package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Validate is called when a plan file is read.
func (s *Passfile) Validate() error {
	if s.State != "" && s.State != "present" && s.State != "absent" {
		return fmt.Errorf("state %q: want present or absent", s.State)
	}
	return nil
}

// absent takes the password off the host, and what earlier runs kept of the file.
func (s *Passfile) absent(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if other := neighbour(in.Cluster, in.Self); other != nil {
		return noop("%s runs on the same machine, as the same OS user, and needs it", other.Name), nil
	}
	v, err := postgres.ParseVersion(in.Self.Postgres.Version)
	if err != nil {
		return Planned{}, fmt.Errorf("version of %s: %w", in.Self.Name, err)
	}
	as := in.Self.Postgres.OSUser
	e := &effect.RemovePassfile{Passfile: *in.passLines(passfilePath(in.Cluster, h, v), v)}
	f, err := h.File(ctx, as, e.Path)
	if err != nil {
		return Planned{}, err
	}
	if e.Images, err = passfileImages(ctx, h, &e.Passfile); err != nil {
		return Planned{}, err
	}
	there := f.Exists
	if there && !e.Whole {
		there = bytes.Contains(f.Data, []byte(":replication:"+in.Cluster.Replication.User+":"))
	}
	if e.Whole && !there {
		// A removal that was cut off leaves the directory that it emptied.
		left, err := h.List(ctx, as, path.Dir(e.Path))
		there = err == nil && len(left) == 0
	}
	if !there && len(e.Images) == 0 {
		return noop("the replication password is not in %s", e.Path), nil
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// neighbour is another host of the inventory that shares machine and OS user, and
// with them the home directory.
func neighbour(c *inventory.Cluster, h *inventory.Host) *inventory.Host {
	for _, x := range c.Hosts {
		if x != h && x.Address == h.Address && x.Postgres.OSUser == h.Postgres.OSUser && x.SSH.Port == h.SSH.Port {
			return x
		}
	}
	return nil
}

// passfileImages are the bytes that edits of the file have kept. Those that an edit of
// another cluster's file has kept stay: its undo wants them. They have no line of this
// cluster, and one for a server that the other's file names too.
func passfileImages(ctx context.Context, h *facts.Host, mine *effect.Passfile) ([]string, error) {
	as := mine.As
	own := h.Machine.Own()
	runs, err := h.List(ctx, as, own)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s on %s: %w", own, h.Name, err)
	}
	var others [][]byte // the lines of other clusters' files
	for _, r := range runs {
		p := path.Join(own, r.Name)
		if !strings.HasSuffix(r.Name, ".pgpass") || p == mine.Path || !r.Mode.IsRegular() {
			continue
		}
		f, err := h.File(ctx, as, p)
		if err != nil {
			return nil, err
		}
		others = append(others, slices.Collect(bytes.Lines(f.Data))...)
	}
	var out []string
	for _, r := range runs {
		if !r.Mode.IsDir() {
			continue
		}
		p := path.Join(own, r.Name, "passfile")
		f, err := h.File(ctx, as, p)
		if err != nil {
			return nil, err
		}
		if !f.Exists {
			continue
		}
		theirs, err := ofAnother(f.Data, mine, others)
		if err != nil {
			return nil, err
		}
		if !theirs {
			out = append(out, p)
		}
	}
	return out, nil
}

// ofAnother reports whether a password file is known to be of another cluster.
func ofAnother(file []byte, mine *effect.Passfile, others [][]byte) (bool, error) {
	known := false
	for l := range bytes.Lines(file) {
		if ours, err := mine.Ours(l); err != nil || ours {
			return false, err
		}
		known = known || slices.ContainsFunc(others, func(o []byte) bool { return len(entryOf(l)) > 0 && bytes.Equal(entryOf(o), entryOf(l)) })
	}
	return known, nil
}

// entryOf is a line of a password file without the password, the fifth field. A colon in
// a field before it has a backslash before it, as a backslash has; in the password it
// need not.
func entryOf(line []byte) []byte {
	fields := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case ':':
			if fields++; fields == 4 {
				return line[:i]
			}
		}
	}
	return nil
}
