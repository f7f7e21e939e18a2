// Package plan reads plan files: an ordered, nested list of steps, and nothing
// else. It binds each to a host and gives it a stable id.
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/pkg/templates"
)

// Plan is a plan file bound to a cluster.
type Plan struct {
	Name    string
	Doc     string
	Text    string // the file itself
	Vars    map[string]string
	Cluster *inventory.Cluster
	Standby *inventory.Host // what the variable standby names; nil without it
	// Without are the hosts that the variable without names: nobody looks at them.
	Without []string
	// Meets is the host of the plan's lock: there operators meet.
	Meets string
	Nodes []Node
}

// Node is one step of a plan on one host: a Step, or a Bracket with a body.
type Node struct {
	ID      string // position and host: "1.3@pg1"
	Kind    string
	Host    *inventory.Host
	Step    steps.Step
	Bracket steps.Bracket
	Body    []Node
	// Standby is the host that the node is about, where a group goes through
	// standbys: `each:` with a `do:` and no kind. Else it is that of the plan.
	Standby *inventory.Host
}

// Var is a variable of a plan file.
type Var struct {
	Name     string `json:"name"`
	Doc      string `yaml:"doc" json:"doc"`
	Required bool   `yaml:"required" json:"required"`
	Default  string `yaml:"default" json:"default"`
}

// Header is a plan file's own description.
type Header struct {
	Name string `json:"name"`
	Doc  string `json:"doc"`
	Vars []Var  `json:"vars"`
}

// Load reads a plan file and binds it. path is for messages only.
func Load(path string, text []byte, c *inventory.Cluster, vars map[string]string) (*Plan, error) {
	l := &loader{path: path, cluster: c, funcs: templates.Funcs(c)}
	root := l.root(text)
	if root == nil {
		return nil, l.err()
	}
	head := l.header(root)
	p := &Plan{Name: head.Name, Doc: head.Doc, Text: string(text), Cluster: c, Vars: l.vars(root, head.Vars, vars)}
	l.data = templates.Data(c, p.Vars)
	if name := p.Vars["standby"]; name != "" {
		h, ok := c.Host(name)
		switch {
		case !ok:
			l.add(root, "vars.standby", fmt.Sprintf("no host %q in the inventory", name), fault.DidYouMean(name, c.Names()))
		case c.Upstream(h) == nil:
			l.add(root, "vars.standby", name+" is the primary in the inventory", "")
		}
		p.Standby, l.standby = h, h
	}
	l.leaveOut(root, p.Vars["without"])
	p.Without = l.without
	if len(l.problems) > 0 {
		return nil, l.err()
	}
	p.Nodes = l.nodes(value(root, "steps"), "")
	p.Meets = c.Primary().Name
	if i := slices.IndexFunc(p.Nodes, func(n Node) bool { return n.Kind == "lock" }); i >= 0 {
		p.Meets = p.Nodes[i].Host.Name
	}
	if len(l.problems) > 0 {
		return nil, l.err()
	}
	return p, nil
}

// Describe reads only a plan file's header.
func Describe(path string, text []byte) (Header, error) {
	l := &loader{path: path}
	root := l.root(text)
	if root == nil {
		return Header{}, l.err()
	}
	h := l.header(root)
	if len(l.problems) > 0 {
		return Header{}, l.err()
	}
	return h, nil
}

type loader struct {
	path     string
	cluster  *inventory.Cluster
	funcs    template.FuncMap
	data     map[string]any
	standby  *inventory.Host
	about    *inventory.Host // of the group that is read
	without  []string        // hosts that `each: others` leaves out
	problems inventory.Errors
}

func (l *loader) add(n *yaml.Node, path, message, hint string) {
	p := inventory.Problem{File: l.path, Path: path, Message: message, Hint: hint}
	if n != nil {
		p.Line, p.Col = n.Line, n.Column
	}
	l.problems = append(l.problems, p)
}

func (l *loader) err() error {
	slices.SortStableFunc(l.problems, func(a, b inventory.Problem) int {
		return cmp.Or(a.Line-b.Line, a.Col-b.Col)
	})
	return &fault.Error{Class: fault.Invalid, Op: "read plan " + l.path, Err: l.problems}
}

func (l *loader) root(text []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		l.yamlErrors(nil, "", err)
		return nil
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		l.add(&doc, "", "a plan is a mapping with name and steps", "")
		return nil
	}
	root := doc.Content[0]
	l.keys(root, "", "name", "doc", "vars", "steps")
	if s := value(root, "steps"); s == nil || s.Kind != yaml.SequenceNode {
		l.add(root, "steps", "missing, or not a list", "")
	}
	return root
}

func (l *loader) header(root *yaml.Node) Header {
	h := Header{}
	if n := value(root, "name"); n != nil {
		h.Name = n.Value
	} else {
		l.add(root, "name", "missing", "")
	}
	if n := value(root, "doc"); n != nil {
		h.Doc = n.Value
	}
	vars := value(root, "vars")
	if vars == nil {
		return h
	}
	for i := 0; i+1 < len(vars.Content); i += 2 {
		v := Var{}
		l.load(vars.Content[i+1], "vars."+vars.Content[i].Value, &v)
		v.Name = vars.Content[i].Value
		h.Vars = append(h.Vars, v)
	}
	return h
}

func (l *loader) vars(root *yaml.Node, declared []Var, given map[string]string) map[string]string {
	out := map[string]string{}
	for _, v := range declared {
		switch val, ok := given[v.Name]; {
		case ok:
			out[v.Name] = val
		case v.Required:
			l.add(root, "vars."+v.Name, "no value given", "--set "+v.Name+"=…")
		default:
			out[v.Name] = v.Default
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := out[name]; !ok && !slices.ContainsFunc(declared, func(v Var) bool { return v.Name == name }) {
			l.add(root, "vars", fmt.Sprintf("the plan has no variable %q", name), "")
		}
	}
	return out
}

func (l *loader) nodes(list *yaml.Node, prefix string) []Node {
	var out []Node
	for i, item := range list.Content {
		id := prefix + strconv.Itoa(i+1)
		if item.Kind != yaml.MappingNode {
			l.add(item, "step "+id, "a step is a mapping", "")
			continue
		}
		hosts := []*inventory.Host{nil}
		if each := value(item, "each"); each != nil {
			hosts = l.each(each)
			if l.isGroup(item) {
				for _, h := range hosts {
					out = append(out, l.group(value(item, "do"), id, h)...)
				}
				continue
			}
		}
		for _, h := range hosts {
			if n, ok := l.node(item, id, h); ok {
				out = append(out, n)
			}
		}
	}
	return out
}

func (l *loader) node(item *yaml.Node, id string, each *inventory.Host) (Node, bool) {
	var kindKey, params *yaml.Node
	for i := 0; i+1 < len(item.Content); i += 2 {
		switch k := item.Content[i]; k.Value {
		case "at", "do", "each":
		default:
			if kindKey != nil {
				l.add(k, "step "+id, fmt.Sprintf("one kind a step: %q and %q", kindKey.Value, k.Value), "")
				return Node{}, false
			}
			kindKey, params = k, item.Content[i+1]
		}
	}
	if kindKey == nil {
		l.add(item, "step "+id, "names no kind", "")
		return Node{}, false
	}
	kinds := steps.Kinds()
	at := slices.IndexFunc(kinds, func(k steps.Kind) bool { return k.Name == kindKey.Value })
	if at < 0 {
		var names []string
		for _, k := range kinds {
			names = append(names, k.Name)
		}
		l.add(kindKey, "step "+id, fmt.Sprintf("unknown kind %q", kindKey.Value), fault.DidYouMean(kindKey.Value, names))
		return Node{}, false
	}
	n := Node{Kind: kindKey.Value}
	n.Host = l.at(item, id, each)
	if n.Host == nil {
		return Node{}, false
	}
	n.ID = id + "@" + n.Host.Name
	if each != nil && n.Host != each { // else the ids of all of them would be the same
		n.ID = id + ":" + each.Name + "@" + n.Host.Name
	}
	step := kinds[at].New()
	n.Standby = l.about
	before := len(l.problems)
	data := maps.Clone(l.data)
	if each != nil {
		data["each"] = each.Name
	}
	rendered := l.render(params, n.Kind, data)
	l.load(rendered, n.Kind, step)
	if v, ok := step.(interface{ Validate() error }); ok && len(l.problems) == before {
		if err := v.Validate(); err != nil {
			l.add(kindKey, n.Kind, err.Error(), "")
		}
	}
	body := value(item, "do")
	switch s := step.(type) {
	case steps.Bracket:
		if body == nil || body.Kind != yaml.SequenceNode {
			l.add(kindKey, n.Kind, "needs a body: do: […]", "")
			return Node{}, false
		}
		n.Bracket, n.Body = s, l.nodes(body, id+".")
	case steps.Step:
		if body != nil {
			l.add(body, n.Kind, "has no inside; do: belongs to a bracket", "")
		}
		n.Step = s
	}
	return n, true
}

// at resolves a step's host; without at: it is the primary.
func (l *loader) at(item *yaml.Node, id string, each *inventory.Host) *inventory.Host {
	n := value(item, "at")
	if n == nil {
		if each != nil {
			return each
		}
		return l.cluster.Primary()
	}
	name, err := templates.Render(n.Value, l.funcs, l.data)
	if err != nil {
		l.add(n, "at", err.Error(), "")
		return nil
	}
	switch name {
	case "primary":
		return l.cluster.Primary()
	case "standby", "upstream":
		h := l.standby
		if each != nil {
			h = each
		}
		if h == nil {
			l.add(n, "step "+id+" at", name+" means nothing in a plan without the variable standby", "")
			return nil
		}
		if name == "upstream" {
			return l.cluster.Upstream(h)
		}
		return h
	}
	h, ok := l.cluster.Host(name)
	if !ok {
		l.add(n, "at", fmt.Sprintf("no host %q in the inventory", name), fault.DidYouMean(name, append(l.cluster.Names(), "primary", "upstream", "standby")))
		return nil
	}
	return h
}

// render copies a node with its strings rendered.
func (l *loader) render(n *yaml.Node, path string, data map[string]any) *yaml.Node {
	c := *n
	if n.Kind == yaml.ScalarNode {
		v, err := templates.Render(n.Value, l.funcs, data)
		if err != nil {
			l.add(n, path, err.Error(), "")
		}
		if c.Value = v; v != n.Value && (v == "true" || v == "false") {
			c.Tag, c.Style = "!!bool", 0 // a variable's value may stand where true or false is wanted
		}
	}
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, x := range n.Content {
		c.Content[i] = l.render(x, path, data)
	}
	return &c
}

func (l *loader) load(n *yaml.Node, path string, into any) {
	if err := n.Load(into, yaml.WithKnownFields()); err != nil {
		from := len(l.problems)
		l.yamlErrors(n, path, err)
		for i := range l.problems[from:] {
			reword(&l.problems[from+i], into)
		}
	}
}

func (l *loader) yamlErrors(n *yaml.Node, path string, err error) {
	var many *yaml.LoadErrors
	if errors.As(err, &many) {
		for _, e := range many.Errors {
			l.problems = append(l.problems, inventory.Problem{File: l.path, Path: path, Line: e.Mark.Line, Col: e.Mark.Column, Message: e.Message})
		}
		return
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		l.problems = append(l.problems, inventory.Problem{File: l.path, Path: path, Line: one.Mark.Line, Col: one.Mark.Column, Message: one.Message})
		return
	}
	l.add(n, path, strings.TrimPrefix(err.Error(), "yaml: "), "")
}

func (l *loader) keys(n *yaml.Node, path string, known ...string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; !slices.Contains(known, k.Value) {
			l.add(k, path, fmt.Sprintf("unknown key %q", k.Value), fault.DidYouMean(k.Value, known))
		}
	}
}

func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
