package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// absentStopped looks for a slot where no server can be asked: one is a directory
// in pg_replslot. To drop it, the server has to run.
func (s *Slot) absentStopped(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	there, err := slotOnDisk(ctx, in, h, s.Name)
	if err != nil {
		return Planned{}, err
	}
	if there {
		return Planned{}, fault.Refuse(in.Self.Name, "start its server, then type the same command again",
			fmt.Errorf("its server does not run, and slot %s is in its data directory: it keeps WAL as soon as it runs", s.Name))
	}
	return noop("its server does not run, and its data have no slot %s", s.Name), nil
}

// slotOnDisk reports whether the data directory of a server that does not run has a
// slot of that name.
func slotOnDisk(ctx context.Context, in In, h *facts.Host, name string) (bool, error) {
	if h.Data.PID != 0 || h.Server.NotReady != "" {
		return false, notRunning(h)
	}
	dir := path.Join(in.Self.Postgres.DataDirectory, "pg_replslot")
	slots, err := h.List(ctx, in.Self.Postgres.OSUser, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list %s on %s: %w", dir, in.Self.Name, err)
	}
	return slices.ContainsFunc(slots, func(e host.Entry) bool { return e.Name == name }), nil
}
