package steps

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// StandbyConfig writes what makes the server a standby of its upstream, as
// pg_basebackup -R does: standby.signal, and the conninfo, the slot and the commands
// of the archives in postgresql.auto.conf; before 12, all of it in recovery.conf. It comes before the
// copy, so that no moment exists in which the copy could start as anything else.
type StandbyConfig struct {
	Slot string `yaml:"slot"` // primary_slot_name; empty is none
	// Restart no: of a server that runs, what it reads only when it starts is left as it
	// is: primary_conninfo and primary_slot_name before 13, restore_command before 14,
	// everything before 12. Rolling: it is restarted for that, by a step that follows.
	Restart string `yaml:"restart"`
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
	done, _, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	v := uf.Server.Version
	wanted, err := s.settings(in, v, up.Address, up.Postgres.Port, h)
	if err != nil {
		return Planned{}, err
	}
	if v.UsesSignalFiles() {
		err := refuseTargets(ctx, in, h)
		if err == nil && !done {
			err = refuseCopiedTargets(ctx, in, h)
		}
		if err != nil {
			return Planned{}, err
		}
	}
	var p Planned
	edits, err := s.edits(ctx, in, done, wanted, nil)
	if err != nil {
		return Planned{}, err
	}
	if _, restart := settingsEdited(h.Server.Version, edits); h.Server.Running && s.Restart == "no" && len(restart) > 0 {
		// A file that has what the server does not run with would come into force at the
		// next accident.
		p.Held = append(p.Held, Held{What: strings.Join(restart, ", ") + ": needs a restart", Hint: rollingHint})
		if edits, err = s.edits(ctx, in, done, wanted, restart); err != nil {
			return Planned{}, err
		}
	}
	if done && v.UsesSignalFiles() {
		held, err := s.slotElsewhere(ctx, in, h)
		if err != nil {
			return Planned{}, err
		}
		p.Held = append(p.Held, held...)
	}
	switch {
	case len(edits) == 0 && len(p.Held) > 0:
		p.Noop = "not changed"
		return p, nil
	case len(edits) == 0:
		return noop("%s is there, and primary_conninfo names %s", v.RecoveryFile(), up.Name), nil
	}
	p.Effects = edits
	if h.Server.Running {
		p.Settles = settleStandby(in.Self.Name, h.Server.Version, edits)
	}
	if s.Restart == "rolling" && slices.ContainsFunc(p.Settles, func(x Settle) bool { return x.Restart }) {
		return p, in.refusePausedBy(ctx, h) // here already, so that no file is changed
	}
	return p, nil
}

// edits make the files what they shall be, but for the settings to keep, which stay as
// they are.
func (s *StandbyConfig) edits(ctx context.Context, in In, done bool, wanted map[string]string, keep []string) ([]effect.Effect, error) {
	h, err := in.self(ctx)
	if err != nil {
		return nil, err
	}
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return nil, err
	}
	v := uf.Server.Version
	wanted = maps.Clone(wanted)
	if !v.UsesSignalFiles() {
		wanted["standby_mode"] = "on"
		// Before 12 a standby stays on the timeline of its backup unless it is told.
		wanted["recovery_target_timeline"] = "latest"
	}
	for _, name := range keep {
		delete(wanted, name)
	}
	var p Planned
	signal, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, v.RecoveryFile()))
	if err != nil {
		return nil, err
	}
	if v.UsesSignalFiles() {
		if !signal.Exists {
			p.Effects = append(p.Effects, s.signal(in, signal, "(it makes the server start as a standby)"))
		}
	} else {
		if err := s.recoveryConf(in, h, signal, wanted, keep, &p); err != nil {
			return nil, err
		}
		wanted = nil // it is all in recovery.conf
	}
	err = s.autoConf(ctx, in, done, wanted, keep, &p)
	return p.Effects, err
}

// signal writes the file that makes a server a standby.
func (s *StandbyConfig) signal(in In, before host.File, why string) *effect.WriteFile {
	return &effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: before.Path, Before: before, Mode: 0o600, Why: why,
		Then: func(h *facts.Host) { h.Data.Standby = true }}
}

// recoveryConf is that file before 12, with the settings in it. What else is in one
// that exists stays, unless it would end recovery: a writable twin.
func (s *StandbyConfig) recoveryConf(in In, h *facts.Host, before host.File, wanted map[string]string, keep []string, p *Planned) error {
	f := conf.Parse(before.Data)
	for _, name := range []string{"recovery_target", "recovery_target_name", "recovery_target_time", "recovery_target_xid", "recovery_target_lsn", "trigger_file"} {
		if have, ok := f.Get(name); ok && have.Value != "" {
			return fault.Refuse(in.Self.Name, "take the line out, then type the same command again",
				fmt.Errorf("%s = %s in %s would end recovery: the standby would open read-write", name, have.Value, before.Path))
		}
	}
	if _, ok := wanted[applyDelay]; !ok && !slices.Contains(keep, applyDelay) {
		f.Unset(applyDelay) // the inventory is the one that says
	}
	unsetUnwanted(f, wanted, keep)
	if err := set(f, wanted, append(append([]string{"standby_mode"}, upstreamSettings()...), "recovery_target_timeline", applyDelay)...); err != nil {
		return err
	}
	if before.Exists && bytes.Equal(f.Bytes(), before.Data) {
		return nil
	}
	e := s.signal(in, before, "(it makes the server start as a standby: standby_mode, primary_conninfo, primary_slot_name)")
	if changed := settingsChanged(before, f.Bytes()); before.Exists && len(changed) > 0 && !slices.Contains(changed, "standby_mode") {
		e.Why = "(" + strings.Join(changed, ", ") + ")"
	}
	e.Data, e.Sensitive = f.Bytes(), sensitive(f.Bytes(), before.Data)
	e.Image = in.image(h.Machine.OSUserHome, imageName(before.Path))
	p.Effects = append(p.Effects, e)
	return nil
}

// autoConf gives the standby its upstream's postgresql.auto.conf, without what made
// that a standby itself, and with the settings wanted.
func (s *StandbyConfig) autoConf(ctx context.Context, in In, done bool, wanted map[string]string, keep []string, p *Planned) error {
	h, err := in.self(ctx)
	if err != nil {
		return err
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return err
	}
	as := in.Self.Postgres.OSUser
	before, err := h.File(ctx, as, path.Join(in.Self.Postgres.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return err
	}
	base := before.Data
	if !done && !before.Exists {
		theirs, err := uf.File(ctx, up.Postgres.OSUser, path.Join(uf.Server.DataDirectory, "postgresql.auto.conf"))
		if err != nil {
			return err
		}
		base = theirs.Data
	}
	auto := conf.Parse(base)
	if !done {
		for _, name := range recoverySettings() {
			if _, ours := wanted[name]; !ours {
				auto.Unset(name)
			}
		}
		if in.Cluster.Replication.Synchronous.Number > 0 {
			// The primary's: promoted, this one would wait for standbys that may not
			// be its own, itself among them.
			auto.Unset(syncSetting)
		}
	}
	if done && wanted != nil {
		unsetUnwanted(auto, wanted, keep)
	}
	if err := set(auto, wanted, upstreamSettings()...); err != nil {
		return err
	}
	if wanted != nil {
		if err := lowerDelay(auto, delayOf(in.Self)); err != nil {
			return err
		}
	}
	if bytes.Equal(auto.Bytes(), before.Data) && (before.Exists || len(keep) > 0) {
		return nil
	}
	why := "(primary_conninfo, primary_slot_name)"
	switch changed := settingsChanged(before, auto.Bytes()); {
	case before.Exists && len(changed) > 0:
		why = "(" + strings.Join(changed, ", ") + ")"
	case wanted == nil:
		why = "(as on " + up.Name + ")"
	case wanted["restore_command"] != "":
		why = "(primary_conninfo, primary_slot_name, restore_command)"
	}
	p.Effects = append(p.Effects, &effect.WriteFile{Host: in.Self.Name, As: as, Path: before.Path, Before: before, Data: auto.Bytes(), Mode: 0o600,
		Image: in.image(h.Machine.OSUserHome, imageName(before.Path)), Why: why, Sensitive: sensitive(auto.Bytes(), before.Data)})
	return nil
}

// imageName is the name under which the bytes before an edit of a server's file are kept, the
// same in every step: two servers on one machine keep theirs in one home, and each has a
// postgresql.auto.conf.
func imageName(p string) string {
	return strings.ReplaceAll(strings.TrimPrefix(p, "/"), "/", "_")
}

// settingsChanged are those that this step sets or takes out, and that an edit changes.
func settingsChanged(before host.File, after []byte) []string {
	return changedIn(before.Data, after, append(recoverySettings(), "standby_mode", syncSetting))
}

// sensitive: a conninfo that others wrote may hold a password.
func sensitive(texts ...[]byte) bool {
	return slices.ContainsFunc(texts, func(b []byte) bool { return bytes.Contains(bytes.ToLower(b), []byte("password")) })
}

// set gives the named settings the values wanted, in this order.
func set(f *conf.File, wanted map[string]string, names ...string) error {
	for _, name := range names {
		v, ok := wanted[name]
		if have, is := f.Get(name); !ok || is && have.Value == v {
			continue
		}
		if err := f.Set(name, v); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// refuseTargets: a recovery target or a promotion trigger that is left over in
// the server's own configuration would end recovery, and open a writable twin.
func refuseTargets(ctx context.Context, in In, h *facts.Host) error {
	return refuseTargetsIn(ctx, h, in.Self, in.Self.Postgres.ConfigDirectory, "would end recovery")
}

// refuseCopiedTargets: where the configuration lies in the data directory, the copy
// brings the upstream's. A primary never reads such a line, so nobody has missed it there.
func refuseCopiedTargets(ctx context.Context, in In, h *facts.Host) error {
	pg := in.Self.Postgres
	if pg.ConfigDirectory != pg.DataDirectory || h.Data.Overwrites() {
		return nil
	}
	if copied, err := in.copied(ctx); err != nil || copied {
		return err
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return err
	}
	return refuseTargetsIn(ctx, uf, up, uf.Server.DataDirectory, "would come with the copy, and end recovery")
}

// refuseTargetsIn looks at a host's postgresql.conf in dir, and at what it includes.
func refuseTargetsIn(ctx context.Context, h *facts.Host, self *inventory.Host, dir, would string) error {
	main := path.Join(dir, "postgresql.conf")
	f, err := h.File(ctx, self.Postgres.OSUser, main)
	if err != nil || !f.Exists {
		return err
	}
	tree, _, err := loadTree(ctx, h, self.Postgres.OSUser, main)
	if err != nil {
		return err
	}
	var lines []string
	for _, name := range recoverySettings() {
		if !strings.HasPrefix(name, "recovery_target") && name != "promote_trigger_file" || name == "recovery_target_timeline" {
			continue
		}
		if value, file, line, ok := tree.Get(name); ok && value != "" {
			lines = append(lines, fmt.Sprintf("%s = %s in %s:%d", name, value, file, line))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	hint := "take the line out, then type the same command again"
	if len(lines) > 1 {
		hint = "take these lines out, then type the same command again"
	}
	return fault.Refuse(self.Name, hint, fmt.Errorf("%s %s: the standby would open read-write", strings.Join(lines, ", "), would))
}

func (s *StandbyConfig) settings(in In, v postgres.Version, address string, port int, h *facts.Host) (map[string]string, error) {
	r := in.Cluster.Replication
	params := []postgres.Param{
		{Key: "host", Value: address}, {Key: "port", Value: strconv.Itoa(port)}, {Key: "user", Value: r.User},
		{Key: "application_name", Value: applicationName(in.Self)}, {Key: "sslmode", Value: r.SSLMode},
	}
	if r.SSLRootCert != "" {
		params = append(params, postgres.Param{Key: "sslrootcert", Value: r.SSLRootCert})
	}
	// Only on demand: what a standby has that streams would be another conninfo
	// otherwise, and one whose role has an md5 verifier would be cut off.
	if r.Binding == inventory.BindingRequire {
		params = append(params, v.BindingParams()...)
	}
	if !r.Password.IsZero() && v.PassfileInConninfo() {
		params = append(params, postgres.Param{Key: "passfile", Value: passfilePath(in.Cluster, h, v)})
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
	if delay := delayOf(in.Self); delay != "" && !v.UsesSignalFiles() {
		out[applyDelay] = delay // later it is set by a step of its own
	}
	return out, s.archives(in, h, out)
}

// upstreamSettings are what this step sets, in the order in which it writes them.
func upstreamSettings() []string {
	return []string{"primary_conninfo", "primary_slot_name", "restore_command", "archive_cleanup_command"}
}

// archives adds the commands for the WAL that the upstream has no longer.
func (s *StandbyConfig) archives(in In, h *facts.Host, out map[string]string) error {
	if len(in.Cluster.Archives) == 0 {
		return nil
	}
	var err error
	if out["restore_command"], err = restoreCommand(in.Cluster.Archives); err != nil {
		return err
	}
	cleanup, err := cleanupCommand(in.Cluster.Archives, h)
	if err == nil && cleanup != "" {
		out["archive_cleanup_command"] = cleanup
	}
	return err
}
