// Package order finds the order in which the servers of a replication tree are
// restarted, so that none of them ever breaks PostgreSQL's rule: some settings, such as
// max_connections, must not be lower on a standby than on its primary (manual, hot
// standby, "Administrator's Overview").
//
// What a standby compares its own value with is the primary's, as it is in the WAL
// at each point: the primary writes a record of them when it starts (XLOG_PARAMETER_CHANGE),
// and a standby takes them into its control file when it replays that. Below 14 a standby
// that is too low for a record shuts down, from 14 on it stops replaying; one that is
// too low for its control file does not start.
//
// So what goes up goes up on the standbys first, and what goes down goes down on
// the primary first, and on a standby once it has replayed the primary's record. A
// change of both kinds takes two restarts of a standby and one of the primary: the
// primary's stops all writes, so it is the one that is saved.
package order

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Values are settings by name.
type Values map[string]int64

// Node is one running server of the tree.
type Node struct {
	Name     string
	Upstream string // empty for the primary
	// Running is what the server runs with, Wanted what it shall run with: the
	// same names in both, and on all nodes.
	Running Values
	Wanted  Values
	// Restart: something else needs one, which no order binds.
	Restart bool
}

// Turn is when a node is restarted. A node has at most one restart in each.
type Turn string

const (
	Before  Turn = "before"  // a standby, before the primary: leaves first
	Primary Turn = "primary" // the primary
	After   Turn = "after"   // a standby that has replayed the primary's record: from the primary downwards
)

// Restart is one restart of one node.
type Restart struct {
	Node   string
	Turn   Turn
	Values Values // that the node runs with from then on
	After  []Edge // why it does not come earlier
}

// Edge says that a restart comes after another one.
type Edge struct {
	Node string
	Turn Turn
	Why  string
}

// LowError is a wish that breaks the rule: nothing can be ordered so that it holds.
type LowError struct {
	Node, Setting   string
	Wanted, Primary int64
	PrimaryName     string
}

func (e *LowError) Error() string {
	return fmt.Sprintf("%s of %s shall be %d, and that of its primary %s %d: a standby's must not be lower", e.Setting, e.Node, e.Wanted, e.PrimaryName, e.Primary)
}

// Solve returns the restarts that are left, in order: the primary at most once, and
// of the standbys as few as that allows.
func Solve(nodes []Node) ([]Restart, error) {
	t, err := newTree(nodes)
	if err != nil {
		return nil, err
	}
	var before, after []Restart
	for _, n := range t.downwards() {
		if n == t.primary {
			continue
		}
		for _, r := range t.restarts(n) {
			if r.Turn == Before {
				before = append(before, r)
			} else {
				after = append(after, r)
			}
		}
	}
	slices.Reverse(before) // deepest first
	out := before
	if t.primaryRestarts() {
		out = append(out, Restart{Node: t.primary.Name, Turn: Primary, Values: maps.Clone(t.primary.Wanted)})
	}
	out = append(out, after...)
	t.explain(out)
	return out, nil
}

// tree is the nodes, with who is whose upstream.
type tree struct {
	nodes   map[string]*Node
	order   []*Node // as given
	primary *Node
	names   []string // of the settings
}

func newTree(nodes []Node) (*tree, error) {
	t := &tree{nodes: map[string]*Node{}}
	for i := range nodes {
		n := &nodes[i]
		t.nodes[n.Name] = n
		t.order = append(t.order, n)
		if n.Upstream != "" {
			continue
		}
		if t.primary != nil {
			return nil, fmt.Errorf("two primaries: %s and %s", t.primary.Name, n.Name)
		}
		t.primary = n
	}
	if t.primary == nil {
		return nil, fmt.Errorf("no primary")
	}
	t.names = slices.Sorted(maps.Keys(t.primary.Running))
	for _, n := range t.order {
		for _, s := range t.names {
			if n.Wanted[s] < t.primary.Wanted[s] {
				return nil, &LowError{Node: n.Name, Setting: s, Wanted: n.Wanted[s], Primary: t.primary.Wanted[s], PrimaryName: t.primary.Name}
			}
		}
	}
	return t, nil
}

// depth is how far a node is from the primary. An upstream that is not among the
// nodes counts as the primary: its server does not run.
func (t *tree) depth(n *Node) int {
	d := 0
	for n.Upstream != "" && d <= len(t.nodes) {
		d++
		up, ok := t.nodes[n.Upstream]
		if !ok {
			break
		}
		n = up
	}
	return d
}

// downwards is the nodes, each after its upstream.
func (t *tree) downwards() []*Node {
	out := slices.Clone(t.order)
	slices.SortStableFunc(out, func(a, b *Node) int { return t.depth(a) - t.depth(b) })
	return out
}

func (t *tree) primaryRestarts() bool {
	return t.primary.Restart || !maps.Equal(t.primary.Running, t.primary.Wanted)
}

// restarts of a standby: none, one or two.
func (t *tree) restarts(n *Node) []Restart {
	first, last, lowers := false, false, false
	for _, s := range t.names {
		first = first || n.Running[s] < max(t.primary.Running[s], t.primary.Wanted[s])
		last = last || n.Wanted[s] < t.primary.Running[s]
		lowers = lowers || n.Wanted[s] < n.Running[s]
	}
	if !first && !last {
		if !n.Restart && maps.Equal(n.Running, n.Wanted) {
			return nil
		}
		first, last = !lowers, lowers
	}
	var out []Restart
	if first {
		v := Values{}
		for _, s := range t.names {
			v[s] = n.Wanted[s]
			if last { // nothing goes down yet
				v[s] = max(n.Running[s], n.Wanted[s], t.primary.Running[s])
			}
		}
		out = append(out, Restart{Node: n.Name, Turn: Before, Values: v})
	}
	if last {
		out = append(out, Restart{Node: n.Name, Turn: After, Values: maps.Clone(n.Wanted)})
	}
	return out
}

// explain gives each restart the others that it comes after, and why.
func (t *tree) explain(list []Restart) {
	has := func(node string, turn Turn) bool {
		return slices.ContainsFunc(list, func(r Restart) bool { return r.Node == node && r.Turn == turn })
	}
	for i := range list {
		r := &list[i]
		n := t.nodes[r.Node]
		add := func(node string, turn Turn, format string, a ...any) {
			if has(node, turn) {
				r.After = append(r.After, Edge{Node: node, Turn: turn, Why: fmt.Sprintf(format, a...)})
			}
		}
		switch r.Turn {
		case Before:
			for _, d := range t.order {
				if d.Upstream == n.Name {
					add(d.Name, Before, "what streams from %s must not be lower than it, should it be promoted", n.Name)
				}
			}
		case Primary:
			for _, d := range t.order {
				if up := t.which(func(s string) bool { return d.Running[s] < n.Wanted[s] }); d != n && len(up) > 0 {
					add(d.Name, Before, "%s of %s is too low for what %s writes from then on", strings.Join(up, ", "), d.Name, n.Name)
				}
			}
		case After:
			down := t.which(func(s string) bool { return n.Wanted[s] < t.primary.Running[s] })
			add(t.primary.Name, Primary, "%s may go down once the lower value of %s is replayed", strings.Join(down, ", "), t.primary.Name)
			add(n.Upstream, After, "what streams from %s must not be lower than it, should it be promoted", n.Upstream)
			add(n.Name, Before, "what goes up does so first")
		}
	}
}

func (t *tree) which(is func(setting string) bool) []string {
	var out []string
	for _, s := range t.names {
		if is(s) {
			out = append(out, s)
		}
	}
	return out
}
