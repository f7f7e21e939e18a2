package steps_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

var update = flag.Bool("update", false, "rewrite golden and generated files")

const canary = "canary-password"

// scene is one golden case: what a step is given. testdata/base.yaml is the
// cluster that every case begins from, and says only what differs.
type scene struct {
	Inventory string                               `yaml:"inventory"`
	Facts     map[string]any                       `yaml:"facts"`
	Files     map[string]map[string]string         `yaml:"files"`
	Modes     map[string]fs.FileMode               `yaml:"modes"`
	Links     map[string]map[string]string         `yaml:"links"`
	Space     map[string]map[string]facts.Space    `yaml:"space"`   // by host and directory
	Missing   map[string][]string                  `yaml:"missing"` // files of the base that are not there
	Settings  map[string]map[string]map[string]any `yaml:"settings"`
	Roles     map[string][]role                    `yaml:"roles"`
	SetFor    map[string]map[string][]facts.SetFor `yaml:"set_for"`
	Bad       map[string][]facts.ConfigError       `yaml:"bad"`

	Step     string            `yaml:"step"`
	Standby  string            `yaml:"standby"`
	Phase    string            `yaml:"phase"` // of a bracket: open (default) or close
	Outputs  map[string]string `yaml:"outputs"`
	Claims   []string          `yaml:"claims"`
	Ended    []string          `yaml:"ended"` // other runs
	Changed  []string          `yaml:"changed"`
	Owed     []steps.Settle    `yaml:"owed"`
	Password string            `yaml:"password"`
	Accept   []string          `yaml:"accept"`
	Without  []string          `yaml:"without"`

	Unreachable []string `yaml:"unreachable"` // hosts without facts
}

type role struct {
	Name        string `yaml:"name"`
	Login       bool   `yaml:"login"`
	Replication bool   `yaml:"replication"`
	Superuser   bool   `yaml:"superuser"`
	Becomes     bool   `yaml:"becomes"`
	Password    string `yaml:"password"`
}

// TestGolden runs testdata/KIND.txtar: pairs of NAME/case.yaml and NAME/want.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, k := range steps.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", k.Name+".txtar")
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatalf("every kind has golden cases: %v", err)
			}
			out := &txtar.Archive{Comment: archive.Comment}
			wants := map[string]string{}
			for _, f := range archive.Files {
				if name, ok := strings.CutSuffix(f.Name, "/want"); ok {
					wants[name] = string(f.Data)
				}
			}
			for _, f := range archive.Files {
				name, ok := strings.CutSuffix(f.Name, "/case.yaml")
				if !ok {
					continue
				}
				got := play(t, k.Name, f.Data)
				out.Files = append(out.Files, f, txtar.File{Name: name + "/want", Data: []byte(got)})
				if diff := cmp.Diff(wants[name], got); diff != "" && !*update {
					t.Errorf("%s differs; run with -update and read the change (-file +now):\n%s", name, diff)
				}
				delete(wants, name)
			}
			if len(out.Files) == 0 {
				t.Fatal("no case")
			}
			for name := range wants {
				t.Errorf("%s/want has no case", name)
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// play plans the step of a case, and puts the outcome into words.
func play(t *testing.T, kind string, text []byte) string {
	t.Helper()
	base, err := os.ReadFile(filepath.Join("testdata", "base.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b, s := scene{}, scene{}
	for into, from := range map[*scene][]byte{&b: base, &s: text} {
		if err := yaml.Load(from, into, yaml.WithKnownFields()); err != nil {
			t.Fatal(err)
		}
	}
	if s.Inventory == "" {
		s.Inventory = b.Inventory
	}
	if s.Standby == "" {
		s.Standby = "pg2"
	}
	if s.Password == "" {
		s.Password = canary
	}
	inv, err := inventory.Parse("pgrepctl.yaml", []byte(s.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	if s.Standby == "none" {
		s.Standby = `""`
	}
	p, err := plan.Load("case", []byte("name: case\nvars: {standby: {default: "+s.Standby+"}}\nsteps:\n- "+strings.ReplaceAll(strings.TrimSpace(s.Step), "\n", "\n  ")+"\n"), inv, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := p.Nodes[0]
	if n.Kind != kind {
		t.Fatalf("a case of %s is about %s", kind, n.Kind)
	}
	in := steps.In{Cluster: inv, Self: n.Host, Standby: p.Standby, Without: s.Without, Facts: newCast(t, inv, b, s), Run: &running{s}}
	var planned steps.Planned
	switch {
	case n.Step != nil:
		planned, err = n.Step.Plan(t.Context(), in)
	case s.Phase == "close":
		planned, err = n.Bracket.Close(t.Context(), in)
	default:
		planned, err = n.Bracket.Open(t.Context(), in)
	}
	out := words(planned, err)
	if strings.Contains(out, canary) {
		t.Errorf("a secret is shown:\n%s", out)
	}
	for _, e := range planned.Effects {
		if w, ok := e.(*effect.WriteFile); ok && w.Before.Exists && !w.Own && w.Image == "" {
			t.Errorf("an edit that cannot be taken back, for its bytes from before are kept nowhere: %s", w.Path)
		}
	}
	if err == nil && n.Step != nil && (len(planned.Effects) == 0) == (planned.Noop == "") {
		t.Errorf("a step does something, or says why not:\n%s", out)
	}
	return out
}

func words(p steps.Planned, err error) string {
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "error (class %d): %s\n", fault.ClassOf(err), err)
		var f *fault.Error
		if errors.As(err, &f) && f.Hint != "" {
			fmt.Fprintf(&b, "hint: %s\n", f.Hint)
		}
		return b.String()
	}
	if p.Noop != "" {
		fmt.Fprintf(&b, "nothing to do: %s\n", p.Noop)
	}
	for _, h := range p.Held {
		fmt.Fprintf(&b, "held: %s\n  hint: %s\n", h.What, h.Hint)
		if h.Note {
			b.WriteString("  a note\n")
		}
	}
	for _, e := range p.Effects {
		d := e.Describe()
		fmt.Fprintf(&b, "%s: %s\n", e.On(), d)
		for _, l := range details(e) {
			fmt.Fprintf(&b, "  %s\n", l)
		}
		if d.NoReturn != "" {
			fmt.Fprintf(&b, "  no return: %s\n", d.NoReturn)
		}
		if d.Hazard != "" {
			fmt.Fprintf(&b, "  hazard: %s\n", d.Hazard)
		}
		if d.Diff != "" {
			fmt.Fprintf(&b, "  | %s\n", strings.ReplaceAll(strings.TrimSuffix(d.Diff, "\n"), "\n", "\n  | "))
		}
		if inv := e.Inverse(); inv != nil {
			fmt.Fprintf(&b, "  undo: %s\n", inv.Describe())
		}
	}
	for _, s := range p.Settles {
		how := "reload"
		if s.Restart {
			how = "restart"
		}
		fmt.Fprintf(&b, "settle %s: %s for %s\n", s.Host, how, s.Why)
	}
	return b.String()
}

// details is what an act really sends, as far as it is not in its description.
func details(e effect.Effect) []string {
	switch e := e.(type) {
	case *effect.Copy:
		out := []string{"as " + e.As, strings.Join(e.Argv, "\n    ")}
		if r := e.Relay; r != nil {
			out = append(out, "pipes in "+r.Dir, "to "+e.FromAs+" on "+e.From+": "+strings.Join(r.Sender, " "))
		}
		return out
	case *effect.AddLine:
		return []string{e.Line}
	case *effect.RemovePassfile:
		return e.Images
	case *effect.SyncCopy:
		return []string{"as " + e.As + ": " + strings.Join(e.Argv, " ")}
	case *effect.SQL:
		out := slices.Clone(e.Statements)
		if e.Claims != "" {
			out = append(out, "claims "+e.Claims)
		}
		return out
	case *effect.AwaitStreaming:
		if e.LogFrom != "" {
			return []string{fmt.Sprintf("looks at %s as %s from %s on", e.Log, e.LogAs, e.LogFrom)}
		}
	case *effect.StopBackup:
		if e.Copied != nil {
			return []string{fmt.Sprintf("wants no tablespace but %q", e.Copied)}
		}
	case *effect.Balance:
		if e.Argv != nil {
			return []string{"as " + e.As + ": " + strings.Join(e.Argv, " ")}
		}
		return []string{e.As + " " + e.Socket}
	case *effect.AwaitDrained:
		var out []string
		for _, b := range e.Balancers {
			out = append(out, fmt.Sprintf("counts %s/%s at %s while it is in %s", b.Backend, b.Server, b.Host, b.To))
		}
		return out
	case *effect.Reconnect:
		return []string{fmt.Sprintf("databases %q", e.Databases)}
	case *effect.StartExclusive:
		return []string{e.Start, "label " + e.Label}
	case *effect.BackupSwitch:
		return []string{"as " + e.As + ": psql of " + e.Bin, "label " + e.Label}
	case *effect.StopExclusive:
		if e.Copied != nil {
			return []string{fmt.Sprintf("wants no tablespace but %q", e.Copied)}
		}
	case *effect.ReserveSlot:
		return []string{fmt.Sprintf("logs in as %s@%s:%d to slot %s of system %s", e.Login.User, e.Login.Address, e.Login.Port, e.Login.Slot, e.SystemID)}
	case *effect.StartBackup:
		return []string{e.Start, e.Stop}
	case *effect.Service:
		c := map[string]effect.Command{"start": e.Control.Start, "stop": e.Control.Stop, "restart": e.Control.Restart}[e.Action]
		return []string{"as " + c.As + ": " + strings.Join(c.Argv, " "), fmt.Sprintf("expect %q within %s", e.Expect, e.Timeout)}
	}
	return nil
}

// running is what a step knows of its run.
type running struct{ s scene }

func (r *running) ID() string       { return "run1" }
func (r *running) Operator() string { return "anna@desk" }
func (r *running) Ended(id string) bool {
	return slices.Contains(r.s.Ended, id)
}
func (r *running) Output(key string) (string, bool) {
	v, ok := r.s.Outputs[key]
	return v, ok
}
func (r *running) Claimed(claim string) bool { return slices.Contains(r.s.Claims, claim) }
func (r *running) Changed(name string) bool  { return slices.Contains(r.s.Changed, name) }
func (r *running) Owed(name string) []steps.Settle {
	return slices.DeleteFunc(slices.Clone(r.s.Owed), func(x steps.Settle) bool { return x.Host != name })
}
func (r *running) Password(context.Context) (secret.Value, error) {
	if r.s.Password == "none" {
		return secret.Value{}, nil
	}
	return secret.New(r.s.Password), nil
}
func (r *running) CopyKey(n int) (steps.Key, error) {
	return steps.Key{Public: fmt.Sprintf("ssh-ed25519 AAAAkey%d", n), Private: secret.New(canary)}, nil
}
func (r *running) Accepted() []string { return r.s.Accept }

// cast is the facts of a case's hosts.
type cast map[string]*facts.Host

func (c cast) Of(_ context.Context, name string) (*facts.Host, error) {
	h, ok := c[name]
	if !ok {
		return nil, &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("no facts of it")}
	}
	return h, nil
}

func newCast(t *testing.T, inv *inventory.Cluster, base, s scene) cast {
	t.Helper()
	c := cast{}
	for _, h := range inv.Hosts {
		if slices.Contains(s.Unreachable, h.Name) {
			continue
		}
		src := &source{files: map[string]host.File{}, dirs: map[string]bool{}, settings: map[string]postgres.Setting{}, bad: s.Bad[h.Name], links: s.Links[h.Name], space: s.Space[h.Name]}
		for p := range src.links {
			src.dirs[path.Dir(p)] = true
		}
		f := facts.New(h.Name, src)
		for _, layer := range []scene{base, s} {
			remarshal(t, layer.Facts[h.Name], f)
			for p, data := range layer.Files[h.Name] {
				src.put(p, data, layer.Modes[p])
			}
			for name, fields := range layer.Settings[h.Name] {
				x := src.settings[name]
				x.Name = name
				remarshal(t, fields, &x)
				src.settings[name] = x
			}
			for _, r := range layer.Roles[h.Name] {
				src.roles = append(src.roles, r)
			}
			src.setFor = layer.SetFor[h.Name]
		}
		for _, p := range s.Missing[h.Name] {
			delete(src.files, p)
			delete(src.dirs, p)
		}
		c[h.Name] = f
	}
	for _, b := range inv.Traffic.Balancers {
		f := facts.New(b.Name, nil)
		remarshal(t, s.Facts[b.Name], f)
		c[b.Name] = f
	}
	return c
}

// remarshal puts YAML values over what is there, field by field.
func remarshal(t *testing.T, from, into any) {
	t.Helper()
	if from == nil {
		return
	}
	b, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// source answers what a case wrote down.
type source struct {
	files    map[string]host.File
	dirs     map[string]bool
	settings map[string]postgres.Setting
	roles    []role
	setFor   map[string][]facts.SetFor
	bad      []facts.ConfigError
	links    map[string]string
	space    map[string]facts.Space
}

func (s *source) put(p, data string, mode fs.FileMode) {
	if mode == 0 {
		mode = 0o600
	}
	for d := path.Dir(p); d != "/"; d = path.Dir(d) {
		s.dirs[d] = true
	}
	if !strings.HasSuffix(p, "/") {
		s.files[p] = host.File{Path: p, Exists: true, Data: []byte(data), Mode: mode, UID: 26, GID: 26}
	}
}

func (s *source) File(_ context.Context, _, p string) (host.File, error) {
	if f, ok := s.files[p]; ok {
		return f, nil
	}
	return host.File{Path: p}, nil
}

func (s *source) List(_ context.Context, _, dir string) ([]host.Entry, error) {
	if !s.dirs[dir] {
		return nil, fs.ErrNotExist
	}
	var out []host.Entry
	for _, p := range slices.Sorted(maps.Keys(s.files)) {
		if path.Dir(p) == dir {
			out = append(out, host.Entry{Name: path.Base(p)})
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.dirs)) {
		if path.Dir(p) == dir {
			out = append(out, host.Entry{Name: path.Base(p), Mode: fs.ModeDir | 0o700})
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.links)) {
		if path.Dir(p) == dir {
			out = append(out, host.Entry{Name: path.Base(p), Mode: fs.ModeSymlink | 0o777})
		}
	}
	return out, nil
}

func (s *source) ReadLink(_ context.Context, _, p string) (string, error) {
	if to, ok := s.links[p]; ok {
		return to, nil
	}
	return "", fs.ErrNotExist
}

func (s *source) Space(_ context.Context, _ string, dirs []string) ([]facts.Space, error) {
	var out []facts.Space
	for _, d := range dirs {
		x := s.space[d]
		x.Path, x.Exists = d, s.dirs[d]
		out = append(out, x)
	}
	return out, nil
}

func (s *source) Access(_ context.Context, _ string, dirs []string) ([]facts.Access, error) {
	var out []facts.Access
	for _, d := range dirs {
		out = append(out, facts.Access{Path: d, Exists: s.dirs[d], Read: s.dirs[d], Write: s.dirs[d]})
	}
	return out, nil
}

func (s *source) Settings(context.Context) (postgres.Settings, error) { return s.settings, nil }

func (s *source) Role(_ context.Context, name string) (facts.Role, error) {
	for _, r := range s.roles {
		if r.Name != name {
			continue
		}
		out := facts.Role{Name: name, Exists: true, Login: r.Login, Replication: r.Replication, Superuser: r.Superuser, Becomes: r.Becomes}
		if r.Password != "" {
			v, err := postgres.SCRAMVerifier(secret.New(r.Password), []byte("0123456789abcdef"), 4096)
			out.Verifier = secret.New(v)
			return out, err
		}
		return out, nil
	}
	return facts.Role{Name: name}, nil
}

func (s *source) SetFor(_ context.Context, setting string) ([]facts.SetFor, error) {
	return s.setFor[setting], nil
}

func (s *source) ConfigErrors(context.Context) ([]facts.ConfigError, error) { return s.bad, nil }

func (s *source) RsyncServer(_ context.Context, flags []string, p string) ([]string, error) {
	return append(append([]string{"rsync", "--server", "--sender"}, flags...), ".", p), nil
}

func (s *source) ReplicationLogin(context.Context, host.Login) (host.System, error) {
	return host.System{}, errors.New("not asked by a step")
}
