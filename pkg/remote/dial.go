package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Dial connects to one host. Jump hosts on the way are dialed too and closed
// with the connection. ctx bounds the dialing only.
func Dial(ctx context.Context, t Target) (*Conn, error) {
	d := &dialer{}
	c, err := d.dial(ctx, t)
	if err != nil {
		d.close()
		return nil, err
	}
	c.owns = d
	return c, nil
}

// dialer makes connections and shares the jump hosts between them.
type dialer struct {
	mu       sync.Mutex
	bastions map[string]*bastion
	conns    map[*Conn]struct{} // open ones
	dialed   func(name string)  // counts; may be nil
	known    knownFiles
	config   answers
	logins   map[string]chan struct{} // one token for each login that goes on, by settings.door
}

// bastion is one jump host, dialed by the first who needs it.
type bastion struct {
	turn   chan struct{} // holds one token: whoever has it may dial
	client *ssh.Client
	stop   func()
}

// maxAttempts at a server that drops connections before its host key: sshd does
// so when MaxStartups is reached.
const maxAttempts = 3

func (d *dialer) dial(ctx context.Context, t Target) (*Conn, error) {
	l, err := d.login(ctx, t, nil)
	if err != nil {
		return nil, err
	}
	return newConn(d, t, l), nil
}

// loginLimit is how many connections one sshd sees that are not logged in yet: it
// begins to drop them at ten (MaxStartups 10:30:100).
const loginLimit = 8

// enter waits for a turn at the sshd that s leads to.
func (d *dialer) enter(ctx context.Context, t Target, s settings) (leave func(), _ error) {
	d.mu.Lock()
	if d.logins == nil {
		d.logins = map[string]chan struct{}{}
	}
	door := s.door()
	turns := d.logins[door]
	if turns == nil {
		turns = make(chan struct{}, loginLimit)
		d.logins[door] = turns
	}
	d.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", t.Name, context.Cause(ctx))
	case turns <- struct{}{}:
	}
	return func() { <-turns }, nil
}

// login is an authenticated SSH connection.
type login struct {
	client   *ssh.Client
	user     string
	hostKey  ssh.PublicKey
	warnings []string
}

// login dials one hop. chain names the hops that wait for this one.
func (d *dialer) login(ctx context.Context, t Target, chain []string) (*login, error) {
	if err := t.check(); err != nil {
		return nil, &fault.Error{Class: fault.Invalid, Host: t.Name, Op: "connect", Err: err}
	}
	s, err := resolve(ctx, t, &d.config)
	if err != nil {
		return nil, &fault.Error{Class: fault.Invalid, Host: t.Name, Op: "connect", Err: err}
	}
	self := s.user + "@" + s.addr()
	if slices.Contains(chain, self) {
		return nil, &fault.Error{
			Class: fault.Invalid, Host: t.Name, Op: "connect", Err: fmt.Errorf("jump hosts form a loop at %s", self),
			Hint: "set ProxyJump none for the jump host in the ssh configuration",
		}
	}
	keys, err := newHostKeys(s, t.HostKey, &d.known)
	if err != nil {
		return nil, &fault.Error{Class: fault.Invalid, Host: t.Name, Op: "connect", Err: err}
	}
	chain = append(chain, self)
	if keys.families == nil {
		return d.attempts(ctx, t, s, keys, chain)
	}
	var first error
	for _, keys.algorithms = range keys.families {
		l, err := d.attempts(ctx, t, s, keys, chain)
		var changed *changedKeyError
		var none *ssh.AlgorithmNegotiationError
		if err == nil || !errors.As(err, &changed) && !errors.As(err, &none) {
			return l, err
		}
		if first == nil || !errors.As(first, &changed) {
			first = err
		}
	}
	return nil, first
}

// attempts repeats one that was dropped.
func (d *dialer) attempts(ctx context.Context, t Target, s settings, keys *hostKeys, chain []string) (*login, error) {
	for n := 1; ; n++ {
		l, retry, err := d.attempt(ctx, t, s, keys, chain)
		if err == nil {
			l.warnings = keys.warnings
			return l, nil
		}
		if !retry || n == maxAttempts {
			return nil, err
		}
		pause := time.NewTimer(time.Duration(n) * (200*time.Millisecond + rand.N(300*time.Millisecond)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, err
		case <-pause.C:
		}
	}
}

// attempt is one connection. retry is only true when the server ended it
// before it showed a host key: asking again after a refused login could lock
// us out (PerSourcePenalties of OpenSSH 9.8).
func (d *dialer) attempt(ctx context.Context, t Target, s settings, keys *hostKeys, chain []string) (_ *login, retry bool, _ error) {
	leave, err := d.enter(ctx, t, s)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	hop := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	ring, err := newKeyring(ctx, s, len(t.IdentityFiles))
	if err != nil {
		return nil, false, authError(t, s, ring, err)
	}
	defer func() { _ = ring.Close() }()

	// A jump host has the whole time for itself.
	raw, err := d.transport(hop, ctx, t, s, chain)
	if err != nil {
		return nil, false, transportError(ctx, t, s, err)
	}
	if d.dialed != nil {
		d.dialed(t.Name)
	}
	// ssh.Dial's own timeout covers TCP only; a mute server would hold the
	// handshake for ever (go#51926).
	// And an agent may wait for its user.
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(raw.Close(), ring.Close()) })
	var seen ssh.PublicKey
	verified := false
	cfg := &ssh.ClientConfig{
		User:              s.user,
		Auth:              ring.methods(),
		HostKeyAlgorithms: keys.algorithms,
		HostKeyCallback: func(name string, addr net.Addr, key ssh.PublicKey) error {
			seen = key
			if err := keys.check(name, addr, key); err != nil {
				return err
			}
			verified = true
			return nil
		},
	}
	conn, chans, reqs, err := ssh.NewClientConn(raw, keys.name, cfg)
	inTime := stop()
	if err == nil && !inTime {
		err = errors.Join(context.Cause(ctx), conn.Close())
	}
	if err != nil {
		_ = raw.Close()
		return nil, seen == nil && ctx.Err() == nil && dropped(err) && !gaveUp(raw), handshakeError(ctx, t, s, ring, raw, verified, err)
	}
	if cert, ok := seen.(*ssh.Certificate); ok {
		seen = cert.Key
	}
	return &login{client: ssh.NewClient(conn, chans, reqs), user: s.user, hostKey: seen}, false, nil
}

// gaveUp tells a proxy command that says why it ended: it had no connection
// that a server could have dropped.
func gaveUp(raw net.Conn) bool {
	p, ok := raw.(*proxyConn)
	return ok && p.complaint() != ""
}

// dropped tells a connection that the other side ended.
func dropped(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (d *dialer) transport(hop, ctx context.Context, t Target, s settings, chain []string) (net.Conn, error) {
	switch {
	case s.proxied():
		return dialProxy(s, t.address())
	case s.jump != "":
		via, err := d.via(hop, t, s.jump, chain)
		if err != nil {
			return nil, err
		}
		return via.DialContext(ctx, "tcp", s.addr())
	}
	return dialTCP(ctx, s)
}

// via returns the client of the last jump host of a list, dialing it by way of
// those before it.
func (d *dialer) via(ctx context.Context, t Target, jump string, chain []string) (*ssh.Client, error) {
	hop, err := jumpTarget(t, jump)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.bastions == nil {
		d.bastions = map[string]*bastion{}
	}
	b := d.bastions[jump]
	if b == nil {
		b = &bastion{turn: make(chan struct{}, 1)}
		b.turn <- struct{}{}
		d.bastions[jump] = b
	}
	d.mu.Unlock()

	// A loop would wait for its own turn.
	if slices.Contains(chain, "jump "+jump) {
		return nil, &fault.Error{
			Class: fault.Invalid, Host: t.Name, Op: "connect", Err: fmt.Errorf("jump hosts form a loop at %s", jump),
			Hint: "set ProxyJump none for the jump host in the ssh configuration",
		}
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-b.turn:
	}
	defer func() { b.turn <- struct{}{} }()
	if b.client != nil {
		if alive(b.client) {
			return b.client, nil
		}
		b.stop()
		b.client = nil
	}
	l, err := d.login(ctx, hop, append(chain, "jump "+jump))
	if err != nil {
		return nil, err
	}
	b.client, b.stop = l.client, keepAlive(l.client, t.KeepAlive, nil)
	return b.client, nil
}

// alive asks a jump host that was used before; its keepalive bounds the wait.
func alive(c *ssh.Client) bool {
	_, _, err := c.SendRequest(keepaliveRequest, true, nil)
	return err == nil
}

func (d *dialer) remember(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns = map[*Conn]struct{}{}
	}
	d.conns[c] = struct{}{}
}

func (d *dialer) forget(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// close closes what is left, the connections of sessions that nobody closed
// too, and the jump hosts last.
func (d *dialer) close() {
	d.mu.Lock()
	left := slices.Collect(maps.Keys(d.conns))
	d.mu.Unlock()
	for _, c := range left {
		_ = c.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.bastions {
		<-b.turn
		if b.client != nil {
			b.stop()
			b.client = nil
		}
		b.turn <- struct{}{}
	}
}

// jumpTarget reads the last of "[user@]host[:port],…". The keys of the
// inventory are offered to jump hosts too; user and port come from the ssh
// configuration of the jump host, as with ssh -J.
func jumpTarget(t Target, jump string) (Target, error) {
	rest, last := "", jump
	if i := strings.LastIndexByte(jump, ','); i >= 0 {
		rest, last = jump[:i], jump[i+1:]
	}
	last = strings.TrimPrefix(strings.TrimSpace(last), "ssh://")
	hop := Target{
		IdentityFiles: t.IdentityFiles, AgentSocket: t.AgentSocket, Jump: rest,
		ConfigFile: t.ConfigFile, KnownHosts: t.KnownHosts,
		ConnectTimeout: t.ConnectTimeout, KeepAlive: t.KeepAlive,
	}
	if i := strings.LastIndexByte(last, '@'); i >= 0 {
		hop.User, last = last[:i], last[i+1:]
	}
	hop.Address = last
	if h, p, err := net.SplitHostPort(last); err == nil {
		port, err := strconv.Atoi(p)
		if err != nil {
			return hop, fmt.Errorf("invalid jump host %q", jump)
		}
		hop.Address, hop.Port = h, port
	}
	hop.Address = strings.Trim(hop.Address, "[]")
	hop.Name = "jump host " + hop.Address
	return hop, nil
}
