package inventory

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// value is a scalar of one kind, spelled as in the file.
type value[K kind] struct {
	Value string
	at    Pos
}

func (v *value[K]) place() Pos  { return v.at }
func (v *value[K]) given() bool { return v.at.Line != 0 }
func (v *value[K]) form() form  { var k K; return k.form() }

func (v *value[K]) decode(d *decoder, n *yaml.Node, path string) {
	v.at = d.pos(n)
	if text, ok := d.scalar(n, path); ok && d.check(v.form(), text, n, path) {
		v.Value = text
	}
}

func (v *value[K]) setDefault(text string) { v.Value = text }

// list is one value of a kind, or a list of them.
type list[K kind] struct {
	Values []string
	at     Pos
}

func (l *list[K]) place() Pos { return l.at }
func (l *list[K]) form() form { var k K; return k.form() }

func (l *list[K]) decode(d *decoder, n *yaml.Node, path string) {
	l.at = d.pos(n)
	items := []*yaml.Node{n}
	if resolve(n).Kind != yaml.ScalarNode {
		var ok bool
		if items, ok = d.sequence(n, path); !ok {
			return
		}
	}
	for _, item := range items {
		if text, ok := d.scalar(item, path); ok && d.check(l.form(), text, item, path) {
			l.Values = append(l.Values, text)
		}
	}
}

// argv is a program and its arguments. It is never one string: there is no
// shell to split it.
type argv struct {
	Args []string
	at   Pos
}

func (a *argv) place() Pos  { return a.at }
func (a *argv) given() bool { return a.at.Line != 0 }

func (a *argv) decode(d *decoder, n *yaml.Node, path string) {
	a.at = d.pos(n)
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		d.problem(n, path, "write [program, argument, …]; there is no shell", "must be a list, not a single value")
		return
	}
	items, ok := d.sequence(n, path)
	if !ok {
		return
	}
	args := make([]string, 0, len(items))
	for _, item := range items {
		text, ok := d.scalar(item, path)
		if !ok || !d.check(argument{}.form(), text, item, path) {
			return
		}
		args = append(args, text)
	}
	if args[0] == "" {
		d.problem(items[0], path, "", "the program has no name")
		return
	}
	a.Args = args
}

// decode refuses everything but a reference, and quotes nothing of what it
// refuses: it may be the secret.
func (s *secretSection) decode(d *decoder, n *yaml.Node, path string) {
	const forms = "write {env: NAME}, {file: /path} or {command: [program, argument]}"
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		d.problem(n, path, forms, "a literal secret is refused")
		return
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 ||
		!slices.Contains([]string{"env", "file", "command"}, resolve(n.Content[0]).Value) {
		d.problem(n, path, forms, "must be a reference to a secret")
		return
	}
	name, val := resolve(n.Content[0]).Value, resolve(n.Content[1])
	path = join(path, name)
	switch name {
	case "env":
		// The usual slip is the secret itself in place of the variable's
		// name, so the value is not quoted here.
		s.Env.at = d.pos(val)
		text, ok := d.scalar(val, path)
		if !ok {
			return
		}
		if message, _ := s.Env.form().flaw(text, d.match); message != "" {
			d.problem(val, path, s.Env.form().Want, "is not the name of an environment variable")
			return
		}
		s.Env.Value = text
	case "file":
		s.File.at = d.pos(val)
		text, ok := d.scalar(val, path)
		if !ok {
			return
		}
		if message, _ := s.File.form().flaw(text, d.match); message != "" {
			d.problem(val, path, s.File.form().Want, "is not the path of a file")
			return
		}
		s.File.Value = text
	case "command":
		s.Command.decode(d, val, path)
	}
}

func (s *serviceSection) decode(d *decoder, n *yaml.Node, path string) {
	before := len(d.problems)
	d.into(n, path, s)
	if len(d.problems) > before {
		return
	}
	kind := s.Kind.Value
	for _, f := range fieldsOf(s) {
		a, ok := f.field.(*argv)
		switch {
		case !ok:
		case kind == ServiceCommand && !a.given():
			d.problems.add(s.at, path, f.tag.Get("doc"), "missing key %q", f.key)
		case kind != ServiceCommand && a.given():
			d.problems.add(a.at, join(path, f.key), "", "only kind command has it")
		}
	}
	if s.Name.given() && kind != ServicePgCtlCluster && kind != ServiceSystemd {
		d.problems.add(s.Name.at, join(path, "name"), "", "kind %s has no name", kind)
	}
}

// setting is one entry of settings.
type setting struct {
	name, value string
	atLeast     bool
	at          Pos
}

type settingMap struct {
	section
	items []setting
}

func (m *settingMap) decode(d *decoder, n *yaml.Node, path string) {
	entries, _ := d.mapping(n, path, true)
	for _, e := range entries {
		at := join(path, e.name)
		d.name(e, path)
		if !d.check(settingName{}.form(), e.name, e.key, at) {
			continue
		}
		if instead := ownedSetting(e.name); instead != "" {
			d.problem(e.key, at, instead, "is not set here")
			continue
		}
		s := setting{name: e.name, at: d.pos(e.key)}
		val, f := e.val, settingValue{}.form()
		if val.Kind == yaml.MappingNode && len(val.Content) == 2 && resolve(val.Content[0]).Value == "min" {
			s.atLeast, val, f = true, resolve(val.Content[1]), minimum{}.form()
		} else if val.Kind != yaml.ScalarNode {
			d.problem(val, at, "write one value, or {min: N} for at least N", "must be one value, not %s", shape(val))
			continue
		}
		if text, ok := d.scalar(val, at); ok && d.check(f, text, val, at) {
			s.value = text
			m.items = append(m.items, s)
		}
	}
}

// ownedSetting says where in the inventory a setting comes from that pgrepctl
// writes itself; "" for all others. Two sources for one value would disagree.
func ownedSetting(name string) string {
	switch strings.ToLower(name) {
	case "port":
		return "give postgres.port"
	case "data_directory":
		return "give postgres.data_directory"
	case "primary_conninfo":
		return "it is made from replication: and the upstream's address"
	case "primary_slot_name":
		return "give slot: of the host"
	case "recovery_min_apply_delay":
		return "give apply_delay: of the host"
	case "standby_mode":
		return "it follows from role: of the host"
	case "include", "include_dir", "include_if_exists":
		return "it is a directive and no setting: put what it includes here"
	}
	return ""
}

// pair is one entry of a map of texts.
type pair struct {
	key, value string
	at         Pos
}

// pathMap maps absolute paths to absolute paths.
type pathMap struct {
	section
	items []pair
}

func (m *pathMap) decode(d *decoder, n *yaml.Node, path string) {
	m.items = d.pairs(n, path, absPath{}.form(), absPath{}.form())
}

// textMap maps names to texts.
type textMap struct {
	section
	items []pair
}

func (m *textMap) decode(d *decoder, n *yaml.Node, path string) {
	m.items = d.pairs(n, path, labelName{}.form(), labelText{}.form())
}

func (d *decoder) pairs(n *yaml.Node, path string, key, val form) []pair {
	entries, _ := d.mapping(n, path, false)
	var pairs []pair
	for _, e := range entries {
		if !d.check(key, e.name, e.key, join(path, e.name)) {
			continue
		}
		if text, ok := d.scalar(e.val, join(path, e.name)); ok && d.check(val, text, e.val, join(path, e.name)) {
			d.name(e, path)
			pairs = append(pairs, pair{e.name, text, d.pos(e.key)})
		}
	}
	return pairs
}

// hostEntry is a host with its name.
type hostEntry struct {
	hostSection
	name   string
	nameAt Pos
}

type hostMap struct {
	section
	items []*hostEntry
}

func (m *hostMap) decode(d *decoder, n *yaml.Node, path string) {
	if isEmpty(n) {
		d.problems.add(m.at, path, "name at least the primary", "has no host")
	}
	d.named(n, path, func(name string, at Pos) namedEntry {
		h := &hostEntry{name: name, nameAt: at}
		m.items = append(m.items, h)
		return h
	})
}

// isEmpty reports a mapping without an entry.
func isEmpty(n *yaml.Node) bool { return n.Kind == yaml.MappingNode && len(n.Content) == 0 }

// namedEntry is a section that stands under a name of its own.
type namedEntry interface {
	mark(at Pos)
	decode(d *decoder, n *yaml.Node, path string)
}

// named decodes the entries of a mapping from names of hosts to sections; add keeps one.
func (d *decoder) named(n *yaml.Node, path string, add func(name string, at Pos) namedEntry) {
	entries, _ := d.mapping(n, path, false)
	for _, e := range entries {
		if !d.check(hostName{}.form(), e.name, e.key, join(path, e.name)) {
			continue
		}
		d.name(e, path)
		at := d.pos(e.key)
		x := add(e.name, at)
		x.mark(at)
		x.decode(d, e.val, join(path, e.name))
	}
}
