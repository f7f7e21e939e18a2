package steps

import (
	"bytes"
	"context"
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Passfile stores the replication password where libpq finds it and nobody else
// can read it, so that it is in no configuration file.
type Passfile struct {
	// State is present, which empty means too, or absent.
	State string `yaml:"state"`
}

var _ Step = (*Passfile)(nil)

// Plan writes one line for every host of the inventory: any of them may be the
// upstream one day.
func (s *Passfile) Plan(ctx context.Context, in In) (Planned, error) {
	if s.State == "absent" {
		return s.absent(ctx, in)
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	pw, err := in.Run.Password(ctx)
	if err != nil {
		return Planned{}, err
	}
	if pw.IsZero() {
		return noop("the inventory gives no replication password"), nil
	}
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	p := passfilePath(in.Cluster, h, uf.Server.Version)
	f, err := h.File(ctx, in.Self.Postgres.OSUser, p)
	if err != nil {
		return Planned{}, err
	}
	var want bytes.Buffer
	for _, x := range in.Cluster.Hosts {
		line, err := postgres.PassfileLine(x.Address, x.Postgres.Port, "replication", in.Cluster.Replication.User, pw)
		if err != nil {
			return Planned{}, fmt.Errorf("passfile: %w", err)
		}
		want.WriteString(line.Reveal())
	}
	if !uf.Server.Version.PassfileInConninfo() {
		// It is the OS user's own: our lines go before the others, for the first
		// that matches wins.
		for l := range bytes.Lines(f.Data) {
			if !bytes.Contains(want.Bytes(), l) {
				want.Write(l)
			}
		}
	}
	if f.Exists && bytes.Equal(f.Data, want.Bytes()) && f.Mode.Perm() == 0o600 {
		return noop("%s has the password", p), nil
	}
	e := &effect.WriteFile{
		Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: p, Before: f, Data: want.Bytes(), Mode: 0o600, SetMode: true,
		Image: in.image(h.Machine.OSUserHome, "passfile"), Sensitive: true, What: "passfile " + p, Why: "(0600)",
	}
	if lines := in.passLines(p, uf.Server.Version); !lines.Whole {
		e.Lines = lines
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// passLines are the lines of this cluster in a password file of its servers.
func (in In) passLines(p string, v postgres.Version) *effect.Passfile {
	l := &effect.Passfile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: p, Whole: v.PassfileInConninfo(), User: in.Cluster.Replication.User}
	for _, x := range in.Cluster.Hosts {
		l.Entries = append(l.Entries, effect.PassEntry{Address: x.Address, Port: x.Postgres.Port})
	}
	return l
}

// OwnPassfile is the name of a cluster's passfile in the tool's own directory.
func OwnPassfile(c *inventory.Cluster) string { return c.Name + ".pgpass" }

// passfilePath is where the server's libpq looks: before 10 a conninfo cannot name
// the file, and it is the one in the home directory.
func passfilePath(c *inventory.Cluster, h *facts.Host, v postgres.Version) string {
	if !v.PassfileInConninfo() {
		return path.Join(h.Machine.OSUserHome, ".pgpass")
	}
	return h.Machine.Own(OwnPassfile(c))
}
