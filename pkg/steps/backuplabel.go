package steps

import (
	"context"
	"path"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// BackupLabel writes backup_label, and tablespace_map where there is one, byte
// for byte as the server gave them at the end of the backup.
type BackupLabel struct{}

var _ Step = (*BackupLabel)(nil)

// Plan knows the bytes only after the backup; a preview shows the act alone. Those of an
// exclusive backup are files of the source, which the copy has brought along: only a map
// of tablespaces that move is written anew.
func (*BackupLabel) Plan(ctx context.Context, in In) (Planned, error) {
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
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	write := func(name, key string) error {
		data, _ := in.Run.Output(key)
		if key == effect.BackupMap {
			if data, err = postgres.MoveTablespaces(data, func(at string) string { return movedTo(in.Self, at) }); err != nil {
				return err
			}
		}
		before, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, name))
		if err != nil {
			return err
		}
		if label, _ := in.Run.Output(effect.BackupLabel); label == "" && uf.Server.Version.ExclusiveBackup() {
			if before.Exists = true; name == "backup_label" || !anyMoves(in.Self, uf) {
				return nil
			}
		} else if before.Exists && string(before.Data) == data {
			return nil
		}
		p.Effects = append(p.Effects, &effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: before.Path, Before: before,
			Data: []byte(data), Mode: 0o600, Own: true, Sensitive: true, Why: "(as the server gave it at the end of the backup)"})
		return nil
	}
	if text, _ := in.Run.Output(effect.BackupMap); text != "" || len(uf.Server.Tablespaces) > 0 && uf.Server.Version.WritesTablespaceMap() {
		if err := write("tablespace_map", effect.BackupMap); err != nil {
			return Planned{}, err
		}
	} else if label, _ := in.Run.Output(effect.BackupLabel); label != "" {
		// No copy brings one, and the server would make links of what it says.
		as := in.Self.Postgres.OSUser
		stale, err := h.File(ctx, as, path.Join(in.Self.Postgres.DataDirectory, "tablespace_map"))
		if err != nil {
			return Planned{}, err
		}
		if stale.Exists {
			p.Effects = append(p.Effects, &effect.RemoveFile{Host: in.Self.Name, As: as, Path: stale.Path, Why: "(of an earlier backup: there is no tablespace now)"})
		}
	}
	if err := write("backup_label", effect.BackupLabel); err != nil {
		return Planned{}, err
	}
	if len(p.Effects) == 0 {
		return noop("backup_label is what the server gave"), nil
	}
	return p, nil
}

func anyMoves(to *inventory.Host, up *facts.Host) bool {
	return slices.ContainsFunc(up.Server.Tablespaces, func(t facts.Tablespace) bool { return movedTo(to, t.Location) != t.Location })
}
