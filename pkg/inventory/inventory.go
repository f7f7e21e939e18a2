package inventory

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Role is what a host is meant to be. What it is, only the host can say.
type Role string

const (
	Primary Role = "primary"
	Standby Role = "standby"
)

// Pos is a place in an inventory file. Line and Col count from 1 and are 0 for
// a value that no file gave.
type Pos struct {
	File string
	Line int
	Col  int
}

// String is file:line:col, which editors and terminals make clickable.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Cluster is one inventory, checked: it has one primary, and every standby
// reaches it through its upstreams.
type Cluster struct {
	Name        string
	Replication Replication
	Traffic     Traffic
	Hosts       []*Host // in file order
	// Archives are where WAL files are kept for standbys whose upstream has
	// them no longer; none, one or two, in the order in which they are tried.
	Archives []Archive
	File     string
}

// Host is one PostgreSQL server. Postgres and SSH are its own: defaults and
// the cluster's sections are merged in.
type Host struct {
	Name    string
	Address string // host name or IP address, for SSH and for its standbys
	Role    Role
	// UpstreamName is the host that it streams from; "" for the primary.
	UpstreamName string
	// Relay: data are copied to it through the operator's machine.
	Relay bool
	// ApplyDelay is recovery_min_apply_delay; 0 is none.
	ApplyDelay time.Duration
	// Synchronous: commits on the primary wait for it, as
	// Replication.Synchronous says.
	Synchronous bool
	// Slot is its replication slot on the upstream; "" for the primary, and
	// for all when replication.slots is false.
	Slot     string
	Postgres Postgres
	SSH      SSH
	// Copying is how data are copied to it.
	Copying Copying
	Labels  map[string]string
	Traffic string // see BalancedName
	Pos     Pos
}

// Copying is how a copy goes over the link, in the words of the rsync step.
type Copying struct {
	Streams     string // auto, or a number
	Compress    string // auto, zstd, none
	BWLimit     string // bytes a second, as 50MB, or none
	CommitLimit string // auto, 20ms, none
}

// Postgres is where a server lives and how it is run.
type Postgres struct {
	Version         string // major version: "15", "9.6"
	DataDirectory   string
	ConfigDirectory string // postgresql.conf and pg_hba.conf
	BinDirectory    string // "": found on the host
	WALDirectory    string // "": pg_wal inside the data directory
	SocketDirectory string // "": found on the host
	Port            int
	OSUser          string // owns the data directory
	Superuser       string // database role, by peer authentication as OSUser
	Service         Service
	Settings        []Setting
	// Tablespaces maps a location on the source to the one on this host.
	Tablespaces map[string]string
}

// WALAt is where the server of a version keeps its WAL.
func (p *Postgres) WALAt(v postgres.Version) string {
	if p.WALDirectory != "" {
		return p.WALDirectory
	}
	return path.Join(p.DataDirectory, v.WALDir())
}

// Setting is a postgresql.conf setting that the cluster must have.
type Setting struct {
	Name  string // spelled as in the file; PostgreSQL ignores case
	Value string // spelled as in the file: on, 0640, 1_000
	// AtLeast accepts any greater value that the server already has.
	AtLeast bool
	Pos     Pos
}

// Service is how the server is started and stopped.
type Service struct {
	Kind string // one of the ServiceX constants
	Name string // pg_ctlcluster: the cluster; systemd: the unit; else ""
	// The commands of kind command, each an argv, all given.
	Start, Stop, Restart, Reload, Status []string
}

const (
	ServicePgCtlCluster = "pg_ctlcluster"
	ServiceSystemd      = "systemd"
	ServicePgCtl        = "pg_ctl"
	ServiceCommand      = "command"
)

// BindingRequire makes a standby refuse an upstream that cannot prove that it holds both
// the role's verifier and the certificate.
const BindingRequire = "require"

// Replication is how standbys log in to their upstreams.
type Replication struct {
	User        string
	Password    SecretRef // zero: no password (certificate or trust)
	SSLMode     string    // as libpq's sslmode
	SSLRootCert string    // path on the standbys, or "system" (libpq 16)
	Binding     string    // as libpq's channel_binding; empty: not given to it
	Slots       bool      // each standby has a physical slot on its upstream
	// Synchronous is how many of the synchronous standbys a commit waits for;
	// zero when no host is one.
	Synchronous SyncRule
}

// SSH is how a host is reached. Paths are on the machine that runs pgrepctl
// and may begin with ~/, which the reader of the value expands.
type SSH struct {
	User           string // "": ssh_config, else the login name here
	Port           int    // 0: ssh_config, else 22
	Become         string // BecomeSudo or BecomeNone
	BecomePassword SecretRef
	IdentityFile   []string // none: ssh_config, the agent and the usual keys
	Jump           string   // [user@]host[:port], several with commas
	// ProxyCommand is an argv, not a shell string; %h, %p, %r and %% are
	// replaced in it.
	ProxyCommand []string
	ConfigFile   string   // an ssh_config to read instead of the user's
	KnownHosts   []string // none: the user's and the system's
	// HostKey pins the key: "ssh-ed25519 AAAA…" or "SHA256:…".
	HostKey        string
	ConnectTimeout time.Duration
}

const (
	BecomeSudo = "sudo"
	BecomeNone = "none"
)

// SecretRef says where a secret is. At most one of its sources is set.
type SecretRef struct {
	Env     string   // environment variable
	File    string   // path here; may begin with ~/
	Command []string // argv whose output is the secret
	Pos     Pos
}

// IsZero reports whether there is no reference.
func (r SecretRef) IsZero() bool { return r.Env == "" && r.File == "" && len(r.Command) == 0 }

// String names the reference, never the secret. Of a command only the program
// is named: arguments are the user's and may hold anything.
func (r SecretRef) String() string {
	switch {
	case r.Env != "":
		return "environment variable " + r.Env
	case r.File != "":
		return "file " + r.File
	case len(r.Command) > 0:
		return "command " + r.Command[0]
	}
	return "no secret"
}

// Host returns the host of that name, spelled exactly.
func (c *Cluster) Host(name string) (*Host, bool) {
	for _, h := range c.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return nil, false
}

// Names are those of all hosts, in file order.
func (c *Cluster) Names() []string {
	names := make([]string, len(c.Hosts))
	for i, h := range c.Hosts {
		names[i] = h.Name
	}
	return names
}

// NamesIn are the names in a list, as a variable of a plan has it: with commas or blanks between.
func NamesIn(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// CIDR is the host's address as pg_hba.conf wants it: of an IP address the
// network of that address alone, else the host name.
func (h *Host) CIDR() string {
	a, err := netip.ParseAddr(h.Address)
	if err != nil {
		return h.Address
	}
	return netip.PrefixFrom(a, a.BitLen()).String()
}

// Primary returns the primary. A Cluster from Parse always has one.
func (c *Cluster) Primary() *Host {
	for _, h := range c.Hosts {
		if h.Role == Primary {
			return h
		}
	}
	return nil
}

// Standbys returns the standbys, in file order.
func (c *Cluster) Standbys() []*Host {
	var standbys []*Host
	for _, h := range c.Hosts {
		if h.Role == Standby {
			standbys = append(standbys, h)
		}
	}
	return standbys
}

// Upstream returns the host that h streams from, nil for the primary.
func (c *Cluster) Upstream(h *Host) *Host {
	if h.UpstreamName == "" {
		return nil
	}
	up, _ := c.Host(h.UpstreamName)
	return up
}

// Downstreams returns the hosts that stream from h, in file order.
func (c *Cluster) Downstreams(h *Host) []*Host {
	var down []*Host
	for _, d := range c.Hosts {
		if d.UpstreamName == h.Name {
			down = append(down, d)
		}
	}
	return down
}

// How data come to a host.
const (
	copyDirect = "direct"
	copyRelay  = "relay"
)
