package inventory

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// checker finds the mistakes that no single value shows. It also runs over
// documents with problems, so it leaves empty values alone.
type checker struct {
	*decoder
	doc    *document
	drafts []*draft
}

func (c *checker) all() {
	c.replication()
	c.archives()
	if c.doc.Hosts.place().Line != 0 && len(c.drafts) > 0 {
		c.roles()
		c.upstreams()
		c.cycles()
		c.required()
		c.names()
		c.slots()
		c.addresses()
		c.balancers()
		c.synchronous()
	}
	for _, d := range c.drafts {
		c.delay(d)
		c.directories(d)
		c.service(d)
		c.ssh(d)
	}
}

// add reports a problem. path is for a place that no key has.
func (c *checker) add(at Pos, path, hint, format string, args ...any) {
	if p := c.paths[at]; p != "" {
		path = p
	}
	c.problems.add(at, path, hint, format, args...)
}

func (d *draft) path(key string) string { return "hosts." + d.name + "." + key }

// or is at, or the host's name for a value that no key gave.
func (d *draft) or(at Pos) Pos {
	if at.Line == 0 {
		return d.nameAt
	}
	return at
}

func (c *checker) find(name string) *draft {
	for _, d := range c.drafts {
		if d.name == name {
			return d
		}
	}
	return nil
}

func (c *checker) roles() {
	var primary *draft
	unknown := false
	for _, d := range c.drafts {
		switch {
		case d.Role.Value == "":
			unknown = true // reported; it may have meant the primary
		case d.Role.Value == string(Standby):
		case primary == nil:
			primary = d
		default:
			c.add(d.Role.at, d.path("role"), "a cluster has one primary; make one of them a standby",
				"second primary: %s in line %d is the first", primary.name, primary.nameAt.Line)
		}
	}
	if primary == nil && !unknown {
		c.add(c.doc.Hosts.at, "hosts", "give one host role: primary", "no host is the primary")
	}
}

func (c *checker) upstreams() {
	names := make([]string, len(c.drafts))
	for i, d := range c.drafts {
		names[i] = d.name
	}
	for _, d := range c.drafts {
		if !d.Upstream.given() || d.Upstream.Value == "" {
			continue
		}
		up := c.find(d.Upstream.Value)
		switch {
		case d.Role.Value == string(Primary):
			c.add(d.Upstream.at, d.path("upstream"), "", "the primary has no upstream")
		case up == nil:
			hint := ""
			if len(names) <= 12 {
				hint = "known hosts: " + strings.Join(names, ", ")
			}
			c.add(d.Upstream.at, d.path("upstream"), cmp.Or(fault.DidYouMean(d.Upstream.Value, names), hint), "unknown host %q", d.Upstream.Value)
		}
	}
}

// cycles reports each ring of upstreams once, at its first host in the file.
func (c *checker) cycles() {
	done := make(map[*draft]bool)
	for _, start := range c.drafts {
		var walk []*draft
		d := start
		for d != nil && !done[d] && !slices.Contains(walk, d) {
			walk = append(walk, d)
			if d.Role.Value == string(Primary) {
				d = nil
				break
			}
			d = c.find(d.Upstream.Value)
		}
		for _, w := range walk {
			if !done[w] {
				done[w] = true
			} else {
				d = nil
			}
		}
		i := slices.Index(walk, d)
		if d == nil || i < 0 {
			continue
		}
		ring := walk[i:]
		names := make([]string, 0, len(ring)+1)
		for _, w := range ring {
			names = append(names, w.name)
		}
		names = append(names, ring[0].name)
		c.add(ring[0].or(ring[0].Upstream.at), ring[0].path("upstream"),
			"upstreams must lead to the primary", "cycle of upstreams: %s", strings.Join(names, " -> "))
	}
}

// required asks for what every host needs and any of two places may give, and
// for one major version: physical replication knows no other.
func (c *checker) required() {
	type key struct {
		name string
		get  func(*draft) (string, Pos)
	}
	for _, k := range []key{
		{"version", func(d *draft) (string, Pos) { return d.pg.Version.Value, d.pg.Version.at }},
		{"data_directory", func(d *draft) (string, Pos) { return d.pg.DataDirectory.Value, d.pg.DataDirectory.at }},
	} {
		var without []*draft
		for _, d := range c.drafts {
			if _, at := k.get(d); at.Line == 0 {
				without = append(without, d)
			}
		}
		if len(without) == len(c.drafts) {
			at := cmp.Or(c.doc.Postgres.at, c.doc.at)
			c.add(at, "postgres", "every host needs it", "missing key %q", k.name)
			continue
		}
		for _, d := range without {
			c.add(d.nameAt, d.path("postgres"), "give it here, or for all under postgres:", "missing key %q", k.name)
		}
	}
	var first *draft
	for _, d := range c.drafts {
		switch {
		case d.pg.Version.Value == "":
		case first == nil:
			first = d
		case d.pg.Version.Value != first.pg.Version.Value:
			c.add(d.pg.Version.at, d.path("postgres.version"), "physical replication needs one major version",
				"version %s, but %s has %s", d.pg.Version.Value, first.name, first.pg.Version.Value)
		}
	}
}

func (c *checker) names() {
	first := make(map[string]*draft)
	for _, d := range c.drafts {
		folded := strings.ToLower(d.name)
		if was := first[folded]; was != nil {
			c.add(d.nameAt, "hosts."+d.name, "", "differs only in case from %s in line %d", was.name, was.nameAt.Line)
		} else {
			first[folded] = d
		}
		if r := Role(folded); (r == Primary || r == Standby) && d.Role.Value != "" && Role(d.Role.Value) != r {
			// Plans select hosts by role, in the same place as by name.
			c.add(d.nameAt, "hosts."+d.name, "name it otherwise", "is named %s and has role %s", d.name, d.Role.Value)
		}
	}
}

func (c *checker) slots() {
	first := make(map[string]*draft)
	for _, d := range c.drafts {
		switch {
		case d.Slot.given() && d.Role.Value == string(Primary):
			c.add(d.Slot.at, d.path("slot"), "", "the primary has no upstream, so no slot on it")
			continue
		case d.Slot.given() && c.doc.Replication.Slots.Value == "false":
			c.add(d.Slot.at, d.path("slot"), "remove one of them", "replication.slots is false")
			continue
		case d.Slot.Value == "":
			continue
		}
		was := first[d.Slot.Value]
		if was == nil {
			first[d.Slot.Value] = d
			continue
		}
		// In all of the cluster, not only on one upstream: after a promotion
		// both standbys may stream from the same host.
		c.add(d.or(d.Slot.at), d.path("slot"), "give slot: to one of them",
			"slot %s is already that of %s in line %d", d.Slot.Value, was.name, was.nameAt.Line)
	}
}

func (c *checker) addresses() {
	servers, dirs := make(map[string]*draft), make(map[string]*draft)
	for _, d := range c.drafts {
		addr := strings.TrimSuffix(strings.ToLower(d.Address.Value), ".")
		if ip, err := netip.ParseAddr(addr); err == nil {
			addr = ip.Unmap().String()
		}
		if addr == "" {
			continue
		}
		server := addr + " " + d.pg.Port.Value
		if was := servers[server]; was != nil {
			c.add(d.or(d.Address.at), d.path("address"), "",
				"address %s, port %s is already that of %s in line %d", d.Address.Value, d.pg.Port.Value, was.name, was.nameAt.Line)
			continue
		}
		servers[server] = d
		// Two sshd ports are two machines or containers behind one address.
		dir := addr + " " + d.ssh.Port.Value + " " + path.Clean(d.pg.DataDirectory.Value)
		if was := dirs[dir]; was != nil && d.pg.DataDirectory.Value != "" {
			c.add(d.or(d.pg.DataDirectory.at), d.path("postgres.data_directory"), "",
				"%s and %s share one data directory on %s", was.name, d.name, d.Address.Value)
		}
		dirs[dir] = d
	}
}

func (c *checker) delay(d *draft) {
	text := d.ApplyDelay.Value
	if text == "" {
		return
	}
	delay, ok := parseDuration(text)
	switch {
	case d.Role.Value == string(Primary):
		c.add(d.ApplyDelay.at, d.path("apply_delay"), "", "the primary applies nothing, so it has no delay")
	case !ok || delay > maxDelay:
		c.add(d.ApplyDelay.at, d.path("apply_delay"), "recovery_min_apply_delay is at most 2147483647ms",
			"%s is longer than PostgreSQL's limit of 24 days", text)
	case delay%time.Millisecond != 0:
		c.add(d.ApplyDelay.at, d.path("apply_delay"), "", "PostgreSQL counts it in whole milliseconds")
	}
}
