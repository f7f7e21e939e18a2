package settings

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// place is a call of the tool: its directories, environment and arguments.
type place struct {
	t    *testing.T
	root string
	vars map[string]string
	args []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, root: t.TempDir()}
	p.vars = map[string]string{"HOME": p.path("home")}
	for _, dir := range []string{"cwd", "home/.config/pgrepctl", "etc"} {
		if err := os.MkdirAll(p.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *place) path(rel string) string { return filepath.Join(p.root, rel) }

func (p *place) file(rel, text string) *place {
	p.t.Helper()
	if err := os.WriteFile(p.path(rel), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return p
}

func (p *place) local(text string) *place  { return p.file("cwd/.pgrepctl.yaml", text) }
func (p *place) user(text string) *place   { return p.file("home/.config/pgrepctl/config.yaml", text) }
func (p *place) system(text string) *place { return p.file("etc/config.yaml", text) }

func (p *place) load() (*Settings, error) {
	p.t.Helper()
	fs := pflag.NewFlagSet("pgrepctl", pflag.ContinueOnError)
	AddFlags(fs)
	AddCommandFlags(fs, "check")
	if err := fs.Parse(p.args); err != nil {
		p.t.Fatal(err)
	}
	env := func(name string) string { return p.vars[name] }
	return load(fs, env, p.path("cwd"), p.path("etc/config.yaml"))
}

func (p *place) mustLoad() *Settings {
	p.t.Helper()
	s, err := p.load()
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *place) mustFail() string {
	p.t.Helper()
	_, err := p.load()
	if err == nil {
		p.t.Fatal("loaded")
	}
	if c := fault.ClassOf(err); c != fault.Invalid {
		p.t.Errorf("class %d, want %d", c, fault.Invalid)
	}
	return strings.ReplaceAll(err.Error(), p.root+"/", "")
}

// Every key, in every pair of neighbouring layers: the higher one wins and is
// named as the origin.
func TestHigherLayerWinsForEveryKey(t *testing.T) {
	t.Parallel()
	two := map[Kind][2]string{
		Text: {"a", "b"}, Path: {"/a", "/b"}, Bool: {"false", "true"}, Number: {"3", "4"},
		Count: {"1", "2"}, Duration: {"3s", "4s"}, Size: {"3MB", "4MB"},
	}
	layers := []struct {
		source Source
		set    func(p *place, k Key, v string)
		name   func(p *place, k Key) string
	}{
		{FromDefault, func(*place, Key, string) {}, func(*place, Key) string { return "" }},
		{FromFile, func(p *place, k Key, v string) { p.system(k.Name + ": " + v) },
			func(p *place, _ Key) string { return p.path("etc/config.yaml:1") }},
		{FromFile, func(p *place, k Key, v string) { p.user(k.Name + ": " + v) },
			func(p *place, _ Key) string { return p.path("home/.config/pgrepctl/config.yaml:1") }},
		{FromFile, func(p *place, k Key, v string) { p.local(k.Name + ": " + v) },
			func(p *place, _ Key) string { return p.path("cwd/.pgrepctl.yaml:1") }},
		{FromEnv, func(p *place, k Key, v string) { p.vars[k.Env()] = v },
			func(_ *place, k Key) string { return k.Env() }},
		{FromFlag, func(p *place, k Key, v string) { p.args = append(p.args, "--"+k.Name+"="+v) },
			func(_ *place, k Key) string { return "--" + k.Name }},
	}
	for _, k := range Keys() {
		values := two[k.Kind]
		if k.Kind == Choice {
			values = [2]string{k.Choices[1], k.Choices[0]}
		}
		for i := 1; i < len(layers); i++ {
			if k.CallOnly && layers[i].source == FromFile {
				continue
			}
			low, high := layers[i-1], layers[i]
			p := newPlace(t)
			if !k.CallOnly || low.source != FromFile {
				low.set(p, k, values[0])
			}
			high.set(p, k, values[1])
			s := p.mustLoad()
			if got := value(s, k.Name); got != values[1] {
				t.Errorf("%s: %s over %s: got %q, want %q", k.Name, high.source, low.source, got, values[1])
			}
			if got, want := s.Origin(k.Name), (Origin{high.source, high.name(p, k)}); got != want {
				t.Errorf("%s: origin %v, want %v", k.Name, got, want)
			}
		}
	}
}

func value(s *Settings, key string) string {
	for _, one := range s.All() {
		if one.Key == key {
			return one.Value
		}
	}
	return ""
}

// A flag that says what the default says is still a flag: it overrules files.
func TestFlagWithTheDefaultValueOverrulesFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t).local("color: never\nplain: true\n")
	p.args = []string{"--color=auto", "--plain=false"}
	s := p.mustLoad()
	if s.Color() != "auto" || s.Plain() {
		t.Errorf("color %s, plain %v", s.Color(), s.Plain())
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := p.mustLoad()
	type all struct {
		Inventory, Output, Color, OnFailure, State, Templates, Log string
		Plain, Quiet, Yes                                          bool
		Verbose, Parallel                                          int
		Connect, Timeout                                           time.Duration
	}
	got := all{
		s.Inventory(), s.Output(), s.Color(), s.OnFailure(), s.StateDir(), s.TemplatesDir(), s.LogFile(),
		s.Plain(), s.Quiet(), s.Yes(), s.Verbose(), s.Parallel(), s.ConnectTimeout(), s.Timeout(),
	}
	want := all{
		Inventory: "pgrepctl.yaml", Output: "table", Color: "auto", OnFailure: "stop",
		State: p.path("home/.local/state/pgrepctl"), Parallel: 64, Connect: 0,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTypedValuesFromEveryLayer(t *testing.T) {
	t.Parallel()
	p := newPlace(t).system("connect-timeout: 1m\nparallel: 2\n").local("quiet: on\n")
	p.vars["PGREPCTL_TIMEOUT"] = "90s"
	p.vars["PGREPCTL_YES"] = "1"
	p.args = []string{"-vv", "-i", "shop.yaml"}
	s := p.mustLoad()
	if s.ConnectTimeout() != time.Minute || s.Parallel() != 2 || !s.Quiet() || s.Timeout() != 90*time.Second ||
		!s.Yes() || s.Verbose() != 2 || s.Inventory() != "shop.yaml" {
		t.Errorf("%+v", s.All())
	}
}

func TestEmptyVariableCountsAsNotSet(t *testing.T) {
	t.Parallel()
	p := newPlace(t).local("color: never")
	p.vars["PGREPCTL_COLOR"] = ""
	if s := p.mustLoad(); s.Color() != "never" || s.Origin("color").Source != FromFile {
		t.Errorf("%s from %s", s.Color(), s.Origin("color"))
	}
}

func TestMistakesInFilesAreAllNamedWithTheirPlace(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.system("colour: never\n")
	p.user("parallel: 0\nstate-dir:\nplain: [a]\nparallel: 3\n")
	p.local("# mine\nyes: true\ntimeout: 10\nxyzzy: 1\ncolor: blue\n")
	p.vars["PGREPCTL_OUTPUT"] = "xml"
	want := `read settings: etc/config.yaml:1:1: unknown key "colour" (did you mean color?)
home/.config/pgrepctl/config.yaml:1:1: parallel: "0" is not a whole number from 1
home/.config/pgrepctl/config.yaml:2:1: state-dir: has no value
home/.config/pgrepctl/config.yaml:3:1: plain: must be one value
home/.config/pgrepctl/config.yaml:4:1: parallel is given already in line 1
cwd/.pgrepctl.yaml:2:1: yes cannot be set in a file: it is given with each call, as --yes or PGREPCTL_YES
cwd/.pgrepctl.yaml:3:1: timeout: "10" is not a duration like 10s, 5m or 1h30m
cwd/.pgrepctl.yaml:4:1: unknown key "xyzzy"
cwd/.pgrepctl.yaml:5:1: color: "blue" is not one of auto, always, never
PGREPCTL_OUTPUT: "xml" is not one of table, json, yaml`
	if d := cmp.Diff(want, p.mustFail()); d != "" {
		t.Error(d)
	}
}

func TestFileThatIsNotYAMLIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"color: 'never\n":              "cwd/.pgrepctl.yaml:2:1: YAML: ",
		"- color\n":                    "cwd/.pgrepctl.yaml:1:1: must be keys and values",
		"color: auto\n---\nplain: 1":   "cwd/.pgrepctl.yaml:2: a second YAML document begins here",
		"log-file: ~\n":                "cwd/.pgrepctl.yaml:1:1: log-file: has no value",
		"? [a, b]\n: 1\n":              "cwd/.pgrepctl.yaml:1:3: a key must be a plain name",
		"plain: true\n\tcolor: auto":   "cwd/.pgrepctl.yaml:2:",
		strings.Repeat("#", maxFile+1): "cwd/.pgrepctl.yaml is larger than 1 MiB",
	} {
		if got := newPlace(t).local(text).mustFail(); !strings.Contains(got, want) {
			t.Errorf("%.20q: got %q, want %q in it", text, got, want)
		}
	}
}

func TestUnreadableFileIsAnErrorAndAMissingOneIsNot(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	if err := os.Mkdir(p.path("cwd/.pgrepctl.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := p.mustFail(); !strings.Contains(got, ".pgrepctl.yaml") {
		t.Error(got)
	}
}

func TestFilesWithoutKeysSetNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# parallel: 3\n", "---\n", "~\n", "{}\n"} {
		if s := newPlace(t).local(text).mustLoad(); s.Parallel() != 64 {
			t.Errorf("%q: parallel %d", text, s.Parallel())
		}
	}
}

func TestPathsInFilesAreMeantFromTheFile(t *testing.T) {
	t.Parallel()
	p := newPlace(t).user("inventory: shop.yaml\nlog-file: ~/runs.log\nstate-dir: /srv/runs\n")
	s := p.mustLoad()
	got := []string{s.Inventory(), s.LogFile(), s.StateDir()}
	want := []string{p.path("home/.config/pgrepctl/shop.yaml"), p.path("home/runs.log"), "/srv/runs"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPlacesOfFilesAndStateFollowXDG(t *testing.T) {
	t.Parallel()
	p := newPlace(t).user("parallel: 5")
	p.vars["XDG_CONFIG_HOME"] = "relative" // ignored
	p.vars["XDG_STATE_HOME"] = p.path("state")
	if s := p.mustLoad(); s.Parallel() != 5 || s.StateDir() != p.path("state/pgrepctl") {
		t.Errorf("parallel %d, state %s", s.Parallel(), s.StateDir())
	}
	p.vars["XDG_CONFIG_HOME"] = p.path("etc")
	delete(p.vars, "XDG_STATE_HOME")
	delete(p.vars, "HOME")
	if s := p.mustLoad(); s.Parallel() != 64 || s.StateDir() != "/var/lib/pgrepctl" {
		t.Errorf("parallel %d, state %s", s.Parallel(), s.StateDir())
	}
}

func TestWrongFlagValueIsRefusedByTheFlag(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"--color=blue", "--parallel=0", "--timeout=-1s", "--plain=maybe", "--verbose=-1", "--inventory="} {
		fs := pflag.NewFlagSet("pgrepctl", pflag.ContinueOnError)
		AddFlags(fs)
		if err := fs.Parse([]string{arg}); err == nil {
			t.Errorf("%s accepted", arg)
		}
	}
}

func TestLoadWithoutFlags(t *testing.T) {
	t.Parallel()
	p := newPlace(t).local("parallel: 2")
	env := func(name string) string { return p.vars[name] }
	for _, fs := range []*pflag.FlagSet{nil, pflag.NewFlagSet("none", pflag.ContinueOnError)} {
		s, err := Load(fs, env, p.path("cwd"))
		if err != nil {
			t.Fatal(err)
		}
		if s.Parallel() != 2 {
			t.Errorf("parallel %d", s.Parallel())
		}
	}
}

// viper folds case and splits names on dots; the list must not run into that.
func TestKeysAreFlatAndKebabCase(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	letters := map[string]string{}
	for _, k := range Keys() {
		if !form.MatchString(k.Name) {
			t.Errorf("key %q", k.Name)
		}
		if k.Doc == "" || strings.HasSuffix(k.Doc, ".") || (k.Default == "") == (k.Derived == "") {
			t.Errorf("%s: wants a doc, and one of default and derived", k.Name)
		}
		if other := letters[k.Letter]; k.Letter != "" && other != "" {
			t.Errorf("-%s is both %s and %s", k.Letter, other, k.Name)
		}
		letters[k.Letter] = k.Name
		k.initial() // panics on a wrong default
	}
}

func TestErrorsKeepTheirCause(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	if err := os.Symlink(p.path("cwd/.pgrepctl.yaml"), p.path("cwd/.pgrepctl.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err := p.load()
	var pathError *os.PathError
	if !errors.As(err, &pathError) {
		t.Errorf("%v", err)
	}
}

func TestReferencePageIsTheList(t *testing.T) {
	t.Parallel()
	page := filepath.Join("..", "..", "docs", "settings.md")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(page, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), Markdown()); d != "" {
		t.Errorf("docs/settings.md is not what the list of keys says; run with UPDATE_GOLDEN=1 and look at the change:\n%s", d)
	}
}
