package plan

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/templates"
)

// each is the hosts that a step goes through. One alone may be named, so that a
// variable can say all or this one.
func (l *loader) each(n *yaml.Node) []*inventory.Host {
	value, err := templates.Render(n.Value, l.funcs, l.data)
	if err != nil {
		l.add(n, "each", err.Error(), "")
		return nil
	}
	switch value {
	case "standbys":
		return l.reached(l.cluster.Standbys())
	case "all":
		return l.reached(l.cluster.Hosts)
	case "downwards":
		return l.reached(downwards(l.cluster))
	case "upwards":
		list := l.reached(downwards(l.cluster))
		slices.Reverse(list)
		return list
	case "others", "downstreams", "siblings":
		return l.apart(n, value)
	}
	if h, ok := l.cluster.Host(value); ok {
		return []*inventory.Host{h}
	}
	if list, ok := l.named(value); ok {
		return list
	}
	words := []string{"standbys", "downwards", "upwards", "all", "others", "downstreams", "siblings"}
	l.add(n, "each", fmt.Sprintf("%q: want %s or a host's name", value, strings.Join(words, ", ")), fault.DidYouMean(value, append(l.cluster.Names(), words...)))
	return nil
}

// named are hosts by their names, with commas between. None is no mistake: a variable may
// be empty.
func (l *loader) named(value string) ([]*inventory.Host, bool) {
	var out []*inventory.Host
	for _, name := range inventory.NamesIn(value) {
		h, ok := l.cluster.Host(name)
		if !ok {
			return nil, false
		}
		out = append(out, h)
	}
	return out, true
}

// apart are the hosts of the inventory beside the standby that a plan is about:
// all others, those of them that stream from it, or those that stream from the
// primary as it may do itself. Of those that stream the delayed ones come last: they serve
// no reads, and what goes wrong there must not keep the others waiting.
func (l *loader) apart(n *yaml.Node, value string) []*inventory.Host {
	if l.standby == nil {
		l.add(n, "each", value+" means nothing in a plan without the variable standby", "")
		return nil
	}
	hosts := slices.Clone(l.cluster.Hosts)
	switch value {
	case "downstreams":
		hosts = delayedLast(l.cluster.Downstreams(l.standby))
	case "siblings":
		hosts = delayedLast(l.cluster.Downstreams(l.cluster.Primary()))
	}
	return l.reached(slices.DeleteFunc(hosts, func(h *inventory.Host) bool { return h == l.standby }))
}

func delayedLast(hosts []*inventory.Host) []*inventory.Host {
	delayed := func(h *inventory.Host) bool { return h.ApplyDelay > 0 }
	return append(slices.DeleteFunc(slices.Clone(hosts), delayed), slices.DeleteFunc(slices.Clone(hosts), func(h *inventory.Host) bool { return !delayed(h) })...)
}

// reached leaves out what the variable without names.
func (l *loader) reached(hosts []*inventory.Host) []*inventory.Host {
	return slices.DeleteFunc(slices.Clone(hosts), func(h *inventory.Host) bool { return slices.Contains(l.without, h.Name) })
}

// leaveOut reads the variable without: the hosts that cannot be reached either,
// with commas between. The primary is needed, and the standby is no other host.
func (l *loader) leaveOut(root *yaml.Node, list string) {
	for _, name := range inventory.NamesIn(list) {
		h, ok := l.cluster.Host(name)
		switch {
		case !ok:
			l.add(root, "vars.without", fmt.Sprintf("no host %q in the inventory", name), fault.DidYouMean(name, l.cluster.Names()))
		case h == l.standby:
			l.add(root, "vars.without", name+" is the host that the plan is about", "")
		case h == l.cluster.Primary():
			l.add(root, "vars.without", name+" is the primary in the inventory, and cannot be left out", "")
		}
		l.without = append(l.without, name)
	}
}
