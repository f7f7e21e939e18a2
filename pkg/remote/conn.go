package remote

import (
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Conn is one SSH connection to a host.
type Conn struct {
	target Target
	dialer *dialer
	owns   *dialer // closed with the connection; nil in a pool

	client   *ssh.Client
	user     string
	hostKey  string
	warnings []string // what was odd while connecting, such as corrupt lines in known_hosts

	slots chan struct{} // one token for each running session
	lost  chan struct{}
	stop  func()

	guardOnce sync.Once
	guards    sync.WaitGroup

	nextMu sync.Mutex
	next   *Conn // to the same host, for the sessions that this one has no room for

	mu      sync.Mutex
	files   map[string]*files
	elevate map[string]elevation
	askers  map[string]*asker // by OS user and socket
	ahead   *ahead            // nil when none is asked for
}

var _ host.Host = (*Conn)(nil)

func newConn(d *dialer, t Target, l *login) *Conn {
	c := &Conn{
		target: t, dialer: d, client: l.client, user: l.user,
		hostKey:  strings.TrimSpace(string(ssh.MarshalAuthorizedKey(l.hostKey))),
		warnings: l.warnings,
		slots:    make(chan struct{}, maxSessions),
		lost:     make(chan struct{}),
		files:    map[string]*files{},
		elevate:  map[string]elevation{},
		askers:   map[string]*asker{},
	}
	c.stop = keepAlive(l.client, t.KeepAlive, c.lost)
	d.remember(c)
	return c
}

// Name is the host's name in the inventory.
func (c *Conn) Name() string { return c.target.Name }

// User is the login user.
func (c *Conn) User() string { return c.user }

// HostKey is the verified host key, as "ssh-ed25519 AAAA…". Of a host
// certificate it is the certified key.
func (c *Conn) HostKey() string { return c.hostKey }

// Lost is closed when the connection has ended.
func (c *Conn) Lost() <-chan struct{} { return c.lost }

// Close ends every session and the connection. Calls that are in progress
// return ErrLost.
func (c *Conn) Close() error {
	c.mu.Lock()
	open := c.files
	c.files = map[string]*files{}
	c.mu.Unlock()
	c.stop()
	c.guards.Wait()
	c.dialer.forget(c)
	for _, f := range open {
		f.wait()
	}
	c.closeNext()
	c.takeAhead().drop()
	if c.owns != nil {
		c.owns.close()
	}
	return nil
}
