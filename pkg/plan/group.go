package plan

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// isGroup: `each:` with a `do:`, and no kind. All of the list is for one host, then
// all of it for the next.
func (l *loader) isGroup(item *yaml.Node) bool {
	for i := 0; i+1 < len(item.Content); i += 2 {
		switch item.Content[i].Value {
		case "each", "do":
		default:
			return false
		}
	}
	do := value(item, "do")
	return do != nil && do.Kind == yaml.SequenceNode
}

// group reads the list for one host. To its steps that host is `standby`, and has
// the `upstream`, as in a plan that has the variable; for the primary there is neither.
func (l *loader) group(list *yaml.Node, id string, h *inventory.Host) []Node {
	was := *l
	l.data = maps.Clone(l.data)
	l.data["each"] = h.Name
	if l.cluster.Upstream(h) != nil {
		l.standby, l.about = h, h
		l.data["standby"] = h.Name
	}
	out := l.nodes(list, id+"/"+h.Name+".")
	l.standby, l.about, l.data = was.standby, was.about, was.data
	return out
}

// downwards are the standbys, each after its upstream.
func downwards(c *inventory.Cluster) []*inventory.Host {
	out := c.Standbys()
	depth := func(h *inventory.Host) int {
		d := 0
		for up := c.Upstream(h); up != nil; up = c.Upstream(up) {
			d++
		}
		return d
	}
	slices.SortStableFunc(out, func(a, b *inventory.Host) int { return depth(a) - depth(b) })
	return out
}
