package remotetest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Server is an SSH server in this process. Its fields say how to log in.
type Server struct {
	Address    string
	Port       int
	Key        Key    // of the user; also accepted: what Accept names
	KnownHosts string // a file with the host key

	config Config

	mu       sync.Mutex
	hostKeys []ssh.Signer
	faults   Faults
	conns    map[*conn]struct{}
	accepted int
	open     int // sessions
	forwards int
	closed   bool
	running  map[*exec.Cmd][]io.Closer
	work     sync.WaitGroup
}

// Config is what a server is from the beginning. The zero value will do.
type Config struct {
	// HostKeys; none: one ed25519 key.
	HostKeys []ssh.Signer
	// Accept decides on user keys; nil accepts Server.Key only.
	Accept func(user string, key ssh.PublicKey) error
	// Shell is the login shell, /bin/sh when empty. It is run as sshd does:
	// <shell> -c <command>.
	Shell string
	// Noise is written to stdout before each command, as a .bashrc can.
	Noise string
	// Env is added to the environment of commands.
	Env []string
	// MaxSessions is how many sessions may be open on a connection; 0 is 10.
	MaxSessions int
	// ForbidForwarding refuses direct-tcpip channels.
	ForbidForwarding bool
}

// Faults are what goes wrong from now on. They can be set at any time.
type Faults struct {
	// Mute accepts connections and never says a word.
	Mute bool
	// Drop ends this many connections before the first byte, as MaxStartups
	// does.
	Drop int
	// Stall stops all bytes in both directions, and keeps connections open.
	Stall bool
	// CutAfter, if not 0, ends every connection after it has sent this many
	// more bytes.
	CutAfter int64
	// RefuseSessions refuses session channels.
	RefuseSessions bool
	// Stderr is so many bytes that each command writes to stderr first.
	Stderr int
}

// Start runs a server until the end of the test.
func Start(t testing.TB, config Config) *Server {
	t.Helper()
	s := &Server{config: config, Key: NewKey(t), hostKeys: config.HostKeys, conns: map[*conn]struct{}{}, running: map[*exec.Cmd][]io.Closer{}}
	if len(s.hostKeys) == 0 {
		s.hostKeys = []ssh.Signer{NewKey(t).Signer}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.Address = host
	if s.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	s.KnownHosts = KnownHosts(t, s.Address, s.Port, s.hostKeys[0].PublicKey())
	s.work.Go(func() { s.accept(listener) })
	t.Cleanup(func() {
		_ = listener.Close()
		s.CutAll()
		s.mu.Lock()
		s.closed = true
		for cmd, pipes := range s.running {
			signalGroup(cmd, "KILL")
			for _, p := range pipes {
				_ = p.Close()
			}
		}
		s.mu.Unlock()
		s.work.Wait()
	})
	return s
}

// SetFaults replaces the faults, for connections that exist too.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
	for c := range s.conns {
		c.set(f)
	}
}

// ChangeHostKey gives the server another host key, as a reinstallation does.
func (s *Server) ChangeHostKey(key ssh.Signer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hostKeys = []ssh.Signer{key}
}

// CutAll ends all connections, without a goodbye.
func (s *Server) CutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.cut()
	}
}

// Accepted is how many TCP connections were accepted.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Connections is how many of them have not ended.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Sessions is how many sessions are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Forwards is how many connections were forwarded, as a jump host does.
func (s *Server) Forwards() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forwards
}

func (s *Server) accept(l net.Listener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.accepted++
		drop := s.faults.Drop > 0
		if drop {
			s.faults.Drop--
		}
		c := newConn(raw, s.faults)
		if !drop && !s.closed {
			s.conns[c] = struct{}{}
		}
		s.mu.Unlock()
		if drop {
			c.cut()
			continue
		}
		s.work.Go(func() {
			s.serve(c)
			c.cut()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(c *conn) {
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if s.config.Accept != nil {
			return nil, s.config.Accept(meta.User(), key)
		}
		if bytes.Equal(key.Marshal(), s.Key.Signer.PublicKey().Marshal()) {
			return nil, nil
		}
		return nil, errors.New("unknown key")
	}}
	s.mu.Lock()
	for _, k := range s.hostKeys {
		cfg.AddHostKey(k)
	}
	mute := s.faults.Mute
	s.mu.Unlock()
	if mute {
		c.waitCut()
		return
	}
	_, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	var sessions sync.WaitGroup
	defer sessions.Wait()
	sessions.Go(func() {
		for r := range requests {
			// sshd refuses keepalive requests, and that is an answer.
			_ = r.Reply(false, nil)
		}
	})
	open := make(chan struct{}, max(s.config.MaxSessions, 0)+10*boolInt(s.config.MaxSessions == 0))
	for ch := range channels {
		switch {
		case ch.ChannelType() == "direct-tcpip" && !s.config.ForbidForwarding:
			sessions.Go(func() { s.forward(ch) })
		case ch.ChannelType() == "direct-tcpip":
			_ = ch.Reject(ssh.Prohibited, "administratively prohibited")
		case ch.ChannelType() != "session" || s.refuses():
			_ = ch.Reject(ssh.ConnectionFailed, "open failed")
		default:
			select {
			case open <- struct{}{}:
				sessions.Go(func() {
					s.count(1)
					left := sync.OnceFunc(func() {
						s.count(-1)
						<-open
					})
					defer left()
					s.session(ch, left)
				})
			default:
				_ = ch.Reject(ssh.ConnectionFailed, "open failed")
			}
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *Server) refuses() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.RefuseSessions
}

func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
}

func (s *Server) env() []string { return slices.Clone(s.config.Env) }
