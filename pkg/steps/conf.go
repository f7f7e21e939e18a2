package steps

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// Conf sets settings in the server's configuration files.
type Conf struct {
	// Set is name to value, or to {min: value}.
	Set map[string]Wanted `yaml:"set"`
	// Inventory adds the settings that the inventory gives for the host.
	Inventory bool `yaml:"inventory"`
	// NotBelow names the host whose running values of the settings that a
	// standby must not have lower are the floor: "upstream".
	NotBelow string `yaml:"not-below"`
	// Serve adds what a primary must have at least to serve standbys.
	Serve bool `yaml:"serve"`
	// When: "stopped" leaves a server that runs alone; "running" one that does not, and
	// what needs a restart, which is left to the restart's turn. Default: both.
	When string `yaml:"when"`
}

// Wanted is a value, or the least value.
type Wanted struct {
	Value   string
	AtLeast bool
}

// UnmarshalYAML keeps a value's spelling: on, 0640, 1_000.
func (w *Wanted) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		w.Value = n.Value
		return nil
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "min" && n.Content[1].Kind == yaml.ScalarNode {
		w.Value, w.AtLeast = n.Content[1].Value, true
		return nil
	}
	return fmt.Errorf("line %d: a setting is a value, or {min: value}", n.Line)
}

var _ Step = (*Conf)(nil)

// Validate is called when a plan file is read.
func (s *Conf) Validate() error {
	if s.When != "" && s.When != "stopped" && s.When != "running" {
		return fmt.Errorf("when %q: want stopped or running", s.When)
	}
	return onlyUpstream("not-below", s.NotBelow)
}

// Plan edits only what differs, in the file whose line takes effect.
func (s *Conf) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	switch {
	case s.When == "stopped" && h.Server.Running:
		return noop("the server runs"), nil
	case s.When == "running" && !h.Server.Running:
		return noop("the server does not run"), nil
	}
	wanted, err := s.wanted(ctx, in)
	if err != nil {
		return Planned{}, err
	}
	names := slices.Sorted(maps.Keys(wanted))
	if len(names) == 0 {
		return noop("no setting is asked for"), nil
	}
	c, err := s.open(ctx, in, h)
	if err != nil {
		return Planned{}, err
	}
	var settles []Settle
	var changed []string
	for _, name := range names {
		want := wanted[name]
		if name == "wal_level" && want.AtLeast && want.Value == "replica" {
			want.Value = c.version.StandbyWALLevel() // which is what it is called
		}
		ok, err := c.holds(name, want)
		if err != nil {
			return Planned{}, err
		}
		if ok {
			continue
		}
		restart := c.needsRestart(name)
		if restart && s.When == "running" {
			// What the server runs with already is put into its file at once:
			// the file is what the next start would bring.
			if runs, err := c.runsWith(name, want); err != nil || !runs {
				if err != nil {
					return Planned{}, err
				}
				continue
			}
			restart = false
		}
		if s.When != "running" {
			if err := c.refuseOverride(in.Self.Name, name); err != nil {
				return Planned{}, err
			}
		}
		if err := c.put(name, want); err != nil {
			return Planned{}, err
		}
		changed = append(changed, setTo(name, want.Value))
		if h.Server.Running {
			settles = append(settles, Settle{Host: in.Self.Name, Restart: restart, Why: name})
		}
	}
	if len(changed) == 0 {
		return noop("%s: already as wanted", strings.Join(names, ", ")), nil
	}
	return Planned{Settles: settles, Effects: c.edits(in, h, changed)}, nil
}

func (s *Conf) wanted(ctx context.Context, in In) (map[string]Wanted, error) {
	out := map[string]Wanted{}
	if s.NotBelow != "" {
		up, f, err := in.upstream(ctx)
		if err != nil {
			return nil, err
		}
		settings, err := f.Settings(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range f.Server.Version.StandbyParameters() {
			v, ok := settings.Lookup(name)
			if !ok {
				return nil, fmt.Errorf("%s does not know the setting %s", up.Name, name)
			}
			out[name] = Wanted{Value: v.Value, AtLeast: true}
		}
		if err := s.notBelowControl(ctx, in, out); err != nil {
			return nil, err
		}
		if !f.Server.Version.HotStandbyByDefault() {
			out["hot_standby"] = Wanted{Value: "on"} // else nobody can ask it whether it streams
		}
	}
	for name, w := range s.Set {
		name = strings.ToLower(name)
		// Of two floors the higher one counts.
		if floor, ok := out[name]; ok && floor.AtLeast && w.AtLeast && number(floor.Value) > number(w.Value) {
			continue
		}
		out[name] = w
	}
	if s.Serve {
		maps.Copy(out, serves())
	}
	if s.Inventory {
		for name, w := range inventoryWants(in.Self) {
			if err := s.notBelow(out, name, &w); err != nil {
				return nil, err
			}
			out[name] = w
		}
	}
	return out, nil
}

// notBelowControl: a standby that was stopped compares its settings with what it had
// replayed of the primary's by then, which may have gone down since.
func (s *Conf) notBelowControl(ctx context.Context, in In, floor map[string]Wanted) error {
	h, err := in.self(ctx)
	if err != nil || h.Data.State != facts.Cluster {
		return err
	}
	for name, w := range floor {
		n, err := strconv.ParseInt(w.Value, 10, 64)
		if err != nil {
			return fmt.Errorf("read setting %s: %w", name, err)
		}
		floor[name] = Wanted{Value: strconv.FormatInt(max(n, controlValue(h.Data.Control, name)), 10), AtLeast: true}
	}
	return nil
}

// notBelow keeps a value of the inventory from going below the floor: the server would
// not start. It may go down when the upstream has.
func (s *Conf) notBelow(floor map[string]Wanted, name string, w *Wanted) error {
	f, ok := floor[name]
	if !ok || s.NotBelow == "" || !f.AtLeast {
		return nil
	}
	cmp, err := conf.Kind{Vartype: "integer"}.Compare(w.Value, f.Value)
	if err != nil {
		return fmt.Errorf("compare %s: %w", name, err)
	}
	if cmp < 0 {
		*w = f
	}
	return nil
}

// number is a value of the settings that a standby must not have lower, all of
// them plain numbers; 0 for any other text.
func number(value string) int64 {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// config is the files of one server, with what is known of each setting.
type config struct {
	tree     *conf.Tree
	auto     *conf.File
	autoPath string
	autoWas  host.File
	unset    []string // of what ALTER SYSTEM has set
	before   map[string]host.File
	settings postgres.Settings // types and contexts; values too if running
	running  bool
	version  postgres.Version
}

func (s *Conf) open(ctx context.Context, in In, h *facts.Host) (*config, error) {
	c := &config{running: h.Server.Running}
	main := h.Server.ConfigFile
	dataDir := h.Server.DataDirectory
	src := h
	if !h.Server.Running {
		main, dataDir = path.Join(in.Self.Postgres.ConfigDirectory, "postgresql.conf"), in.Self.Postgres.DataDirectory
		_, up, err := in.upstream(ctx)
		if err != nil {
			return nil, err
		}
		src = up // types and defaults are those of the version, wherever it runs
	}
	var err error
	if c.settings, err = src.Settings(ctx); err != nil {
		return nil, err
	}
	c.version = src.Server.Version
	if c.tree, c.before, err = loadTree(ctx, h, in.Self.Postgres.OSUser, main); err != nil {
		return nil, err
	}
	c.autoPath = path.Join(dataDir, "postgresql.auto.conf")
	auto, err := h.File(ctx, in.Self.Postgres.OSUser, c.autoPath)
	if err != nil {
		return nil, err
	}
	c.auto, c.autoWas = conf.Parse(auto.Data), auto
	return c, nil
}

// loadTree reads the configuration of a host, includes and all, and keeps each file
// as it was.
func loadTree(ctx context.Context, h *facts.Host, as, main string) (*conf.Tree, map[string]host.File, error) {
	before := map[string]host.File{}
	read := func(p string) ([]byte, bool, error) {
		f, err := h.File(ctx, as, p)
		if err != nil {
			return nil, false, err
		}
		before[p] = f
		return f.Data, f.Exists, nil
	}
	list := func(dir string) ([]string, error) { return facts.ConfigNames(ctx, h, as, dir) }
	tree, err := conf.Load(main, read, list)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration of %s: %w", h.Name, err)
	}
	return tree, before, nil
}

// holds reports whether what is in the files, or else the default, is as
// wanted. What the server runs with is not asked: a value that was only started
// on a command line is gone at the next start.
func (c *config) holds(name string, want Wanted) (bool, error) {
	known, ok := c.settings.Lookup(name)
	if !ok && !strings.Contains(name, ".") {
		return false, c.unknown(name)
	}
	return c.suits(known, c.value(known, name), want)
}

// runsWith reports whether the server's running value is as wanted.
func (c *config) runsWith(name string, want Wanted) (bool, error) {
	known, _ := c.settings.Lookup(name)
	return c.suits(known, known.Value+bareUnit(known), want)
}

func (c *config) needsRestart(name string) bool {
	known, _ := c.settings.Lookup(name)
	return known.NeedsRestart()
}

func (c *config) suits(known postgres.Setting, have string, want Wanted) (bool, error) {
	name, kind := known.Name, conf.Kind{Vartype: known.Vartype, Unit: known.Unit}
	if name == "wal_level" && want.AtLeast {
		return c.version.WALLevelServesStandby(have), nil
	}
	if !want.AtLeast {
		return kind.Equal(have, want.Value), nil
	}
	cmp, err := kind.Compare(have, want.Value)
	if err != nil {
		return false, fmt.Errorf("compare %s: %w", name, err)
	}
	return cmp >= 0, nil
}

// value is what the files say, or else the default.
func (c *config) value(known postgres.Setting, name string) string {
	have, _, _, inFile := c.tree.Get(name)
	if s, ok := c.auto.Get(name); ok {
		have, inFile = s.Value, true
	}
	if inFile {
		return have
	}
	have = known.BootValue
	if c.running && known.Source != "configuration file" {
		have = known.Value // also what initdb or the environment gave
	}
	// pg_settings gives bare numbers in the setting's own unit.
	return have + bareUnit(known)
}

func (c *config) unknown(name string) error {
	return &fault.Error{Class: fault.Refused, Err: fmt.Errorf("PostgreSQL %s has no setting %s", c.version.Major(), name), Hint: fault.DidYouMean(name, c.settings.Names())}
}

// bareUnit: "8kB" blocks cannot be written as a unit; a bare number means them.
func bareUnit(s postgres.Setting) string {
	switch s.Unit {
	case "kB", "MB", "GB", "TB", "B", "us", "ms", "s", "min", "h", "d":
		return s.Unit
	}
	return ""
}

// refuseOverride: ALTER SYSTEM's file is read last and wins over any line that
// could be written here.
func (c *config) refuseOverride(name, setting string) error {
	s, ok := c.auto.Get(setting)
	if !ok {
		return nil
	}
	return fault.Refuse(name, fmt.Sprintf("ALTER SYSTEM RESET %s; then type the same command again", setting),
		fmt.Errorf("%s in %s:%d (ALTER SYSTEM) wins over postgresql.conf", setTo(setting, s.Value), c.autoPath, s.Line))
}

// setTo is a setting with its value, for a preview, the journal and an error. A command of
// the archive may hold a key, and the diff of the file does not show that either.
func setTo(name, value string) string {
	return string(facts.MaskSecrets([]byte(name + " = " + value)))
}
