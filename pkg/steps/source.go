package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// source is the host that data are copied from: the standby's upstream, or another
// server of the cluster. The slot that keeps the WAL is on the upstream in any case.
func (in In) source(ctx context.Context, from string) (*inventory.Host, *facts.Host, error) {
	up, uf, err := in.upstream(ctx)
	if err != nil || from == "" || from == "upstream" || from == up.Name {
		return up, uf, err
	}
	src, ok := in.Cluster.Host(from)
	if !ok {
		return nil, nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("no host %q in the inventory to copy from", from)}
	}
	sf, err := in.Facts.Of(ctx, src.Name)
	if err != nil {
		return nil, nil, err
	}
	return src, sf, in.refuseSource(src, sf, up, uf)
}

// refuseSource says no to a source that the copy could not follow its upstream from.
func (in In) refuseSource(src *inventory.Host, sf *facts.Host, up *inventory.Host, uf *facts.Host) error {
	no := func(hint, format string, a ...any) error {
		if hint == "" {
			hint = "copy from another host, or without --from from " + up.Name
		}
		return fault.Refuse(src.Name, hint, fmt.Errorf(format, a...))
	}
	s, u := sf.Server, uf.Server
	of := in.Standby
	if of == nil {
		of = in.Self
	}
	switch {
	case src == of:
		return no("", "nothing can be copied from %s to itself", src.Name)
	case !s.Running:
		return notRunning(sf)
	case s.SystemID != u.SystemID:
		return no("", "it is of another system: its identifier is %s, that of %s is %s", s.SystemID, up.Name, u.SystemID)
	case !s.InRecovery && src != in.Cluster.Primary():
		return no("", "it is no standby: it was promoted, and takes writes")
	case s.Version.Major() != u.Version.Major():
		return no("", "it is of PostgreSQL %s, and %s of %s", s.Version.Major(), up.Name, u.Version.Major())
	case s.InRecovery && sf.Server.BackupVersion().ExclusiveBackup():
		return no("", "PostgreSQL %s cannot make a backup of a standby: 9.6 is the first", s.Version.Major())
	case s.InRecovery && s.Timeline != u.Timeline:
		return no("", "it is on timeline %d, and %s on %d", s.Timeline, up.Name, u.Timeline)
	case s.Replay.Paused:
		return no("copy from another host; or: pgrepctl replay resume "+src.Name, "its replay is paused: it would never have what the copy must have")
	case src.ApplyDelay > 0:
		return no("", "it replays %s late: the copy would need WAL that %s has no longer", src.ApplyDelay, up.Name)
	case sf.Machine.Tools["rsync"] == "":
		return no("sudo apt-get install rsync, or sudo dnf install rsync", "there is no rsync on it")
	}
	for _, ts := range u.Tablespaces {
		i := slices.IndexFunc(s.Tablespaces, func(x facts.Tablespace) bool { return x.OID == ts.OID })
		if i < 0 || s.Tablespaces[i].Location != ts.Location {
			return no("", "tablespace %s is at another place there than on %s", ts.Name, up.Name)
		}
	}
	return nil
}

// fromElsewhere reports whether the backup of a server is for a standby that will
// stream from another.
func (in In) fromElsewhere() bool {
	return in.Standby != nil && in.Cluster.Upstream(in.Standby) != in.Self
}

// refuseLateSource: the copy begins before the WAL that the slot keeps. That comes to
// pass when the source has not taken a restart point since the slot was made.
func (in In) refuseLateSource(ctx context.Context, src *inventory.Host) error {
	up := in.Cluster.Upstream(in.Self)
	if start, _ := in.Run.Output(effect.BackupStartLSN); src == up || start == "" {
		return nil
	}
	kept, err := in.walKept(ctx)
	if err == nil && !kept {
		err = &fault.Error{Class: fault.Failed, Host: src.Name, Op: "copy from " + src.Name, Err: errors.New("its backup begins before the WAL that slot " + in.Self.Slot + " on " + up.Name + " keeps"),
			State: "nothing was copied", Hint: "type the same command again; or without --from, from " + up.Name}
	}
	return err
}
