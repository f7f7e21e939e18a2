package inventory

import (
	"cmp"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// field is what the value of a key decodes into. Decoding reports problems and
// goes on, so that one run shows them all; a value that had one stays empty,
// and later checks leave empty values alone.
type field interface {
	decode(d *decoder, n *yaml.Node, path string)
	place() Pos // Line is 0 when the key was not given
}

// section is embedded by every mapping of the document. Its place is that of
// its key: the mapping itself begins at its first key, which says less.
type section struct{ at Pos }

func (s *section) place() Pos  { return s.at }
func (s *section) mark(at Pos) { s.at = at }
func (s *section) given() bool { return s.at.Line != 0 }
func (s *section) isSection()  {}

// join appends a key to a path. What would break the line of a message, or
// read as part of it, is quoted.
func join(path, key string) string {
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || !unicode.IsPrint(r) }) {
		key = strconv.Quote(key)
	}
	return strings.TrimPrefix(path+"."+key, ".")
}

type decoder struct {
	file     string
	problems Errors
	compiled map[string]*regexp.Regexp
	// paths names the key of each place, for the checks that come later: by
	// then a value may be the cluster's or a host's own.
	paths map[Pos]string
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{File: d.file, Line: n.Line, Col: n.Column} }

func (d *decoder) problem(n *yaml.Node, path, hint, format string, args ...any) {
	d.problems.add(d.pos(n), path, hint, format, args...)
}

// entry is one key of a mapping with its value, aliases resolved.
type entry struct {
	name     string
	key, val *yaml.Node
}

// mapping lists the entries of a mapping in file order, each name once.
// fold compares names without case, for names that PostgreSQL folds.
func (d *decoder) mapping(n *yaml.Node, path string, fold bool) ([]entry, bool) {
	n = resolve(n)
	if isNull(n) {
		d.problem(n, path, "remove the key, or give it a value", "has no value")
		return nil, false
	}
	if n.Kind != yaml.MappingNode || n.ShortTag() != "!!map" {
		d.problem(n, path, "", "must be a mapping, not %s", shape(n))
		return nil, false
	}
	first := make(map[string]entry)
	entries := make([]entry, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], resolve(n.Content[i+1])
		name := resolve(key)
		switch {
		case name.Kind != yaml.ScalarNode || isNull(name):
			d.problem(key, path, "", "a key must be a plain name")
			continue
		case name.ShortTag() == "!!merge":
			d.problem(key, path, "shared values go under postgres: and ssh:, hosts override them",
				"merge keys (<<) are not supported")
			continue
		}
		id := name.Value
		if fold {
			id = strings.ToLower(id)
		}
		if was, dup := first[id]; dup {
			d.problem(key, path, "", "duplicate key %q, first given in line %d", name.Value, was.key.Line)
			continue
		}
		e := entry{name: name.Value, key: key, val: val}
		first[id] = e
		entries = append(entries, e)
	}
	return entries, true
}

// into decodes a mapping into the fields of dst, a pointer to a struct whose
// yaml tags are the known keys.
func (d *decoder) into(n *yaml.Node, path string, dst field) {
	entries, ok := d.mapping(n, path, false)
	if !ok {
		return
	}
	fields := fieldsOf(dst)
	given := make(map[string]bool, len(entries))
	for _, e := range entries {
		given[e.name] = true
		i := slices.IndexFunc(fields, func(f namedField) bool { return f.key == e.name })
		if i < 0 {
			d.problem(e.key, path, unknownHint(e.name, fields), "unknown key %q", e.name)
			continue
		}
		d.name(e, path)
		if m, ok := fields[i].field.(interface{ mark(Pos) }); ok {
			m.mark(d.pos(e.key))
		}
		fields[i].field.decode(d, e.val, join(path, e.name))
	}
	for _, f := range fields {
		if f.tag.Get("required") == "true" && !given[f.key] {
			d.problems.add(dst.place(), path, f.tag.Get("doc"), "missing key %q", f.key)
		}
	}
}

// name records the path of an entry.
func (d *decoder) name(e entry, path string) {
	d.paths[d.pos(e.key)] = join(path, e.name)
	d.paths[d.pos(e.val)] = join(path, e.name)
}

type namedField struct {
	key   string
	tag   reflect.StructTag
	field field
}

// fieldsOf lists the keyed fields of a section in the order of the struct.
func fieldsOf(section field) []namedField {
	v := reflect.ValueOf(section).Elem()
	var fields []namedField
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		key, ok := sf.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		fields = append(fields, namedField{key, sf.Tag, v.Field(i).Addr().Interface().(field)})
	}
	return fields
}

// unknownHint names the section that the key belongs to, else the nearest key
// of this one.
func unknownHint(key string, known []namedField) string {
	var homes []string
	doc := &document{}
	for _, top := range fieldsOf(doc) {
		if s, ok := top.field.(interface {
			field
			isSection()
		}); ok {
			for _, f := range fieldsOf(s) {
				if f.key == key {
					homes = append(homes, top.key+":")
				}
			}
		}
	}
	if len(homes) > 0 {
		return "it is a key of " + strings.Join(homes, " and ")
	}
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.key
	}
	return cmp.Or(fault.DidYouMean(key, names), "known keys: "+strings.Join(names, ", "))
}

// scalar returns the text of a scalar as it is spelled.
func (d *decoder) scalar(n *yaml.Node, path string) (string, bool) {
	n = resolve(n)
	switch {
	case n.Kind != yaml.ScalarNode:
		d.problem(n, path, "", "must be one value, not %s", shape(n))
	case isNull(n):
		d.problem(n, path, "remove the key, or give it a value; '' is the empty one", "has no value")
	case !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.ShortTag()):
		d.problem(n, path, "", "YAML tags are not supported")
	default:
		return n.Value, true
	}
	return "", false
}

// sequence lists the items of a list.
func (d *decoder) sequence(n *yaml.Node, path string) ([]*yaml.Node, bool) {
	n = resolve(n)
	switch {
	case isNull(n):
		d.problem(n, path, "remove the key, or give it a value", "has no value")
	case n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq":
		d.problem(n, path, "", "must be a list, not %s", shape(n))
	case len(n.Content) == 0:
		d.problem(n, path, "remove the key, or give it a value", "is an empty list")
	default:
		return n.Content, true
	}
	return nil, false
}

// check reports whether a text is of that form.
func (d *decoder) check(f form, text string, n *yaml.Node, path string) bool {
	message, hint := f.flaw(text, d.match)
	if message == "" {
		return true
	}
	d.problem(n, path, hint, "%s", message)
	return false
}

func (d *decoder) match(pattern, text string) bool {
	re := d.compiled[pattern]
	if re == nil {
		re = regexp.MustCompile(pattern)
		d.compiled[pattern] = re
	}
	return re.MatchString(text)
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func shape(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}
