package doctor

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// put gives the standby a file.
func (l *lab) put(path, text string) {
	l.pg2.SetFile("postgres", host.File{Path: path, Exists: true, Data: []byte(text)})
}

// reseeding makes pg2 a standby that is seeded again, with what ALTER SYSTEM set on it.
func (l *lab) reseeding(auto string) {
	l.streaming()
	l.scope.Reseed = true
	l.put("/srv/pg/data/postgresql.auto.conf", auto)
}

func ownConfigCases() map[string]struct {
	damage func(*lab)
	want   []string
} {
	const included = "/etc/postgresql/15/main/conf.d/ours.conf"
	return map[string]struct {
		damage func(*lab)
		want   []string
	}{
		"low parameter in an included file": {func(l *lab) {
			l.config("include_dir = 'conf.d'\n")
			l.put(included, "max_connections = 50\n")
		}, []string{"pg2 note standby.parameters"}},
		"included file that mends what the main one says": {func(l *lab) {
			l.config("max_connections = 50\nlc_time = 'de_DE.UTF-8'\ninclude_dir = 'conf.d'\n")
			l.put(included, "max_connections = 500\nlc_time = 'C'\n")
		}, nil},
		"included file that is not there": {func(l *lab) { l.config("max_connections = 50\nlc_time = 'de_DE.UTF-8'\ninclude 'gone.conf'\n") }, nil},

		"ALTER SYSTEM of a standby that is seeded again": {func(l *lab) {
			l.inside()
			l.reseeding("lc_time = 'de_DE.UTF-8'\n")
		}, []string{"pg2 block target.locale"}},
		"ALTER SYSTEM of a standby whose data go": {func(l *lab) {
			l.inside()
			l.reseeding("lc_time = 'de_DE.UTF-8'\n")
			l.scope.Emptied = true
		}, nil},
		"ALTER SYSTEM mends what the files say": {func(l *lab) {
			l.config("lc_time = 'de_DE.UTF-8'\nmax_connections = 50\n")
			l.reseeding("lc_time = 'C'\nmax_connections = 200\n")
		}, nil},
		"ALTER SYSTEM of a standby that runs": {func(l *lab) { l.streaming(); l.put("/srv/pg/data/postgresql.auto.conf", "hot_standby = off\n") }, nil},
		"ALTER SYSTEM in half a copy": {func(l *lab) {
			l.pg2.Data.State, l.pg2.Data.Marker.SystemID = facts.Partial, "77"
			l.put("/srv/pg/data/postgresql.auto.conf", "archive_mode = always\narchive_command = 'cp %p /a/%f'\n")
		}, []string{"pg2 warn standby.archives"}},
	}
}

func ownTree(t *testing.T, text string) *conf.Tree {
	t.Helper()
	read := func(string) ([]byte, bool, error) { return []byte(text), true, nil }
	list := func(string) ([]string, error) { return nil, nil }
	out, err := conf.Load("/e/postgresql.conf", read, list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAStandbyStartsWithItsOwnALTERSYSTEMOrElseItsUpstreams(t *testing.T) {
	t.Parallel()
	theirs := postgres.Settings{
		"lc_time":     {Value: "x", BootValue: "C", SourceFile: "/d/postgresql.auto.conf"},
		"lc_messages": {Value: "x", BootValue: "C", SourceFile: "/d/postgresql.auto.conf"},
		"ssl":         {Value: "on", BootValue: "off", SourceFile: "/e/postgresql.conf"},
	}
	type is struct {
		value  string
		copied bool
	}
	const own, auto = "lc_time = y\nlc_messages = y\n", "LC_TIME = z\n"
	for name, c := range map[string]struct {
		inside bool
		config string // none: not known
		auto   string // none: it has none, or it goes
		want   map[string]is
	}{
		"made":                               {config: own, want: map[string]is{"lc_time": {"x", true}, "lc_messages": {"x", true}, "ssl": {"off", false}}},
		"made, configuration not known":      {want: map[string]is{"lc_time": {"x", true}, "lc_messages": {"x", true}, "ssl": {}}},
		"made, all inside":                   {inside: true, want: map[string]is{"lc_time": {"x", true}, "lc_messages": {"x", true}, "ssl": {"on", true}}},
		"seeded again":                       {config: own, auto: auto, want: map[string]is{"lc_time": {"z", false}, "lc_messages": {"y", false}, "ssl": {"off", false}}},
		"seeded again, configuration hidden": {auto: auto, want: map[string]is{"lc_time": {"z", false}, "lc_messages": {}, "ssl": {}}},
		"seeded again, all inside":           {inside: true, auto: auto, want: map[string]is{"lc_time": {"z", false}, "lc_messages": {}, "ssl": {"on", true}}},
	} {
		p := pair{standby: subject{inv: &inventory.Host{}, f: &facts.Host{}}, upstream: subject{inv: &inventory.Host{}, f: &facts.Host{}, settings: theirs}}
		if !c.inside {
			p.standby.inv.Postgres.ConfigDirectory = "/e"
		}
		if c.config != "" {
			p.config = ownTree(t, c.config)
		}
		if c.auto != "" {
			p.auto = conf.Parse([]byte(c.auto))
		}
		for setting, want := range c.want {
			if value, copied := p.startsWith(setting); value != want.value || copied != want.copied {
				t.Errorf("%s, %s: %q %t, want %+v", name, setting, value, copied, want)
			}
		}
	}
}
