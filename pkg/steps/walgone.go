package steps

import (
	"context"
	"errors"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// refuseWALGone refuses a standby that would be waited for in vain: what it asks for next
// its upstream has removed, as when its slot was gone for a while, and it has no archive to
// fetch it from. A slot that is made now keeps nothing of that.
//
// Only what is sure is refused. A server that is stopped, replays late or is paused may have
// WAL behind what it has replayed, and a file of its pg_wal that is newer may be that, or a
// recycled one under its next name: of that a running server is only said what it looks like.
func (in In) refuseWALGone(ctx context.Context) ([]Held, error) {
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return nil, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return nil, err
	}
	if _, streams := uf.Server.Sender(applicationName(in.Self)); streams || h.Server.Replay.ReceiverStatus != "" || !uf.Server.Running {
		return nil, nil
	}
	_, at := h.Reached()
	gone, err := walGone(ctx, up, uf, at)
	if err != nil || gone == "" {
		return nil, err
	}
	if elsewhere, err := in.restores(ctx, h, uf); err != nil || elsewhere {
		return nil, err
	}
	ahead, err := in.mayBeAhead(ctx, h, up, uf)
	if err != nil {
		return nil, err
	}
	reseed := "pgrepctl standby reseed " + in.Self.Name
	if !ahead {
		return nil, fault.Refuse(in.Self.Name, reseed, errors.New(gone))
	}
	if r := h.Server; !r.Running || r.Replay.Paused || in.Self.ApplyDelay > 0 {
		return nil, nil
	}
	return []Held{{What: gone + ", unless it has that itself", Hint: "if it does not stream: " + reseed, Note: true}}, nil
}

// restores reports whether a standby has a restore_command, or is given one.
func (in In) restores(ctx context.Context, h, uf *facts.Host) (bool, error) {
	const name = "restore_command"
	if len(in.Cluster.Archives) > 0 {
		return true, nil
	}
	if v := uf.Server.Version; !v.UsesSignalFiles() {
		f, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, v.RecoveryFile()))
		if err != nil {
			return false, err
		}
		have, ok := conf.Parse(f.Data).Get(name)
		return ok && have.Value != "", nil
	}
	// One that cannot be edited, as on the command line, is one too.
	if h.Server.Running {
		settings, err := h.Settings(ctx)
		if err != nil {
			return false, err
		}
		have, _ := settings.Lookup(name)
		return have.Value != "", nil
	}
	auto, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return false, err
	}
	if l := lineOf(auto, name); l != nil {
		return l.value != "", nil
	}
	l, err := openSetting(ctx, in, h, name)
	return l != nil && l.value != "", err
}

// mayBeAhead reports whether a standby has a WAL file that is as new as what its upstream
// still has.
func (in In) mayBeAhead(ctx context.Context, h *facts.Host, up *inventory.Host, uf *facts.Host) (bool, error) {
	oldest, err := oldestWAL(ctx, uf, up.Postgres.OSUser, path.Join(uf.Server.DataDirectory, uf.Server.Version.WALDir()))
	if err != nil {
		return false, err
	}
	dir := path.Join(in.Self.Postgres.DataDirectory, uf.Server.Version.WALDir())
	own, err := listWAL(ctx, h, in.Self.Postgres.OSUser, dir)
	if err != nil {
		return false, err
	}
	for _, name := range own {
		if name >= oldest {
			return true, nil
		}
	}
	return false, nil
}
