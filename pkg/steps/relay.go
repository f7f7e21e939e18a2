package steps

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// relayStreams is the most streams of a copy through this machine: each takes two of
// the nine sessions that sshd grants a connection, and others are in use.
const relayStreams = 2

// openRelay makes the place for the pipes of a copy through this machine. There is no
// key: neither host logs in to the other.
func (in In) openRelay(self *facts.Host) (Planned, error) {
	dir, err := copyDir(in, self)
	if err != nil {
		return Planned{}, err
	}
	as := in.Self.Postgres.OSUser
	return Planned{Effects: []effect.Effect{
		&effect.DeadMan{Host: in.Self.Name, As: as, What: "the pipes of the copy", Dir: dir},
		&effect.MakeDir{Host: in.Self.Name, As: as, Path: dir, Mode: 0o700, Own: true, UID: self.Machine.UID, What: "directory for the pipes of the copy", Why: "(0700, in memory)"},
	}}, nil
}

// relayed is how a tree comes through this machine; nil if it does not.
func (in In) relayed(ctx context.Context, self *facts.Host, how copying, t tree) (*effect.Relay, error) {
	if !in.Self.Relay {
		return nil, nil
	}
	dir, err := copyDir(in, self)
	if err != nil {
		return nil, err
	}
	r := &effect.Relay{Dir: dir}
	if r.Sender, err = self.RsyncServer(ctx, how.flags(false), t.source+"/"); err != nil || how.compress == "none" {
		return r, err
	}
	r.Zstd, err = self.RsyncServer(ctx, how.flags(true), t.source+"/")
	return r, err
}
