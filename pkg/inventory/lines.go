package inventory

import (
	"go.yaml.in/yaml/v4"
)

// HostLines are the lines of an inventory file, counted from 1, that are a host's
// and nobody else's. Not ok: it shares a line with something else, as in a mapping
// that is written on one line.
func HostLines(text []byte, name string) (first, last int, ok bool) {
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil || len(doc.Content) != 1 {
		return 0, 0, false
	}
	hosts := below(doc.Content[0], "hosts")
	if hosts == nil || hosts.Kind != yaml.MappingNode || hosts.Style&yaml.FlowStyle != 0 {
		return 0, 0, false
	}
	for i := 0; i+1 < len(hosts.Content); i += 2 {
		if hosts.Content[i].Value == name {
			return hosts.Content[i].Line, lastLine(hosts.Content[i+1]), true
		}
	}
	return 0, 0, false
}

func below(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// lastLine is where the last part of a node begins: no value of a host's is longer
// than a line.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}
