package inventory

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Traffic is what routes reads to the standbys. The zero value is: nothing that
// the tool could talk to.
type Traffic struct {
	// ClientsRetry: a client whose connection is cut reads once more on another.
	ClientsRetry bool
	// ConnectionLifetime is after how long clients end a connection; 0 is never.
	ConnectionLifetime time.Duration
	DrainTimeout       time.Duration
	IgnoreUsers        []string    // roles whose sessions do not count
	Balancers          []*Balancer // in file order
}

// Steered: a balancer knows the standbys, and can be told, or shown by a file, to keep reads
// away from one. PgBouncer knows none: without another one nobody can be moved, and nobody
// says who serves.
func (t Traffic) Steered() bool {
	return slices.ContainsFunc(t.Balancers, func(b *Balancer) bool { return b.Kind != BalancerPgBouncer })
}

// Balancer is one thing that decides where reads go.
type Balancer struct {
	Name    string
	Kind    string // one of the BalancerX constants
	Address string // "" for kind file: it is on the standby
	SSH     SSH
	OSUser  string // "": the user that logs in

	Socket  string // haproxy: the stats socket
	Backend string // haproxy

	SocketDirectory string   // pgbouncer
	Port            int      // pgbouncer
	ConsoleUser     string   // pgbouncer
	Databases       []string // pgbouncer; none is all

	Path   string        // file
	Settle time.Duration // file: how long the balancer's check may take to see it

	Drain, Restore, Status []string // command
}

const (
	BalancerHAProxy   = "haproxy"
	BalancerPgBouncer = "pgbouncer"
	BalancerFile      = "file"
	BalancerCommand   = "command"
)

// NoTraffic is the traffic of a host that serves no reads.
const NoTraffic = "none"

// Balancer returns the balancer of that name.
func (c *Cluster) Balancer(name string) (*Balancer, bool) {
	i := slices.IndexFunc(c.Traffic.Balancers, func(b *Balancer) bool { return b.Name == name })
	if i < 0 {
		return nil, false
	}
	return c.Traffic.Balancers[i], true
}

// BalancedName is the host's name at the balancers, "" if it serves no reads.
func (h *Host) BalancedName() string {
	switch h.Traffic {
	case "":
		return h.Name
	case NoTraffic:
		return ""
	}
	return h.Traffic
}

// Server is the backend and the name of a standby at a balancer; name is "" for one
// that serves no reads. A host's name there may say both, for HAProxy:
// BACKEND/SERVER.
func (b *Balancer) Server(h *Host) (backend, name string) {
	name = h.BalancedName()
	if before, after, ok := strings.Cut(name, "/"); ok && b.Kind == BalancerHAProxy {
		return before, after
	}
	return b.Backend, name
}

type balancerKind struct{}

func (balancerKind) form() form {
	return form{Label: "kind of balancer", Enum: []string{BalancerHAProxy, BalancerPgBouncer, BalancerFile, BalancerCommand}}
}

type backendName struct{}

// HAProxy allows no others in a name; a space or ; would end it in a command.
func (backendName) form() form {
	return form{Label: "backend", Want: "letters, digits and _ . : -", Pattern: `^[A-Za-z0-9_.:-]+$`}
}

type poolName struct{}

func (poolName) form() form {
	return form{Label: "database", Want: "letters, digits, _ and -, as in pgbouncer.ini", Pattern: `^[A-Za-z0-9_-]+$`, MaxLen: 63}
}

// balancerEntry is a balancer with its name.
type balancerEntry struct {
	balancerSection
	name   string
	nameAt Pos
}

type balancerMap struct {
	section
	items []*balancerEntry
}

func (m *balancerMap) decode(d *decoder, n *yaml.Node, path string) {
	if isEmpty(n) {
		d.problems.add(m.at, path, "name at least one", "has no balancer")
	}
	d.named(n, path, func(name string, at Pos) namedEntry {
		b := &balancerEntry{name: name, nameAt: at}
		m.items = append(m.items, b)
		return b
	})
}

// balancerKeys are the keys that each kind has; true is one that it needs.
func balancerKeys(kind string) map[string]bool {
	remote := map[string]bool{"address": false, "ssh": false, "os_user": false}
	var own map[string]bool
	switch kind {
	case BalancerHAProxy:
		own = map[string]bool{"socket": true, "backend": true}
	case BalancerPgBouncer:
		own = map[string]bool{"socket_directory": false, "port": false, "console_user": false, "databases": false}
	case BalancerFile:
		return map[string]bool{"path": true, "settle": false}
	case BalancerCommand:
		own = map[string]bool{"drain": true, "restore": true, "status": true}
	}
	for key, needed := range own {
		remote[key] = needed
	}
	return remote
}

func (s *balancerSection) decode(d *decoder, n *yaml.Node, path string) {
	before := len(d.problems)
	d.into(n, path, s)
	if len(d.problems) > before || s.Kind.Value == "" {
		return
	}
	keys := balancerKeys(s.Kind.Value)
	for _, f := range fieldsOf(s) {
		needed, has := keys[f.key]
		given := f.field.place().Line != 0
		switch {
		case f.key == "kind":
		case given && !has:
			d.problems.add(f.field.place(), join(path, f.key), "", "kind %s has no %s", s.Kind.Value, f.key)
		case needed && !given:
			d.problems.add(s.at, path, f.tag.Get("doc"), "missing key %q", f.key)
		}
	}
}

// balancers checks the names, which share those of the hosts: a run's journal
// and messages name both alike.
func (c *checker) balancers() {
	for _, b := range c.doc.Traffic.Balancers.items {
		if d := c.find(b.name); d != nil {
			c.add(b.nameAt, "traffic.balancers."+b.name, "name it otherwise, and give its address", "%s is a host in line %d", b.name, d.nameAt.Line)
		}
	}
}

func (s *trafficSection) traffic(ssh *sshSection) Traffic {
	if !s.given() {
		return Traffic{}
	}
	t := Traffic{ClientsRetry: s.ClientsRetry.Value == "true", ConnectionLifetime: timeOf(s.ConnectionLifetime.Value), DrainTimeout: timeOf(s.DrainTimeout.Value),
		IgnoreUsers: slices.Clone(s.IgnoreUsers.Values)}
	for _, b := range s.Balancers.items {
		own := *ssh
		overlay(&own, &b.SSH)
		own.dropOverridden(&b.SSH)
		fillDefaults(&own)
		if b.Kind.Value == BalancerFile {
			own = sshSection{} // it is on the standby
		}
		t.Balancers = append(t.Balancers, b.balancer(own.ssh()))
	}
	t.settle(s)
	return t
}

// checkTime is what HAProxy's check takes to see a change unless told otherwise: inter 2s,
// fall 3.
const checkTime = 6 * time.Second

// settle fills in how long a check may take to see a file. Beside an HAProxy nobody waits
// for that unless told to: HAProxy says itself what it does.
func (t *Traffic) settle(s *trafficSection) {
	asked := slices.ContainsFunc(t.Balancers, func(b *Balancer) bool { return b.Kind == BalancerHAProxy })
	for i, b := range t.Balancers {
		switch given := s.Balancers.items[i].Settle.Value; {
		case given != "":
			b.Settle = timeOf(given)
		case b.Kind == BalancerFile && !asked:
			b.Settle = checkTime
		}
	}
}

func (b *balancerEntry) balancer(ssh SSH) *Balancer {
	out := &Balancer{Name: b.name, Kind: b.Kind.Value, Address: b.Address.Value, SSH: ssh, OSUser: b.OSUser.Value, Socket: b.Socket.Value, Backend: b.Backend.Value,
		SocketDirectory: b.SocketDirectory.Value, Port: number(b.Port.Value), ConsoleUser: b.ConsoleUser.Value, Databases: slices.Clone(b.Databases.Values),
		Path: b.Path.Value, Drain: slices.Clone(b.Drain.Args), Restore: slices.Clone(b.Restore.Args), Status: slices.Clone(b.Status.Args)}
	if out.Address == "" && out.Kind != BalancerFile {
		out.Address = b.name
	}
	if out.Kind == BalancerPgBouncer {
		out.SocketDirectory = cmp.Or(out.SocketDirectory, "/var/run/postgresql")
		out.OSUser = cmp.Or(out.OSUser, "postgres")
		out.ConsoleUser = cmp.Or(out.ConsoleUser, "pgbouncer")
		if out.Port == 0 {
			out.Port = 6432
		}
	}
	return out
}

func (t *Traffic) node() *yaml.Node {
	m := newMapping()
	m.plain("clients_retry", strconv.FormatBool(t.ClientsRetry))
	if t.ConnectionLifetime != 0 {
		m.text("connection_lifetime", formatDuration(t.ConnectionLifetime))
	}
	m.text("drain_timeout", formatDuration(t.DrainTimeout))
	m.list("ignore_users", t.IgnoreUsers)
	all := newMapping()
	for _, b := range t.Balancers {
		all.set(b.Name, b.node())
	}
	m.set("balancers", all.node)
	return m.node
}

func (b *Balancer) node() *yaml.Node {
	m := newMapping()
	m.text("kind", b.Kind)
	m.text("address", b.Address)
	if b.Kind != BalancerFile {
		m.set("ssh", b.SSH.node())
	}
	m.text("os_user", b.OSUser)
	m.text("socket", b.Socket)
	m.text("backend", b.Backend)
	m.text("socket_directory", b.SocketDirectory)
	if b.Port != 0 {
		m.plain("port", strconv.Itoa(b.Port))
	}
	m.text("console_user", b.ConsoleUser)
	m.list("databases", b.Databases)
	m.text("path", b.Path)
	if b.Kind == BalancerFile {
		m.text("settle", formatDuration(b.Settle))
	}
	m.list("drain", b.Drain)
	m.list("restore", b.Restore)
	m.list("status", b.Status)
	return m.node
}
