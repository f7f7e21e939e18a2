package steps

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// StandbyConfig writes what makes the server a standby of its upstream:
// standby.signal, and the conninfo and slot in postgresql.auto.conf, as
// pg_basebackup -R does. It comes before the copy, so that no moment exists in
// which the copy could start as anything else.
type StandbyConfig struct {
	Slot string `yaml:"slot"`
}

var _ Step = (*StandbyConfig)(nil)

// recoverySettings are taken out of a copied postgresql.auto.conf: they are
// another server's.
func recoverySettings() []string {
	return []string{"primary_conninfo", "primary_slot_name", "restore_command", "archive_cleanup_command", "recovery_end_command",
		"promote_trigger_file", "recovery_min_apply_delay", "recovery_target", "recovery_target_action", "recovery_target_inclusive",
		"recovery_target_lsn", "recovery_target_name", "recovery_target_time", "recovery_target_timeline", "recovery_target_xid"}
}

// Plan compares the files as they are with the files as they shall be.
func (s *StandbyConfig) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !uf.Server.Version.UsesSignalFiles() {
		return Planned{}, fault.Refuse(in.Self.Name, "", fmt.Errorf("PostgreSQL %s needs recovery.conf, which is not supported yet", uf.Server.Version.Major()))
	}
	done, _, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	if err := s.refuseTargets(ctx, in, h); err != nil {
		return Planned{}, err
	}
	as, dir := in.Self.Postgres.OSUser, in.Self.Postgres.DataDirectory
	before, err := h.File(ctx, as, path.Join(dir, "postgresql.auto.conf"))
	if err != nil {
		return Planned{}, err
	}
	base := before.Data
	if !done && !before.Exists {
		theirs, err := uf.File(ctx, up.Postgres.OSUser, path.Join(uf.Server.DataDirectory, "postgresql.auto.conf"))
		if err != nil {
			return Planned{}, err
		}
		base = theirs.Data
	}
	wanted, err := s.settings(in, up.Address, up.Postgres.Port, h)
	if err != nil {
		return Planned{}, err
	}
	auto := conf.Parse(base)
	if !done {
		for _, name := range recoverySettings() {
			if _, ours := wanted[name]; !ours {
				auto.Unset(name)
			}
		}
	}
	for _, name := range []string{"primary_conninfo", "primary_slot_name", "recovery_min_apply_delay"} {
		if v, ok := wanted[name]; ok && !equalSetting(auto, name, v) {
			if err := auto.Set(name, v); err != nil {
				return Planned{}, fmt.Errorf("set %s: %w", name, err)
			}
		}
	}
	signal, err := h.File(ctx, as, path.Join(dir, "standby.signal"))
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	if !signal.Exists {
		p.Effects = append(p.Effects, &effect.WriteFile{Host: in.Self.Name, As: as, Path: signal.Path, Before: signal, Mode: 0o600,
			Why: "(it makes the server start as a standby)", Then: func(h *facts.Host) { h.Data.Standby = true }})
	}
	if !bytes.Equal(auto.Bytes(), before.Data) || !before.Exists {
		p.Effects = append(p.Effects, &effect.WriteFile{Host: in.Self.Name, As: as, Path: before.Path, Before: before, Data: auto.Bytes(), Mode: 0o600,
			Image: in.image(h.Machine.OSUserHome, "postgresql.auto.conf"), Why: "(primary_conninfo, primary_slot_name)",
			Sensitive: bytes.Contains(bytes.ToLower(auto.Bytes()), []byte("password")) || bytes.Contains(bytes.ToLower(before.Data), []byte("password"))})
		if h.Server.Running {
			p.Settles = []Settle{{Host: in.Self.Name, Restart: !h.Server.Version.PrimaryConninfoReloads(), Why: "primary_conninfo"}}
		}
	}
	if len(p.Effects) == 0 {
		return noop("standby.signal is there, and primary_conninfo names %s", up.Name), nil
	}
	return p, nil
}

// refuseTargets: a recovery target or a promotion trigger that is left over in
// the server's own configuration would end recovery, and open a writable twin.
func (s *StandbyConfig) refuseTargets(ctx context.Context, in In, h *facts.Host) error {
	main := path.Join(in.Self.Postgres.ConfigDirectory, "postgresql.conf")
	f, err := h.File(ctx, in.Self.Postgres.OSUser, main)
	if err != nil || !f.Exists {
		return err
	}
	tree, _, err := loadTree(ctx, in, h, main)
	if err != nil {
		return err
	}
	for _, name := range recoverySettings() {
		if !strings.HasPrefix(name, "recovery_target") && name != "promote_trigger_file" || name == "recovery_target_timeline" {
			continue
		}
		value, file, line, ok := tree.Get(name)
		if ok && value != "" {
			return fault.Refuse(in.Self.Name, "take the line out, then type the same command again",
				fmt.Errorf("%s = %s in %s:%d would end recovery: the standby would open read-write", name, value, file, line))
		}
	}
	return nil
}

func equalSetting(f *conf.File, name, value string) bool {
	have, ok := f.Get(name)
	return ok && have.Value == value
}

func (s *StandbyConfig) settings(in In, address string, port int, h *facts.Host) (map[string]string, error) {
	r := in.Cluster.Replication
	params := []postgres.Param{
		{Key: "host", Value: address}, {Key: "port", Value: strconv.Itoa(port)}, {Key: "user", Value: r.User},
		{Key: "application_name", Value: applicationName(in.Self)}, {Key: "sslmode", Value: r.SSLMode},
	}
	if r.SSLRootCert != "" {
		params = append(params, postgres.Param{Key: "sslrootcert", Value: r.SSLRootCert})
	}
	if !r.Password.IsZero() {
		params = append(params, postgres.Param{Key: "passfile", Value: passfilePath(in.Cluster, h)})
	}
	// A half-open link must be noticed by the standby itself: the default of
	// the kernel is two hours.
	params = append(params, postgres.Param{Key: "connect_timeout", Value: "10"}, postgres.Param{Key: "keepalives_idle", Value: "30"})
	info, err := postgres.Conninfo(params)
	if err != nil {
		return nil, fmt.Errorf("primary_conninfo: %w", err)
	}
	out := map[string]string{"primary_conninfo": info}
	if s.Slot != "" {
		out["primary_slot_name"] = s.Slot
	}
	if in.Self.ApplyDelay > 0 {
		out["recovery_min_apply_delay"] = strconv.FormatInt(in.Self.ApplyDelay.Milliseconds(), 10) + "ms"
	}
	return out, nil
}
