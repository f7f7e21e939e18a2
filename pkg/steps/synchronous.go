package steps

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// Synchronous sets synchronous_standby_names of the primary: to the inventory's
// synchronous hosts that stream, never to fewer than commits would wait for. It
// comes last: from here on a commit waits.
type Synchronous struct{}

var _ Step = (*Synchronous)(nil)

const syncSetting = "synchronous_standby_names"

// Plan leaves the setting alone where the inventory says nothing, and tells what it is.
func (*Synchronous) Plan(ctx context.Context, in In) (Planned, error) {
	rule := in.Cluster.Replication.Synchronous
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	settings, err := h.Settings(ctx)
	if err != nil {
		return Planned{}, err
	}
	now, _ := settings.Lookup(syncSetting)
	if rule.Number == 0 {
		return in.syncUnwanted(h, now.Value), nil
	}
	have, err := postgres.ParseSyncStandbys(now.Value)
	if err != nil {
		return Planned{}, err
	}
	if strange := in.Cluster.Strange(have.Names); len(strange) > 0 {
		return Planned{}, fault.Refuse(in.Self.Name, "take them out, or add them to the inventory, then type the same command again",
			fmt.Errorf("%s is %q: the inventory knows no host %s", syncSetting, now.Value, strings.Join(strange, ", ")))
	}
	var names []string
	var streams []string
	for _, s := range in.Cluster.Synchronous() {
		// The plan has waited until the standby that it is about streams; of the
		// others the facts tell.
		sender, ok := h.Server.Sender(applicationName(s))
		now := s == in.Standby || ok && sender.State == "streaming"
		if now {
			streams = append(streams, s.Name)
		}
		if now || have.Match(applicationName(s)) {
			names = append(names, applicationName(s))
		}
	}
	if len(streams) < rule.Number {
		who := "none of them streams"
		if len(streams) > 0 {
			who = "only " + strings.Join(streams, ", ") + " streams"
		}
		return noop("a commit would wait for %d of the synchronous standbys, and %s: %s stays as it is", rule.Number, who, syncSetting), nil
	}
	want := h.Server.Version.SyncStandbys(rule.Any, rule.Number, names)
	value := want.String()
	stands, err := openSetting(ctx, in, h, syncSetting)
	if err != nil {
		return Planned{}, err
	}
	// A file that says something else, and waits for its reload, does not hold it.
	if same(have, want) && (stands == nil || stands.value == now.Value) {
		return noop("%s is %s", syncSetting, now.Value), nil
	}
	undo, err := formerSync(ctx, in)
	if err != nil {
		return Planned{}, err
	}
	then, err := predictSync(ctx, in, value)
	if err != nil {
		return Planned{}, err
	}
	set := "ALTER SYSTEM SET " + syncSetting + " = "
	return Planned{Effects: []effect.Effect{
		&effect.SQL{Host: in.Self.Name, Verb: "set", What: syncSetting + " = " + value, Why: "(from the reload on a commit waits for them)",
			Statements: []string{set + literal(value)}, Then: then,
			// At once, and not at the end of an undo: the standby is stopped next,
			// and commits would wait for it.
			Undo: &effect.SQL{Host: in.Self.Name, Verb: "set", What: syncSetting + " as it was", Why: "and reload",
				Statements: []string{undo, "select pg_reload_conf()"},
				Unless:     "select not " + inFiles(h.Server.Version, syncSetting, value) + " as done"},
			Hint: "allow_alter_system must be on (17 and later)"},
		&effect.Reload{Host: in.Self.Name, Why: "(for " + syncSetting + ")"},
	}}, nil
}

// inFiles is an expression: a setting has that value in the configuration files.
// Before 9.5 the server does not tell, but what ALTER SYSTEM wrote can be read.
func inFiles(v postgres.Version, name, value string) string {
	if !v.FileSettings() {
		return "(position(" + literal(name+" = "+literal(value)) + " in pg_read_file('postgresql.auto.conf')) > 0)"
	}
	return "exists (select from pg_file_settings where name = " + literal(name) + " and setting = " + literal(value) + ")"
}

// predictSync is what a preview knows of both acts: a plan comes back here for each
// standby, and finds the setting and ALTER SYSTEM's file as they are by then.
func predictSync(ctx context.Context, in In, value string) (func(*facts.Host), error) {
	h, err := in.self(ctx)
	if err != nil {
		return nil, err
	}
	reloaded, err := predictSetting(ctx, h, syncSetting, value)
	if err != nil {
		return nil, err
	}
	f, err := autoConfOf(ctx, in, h)
	if err != nil {
		return nil, err
	}
	auto := conf.Parse(f.Data)
	if err := auto.Set(syncSetting, value); err != nil {
		return nil, fmt.Errorf("set %s: %w", syncSetting, err)
	}
	f.Exists, f.Data = true, auto.Bytes()
	return func(h *facts.Host) {
		reloaded(h)
		h.SetFile(in.Self.Postgres.OSUser, f)
	}, nil
}

// autoConfOf is the file that ALTER SYSTEM writes.
func autoConfOf(ctx context.Context, in In, h *facts.Host) (host.File, error) {
	return h.File(ctx, in.Self.Postgres.OSUser, path.Join(h.Server.DataDirectory, "postgresql.auto.conf"))
}

// formerSync is the statement that puts back what ALTER SYSTEM's file has now.
func formerSync(ctx context.Context, in In) (string, error) {
	h, err := in.self(ctx)
	if err != nil {
		return "", err
	}
	f, err := autoConfOf(ctx, in, h)
	if err != nil {
		return "", err
	}
	if s, ok := conf.Parse(f.Data).Get(syncSetting); ok {
		return "ALTER SYSTEM SET " + syncSetting + " = " + literal(s.Value), nil
	}
	return "ALTER SYSTEM RESET " + syncSetting, nil
}

// same: FIRST counts by the order of the names, ANY does not.
func same(a, b postgres.SyncStandbys) bool {
	fold := func(names []string) []string {
		out := make([]string, len(names))
		for i, n := range names {
			out[i] = strings.ToLower(n)
		}
		if a.Any {
			slices.Sort(out)
		}
		return out
	}
	return a.Any == b.Any && a.Num == b.Num && slices.Equal(fold(a.Names), fold(b.Names))
}
