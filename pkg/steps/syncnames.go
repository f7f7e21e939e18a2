package steps

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

const syncNames = "synchronous_standby_names"

// SyncNames takes a standby out of synchronous_standby_names, before it stops:
// commits would wait for it for ever.
type SyncNames struct {
	Without string `yaml:"without"` // standby
	// Back: it comes back. Where the inventory does not have the say over the setting,
	// nothing would put it in again: it stays, and commits must do without.
	Back bool `yaml:"back"`
}

var _ Step = (*SyncNames)(nil)

// Validate is called when a plan file is read.
func (s *SyncNames) Validate() error {
	if s.Without != "standby" {
		return fmt.Errorf("without %q: only standby is supported", s.Without)
	}
	return nil
}

// Plan edits the value where it takes effect, in the spelling that it has. On a
// standby nobody waits, but its file would count from a promotion on.
func (s *SyncNames) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	f, err := openSetting(ctx, in, h, syncNames)
	if err != nil {
		return Planned{}, err
	}
	if f == nil {
		return noop("%s is not set", syncNames), nil
	}
	app := applicationName(in.Standby)
	now, err := postgres.ParseSyncStandbys(f.value)
	if err != nil {
		return Planned{}, fault.Refuse(in.Self.Name, "mend "+f.at+", then type the same command again", err)
	}
	if !now.Match(app) {
		return noop("%s does not name %s", syncNames, app), nil
	}
	if s.Back && in.Cluster.Replication.Synchronous.Number == 0 {
		return s.stays(in, h, now)
	}
	after := now.Without(app)
	if in.Self.Role == inventory.Primary && h.Server.Running {
		if after, err = s.enough(in, h, now, after); err != nil {
			return Planned{}, err
		}
	}
	if len(after.Names) < after.Num {
		after.Num = len(after.Names) // nobody commits there now
	}
	value := after.String()
	if value == now.String() {
		return noop("%s = %s is enough without %s", syncNames, conf.Quote(f.value), app), nil
	}
	data, err := f.set(value)
	if err != nil {
		return Planned{}, err
	}
	e := in.edit(h, in.Self, f.before, data)
	e.Why = fmt.Sprintf("(%s = %s: no commit waits for %s)", syncNames, conf.Quote(value), app)
	if s.Back && h.Server.Running {
		// It is put in again at the end, which a preview would not see.
		if e.Then, err = predictSetting(ctx, h, syncNames, value); err != nil {
			return Planned{}, err
		}
	}
	p := Planned{Effects: []effect.Effect{e}}
	if h.Server.Running {
		p.Settles = []Settle{{Host: in.Self.Name, Why: syncNames}}
	}
	return p, nil
}

// predictSetting gives a setting the value that it has after the reload to come.
func predictSetting(ctx context.Context, h *facts.Host, name, value string) (func(*facts.Host), error) {
	now, err := h.Settings(ctx)
	if err != nil {
		return nil, err
	}
	after := maps.Clone(now)
	set := after[name]
	set.Value = value
	after[name] = set
	return func(h *facts.Host) { h.SetSettings(after) }, nil
}

// stays leaves the value, unless commits would hang while the standby is away.
func (s *SyncNames) stays(in In, h *facts.Host, now postgres.SyncStandbys) (Planned, error) {
	app := applicationName(in.Standby)
	live, waitedFor := 0, false
	for _, x := range h.Server.Senders {
		if x.State != "streaming" || !now.Match(x.Application) {
			continue
		}
		if waitedFor = waitedFor || x.Application == app; x.Application != app {
			live++
		}
	}
	if in.Self.Role == inventory.Primary && waitedFor && live < now.Num {
		return Planned{}, fault.Refuse(in.Self.Name, "take it out for so long, or say synchronous: true for "+in.Standby.Name+" in the inventory, which then has the say; then type the same command again",
			fmt.Errorf("%s = %s wants %d to confirm each commit, and without %s %d of them streams: commits would hang", syncNames, conf.Quote(now.String()), now.Num, app, live))
	}
	return noop("%s = %s stays: no commit waits for %s alone", syncNames, conf.Quote(now.String()), app), nil
}

// enough refuses when the standbys that are left could not confirm a commit, or
// nobody would be left to confirm one. Accepted, commits wait for as many as there
// are.
func (s *SyncNames) enough(in In, h *facts.Host, now, after postgres.SyncStandbys) (postgres.SyncStandbys, error) {
	app := applicationName(in.Standby)
	live := 0
	for _, x := range h.Server.Senders {
		if x.State == "streaming" && x.Application != app && after.Match(x.Application) {
			live++
		}
	}
	if live >= after.Num && len(after.Names) > 0 {
		return after, nil
	}
	if slices.Contains(in.Run.Accepted(), SyncQuorum) {
		after.Num = min(after.Num, live)
		return after, nil
	}
	why := fmt.Errorf("%s = %s wants %d to confirm each commit, and without %s %d of them streams: commits would hang", syncNames, conf.Quote(now.String()), now.Num, app, live)
	if len(after.Names) == 0 {
		why = fmt.Errorf("%s is the only one in %s: without it no commit is confirmed by a second server", app, syncNames)
	}
	return after, fault.Refuse(in.Self.Name, "name another standby there, and see that it streams; or go on with: --accept "+SyncQuorum+" (commits then wait for as many as are left)", why)
}
