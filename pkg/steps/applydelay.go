package steps

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

const applyDelay = "recovery_min_apply_delay"

// ApplyDelay makes a standby replay late, once it streams. Set before its first
// start, the delay would hold back the WAL that it finds in an archive, and it
// would begin to stream only when that has come of age. Before 12 the setting is in
// recovery.conf, which is read at a start alone: see StandbyConfig.
type ApplyDelay struct{}

var _ Step = (*ApplyDelay)(nil)

// Plan sets the delay of the inventory, or takes one away that it has no longer.
func (*ApplyDelay) Plan(ctx context.Context, in In) (Planned, error) {
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !uf.Server.Version.UsesSignalFiles() {
		return noop("recovery.conf has it"), nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	before, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return Planned{}, err
	}
	auto := conf.Parse(before.Data)
	have, is := auto.Get(applyDelay)
	want := delayOf(in.Self)
	switch {
	case want == "" && !is:
		return noop("the inventory wants no delay"), nil
	case want == "":
		auto.Unset(applyDelay)
	case is && conf.Kind{Vartype: "integer", Unit: "ms"}.Equal(have.Value, want):
		return noop("%s = %s is set", applyDelay, want), nil
	default:
		if err := auto.Set(applyDelay, want); err != nil {
			return Planned{}, fmt.Errorf("set %s: %w", applyDelay, err)
		}
	}
	why := "(" + applyDelay + " = " + want + ")"
	if want == "" {
		why = "(no " + applyDelay + ")"
	}
	if bytes.Equal(auto.Bytes(), before.Data) {
		return noop("the inventory wants no delay"), nil
	}
	return Planned{Effects: []effect.Effect{&effect.WriteFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: before.Path, Before: before, Data: auto.Bytes(), Mode: 0o600,
		Image: in.image(h.Machine.OSUserHome, imageName(before.Path)), Why: why, Sensitive: sensitive(auto.Bytes(), before.Data)}},
		Settles: []Settle{{Host: in.Self.Name, Why: applyDelay}}}, nil
}

// lowerDelay takes a delay down to what is wanted now. That comes before the step
// that waits until the standby streams, for it does not while it replays late what
// it has; a longer delay is set after that, and never is there less than wanted.
func lowerDelay(auto *conf.File, want string) error {
	have, ok := auto.Get(applyDelay)
	if !ok {
		return nil
	}
	if want == "" {
		auto.Unset(applyDelay)
		return nil
	}
	cmp, err := conf.Kind{Vartype: "integer", Unit: "ms"}.Compare(have.Value, want)
	if err != nil || cmp <= 0 {
		return nil // it is not a delay, or not a longer one: see ApplyDelay
	}
	if err := auto.Set(applyDelay, want); err != nil {
		return fmt.Errorf("set %s: %w", applyDelay, err)
	}
	return nil
}

// settleStandby is what a running standby owes when the files that make it one
// were edited.
func settleStandby(name string, v postgres.Version, edits []effect.Effect) []Settle {
	reload, restart := settingsEdited(v, edits)
	switch {
	case len(restart) > 0:
		return []Settle{{Host: name, Restart: true, Why: strings.Join(restart, ", ")}}
	case len(reload) > 0:
		return []Settle{{Host: name, Why: strings.Join(reload, ", ")}}
	}
	return nil
}

// settingsEdited are the settings that such edits change, by what a running server needs
// for them: a restart for those that its version does not reload.
func settingsEdited(v postgres.Version, edits []effect.Effect) (reload, restart []string) {
	for _, e := range edits {
		w, ok := e.(*effect.WriteFile)
		if !ok {
			continue
		}
		for _, s := range changedIn(w.Before.Data, w.Data, append(upstreamSettings(), applyDelay, "standby_mode", "recovery_target_timeline")) {
			// 13 reloads the conninfo and the slot, only 14 the restore_command.
			reloads := v.UsesSignalFiles()
			switch s {
			case "primary_conninfo", "primary_slot_name":
				reloads = v.PrimaryConninfoReloads()
			case "restore_command":
				reloads = v.AtLeast(14)
			}
			if reloads {
				reload = append(reload, s)
			} else {
				restart = append(restart, s)
			}
		}
	}
	return reload, restart
}

// changedIn are those of the settings that an edit gives another value.
func changedIn(before, after []byte, names []string) []string {
	was, is := conf.Parse(before), conf.Parse(after)
	return slices.DeleteFunc(names, func(name string) bool {
		a, had := was.Get(name)
		b, has := is.Get(name)
		return had == has && a.Value == b.Value
	})
}

// delayOf is a host's apply_delay as PostgreSQL has it, "" for none.
func delayOf(h *inventory.Host) string {
	if h.ApplyDelay <= 0 {
		return ""
	}
	return strconv.FormatInt(h.ApplyDelay.Milliseconds(), 10) + "ms"
}
