package remote

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

//go:embed bridge.sh
var bridgeScript string

//go:embed bridge.pl
var bridgePerl string

//go:embed bridge.py
var bridgePython string

// Error numbers of Linux, as the bridge reports them from the host.
const (
	enoent       = 2
	eacces       = 13
	econnrefused = 111
)

// bridgeError is a socket that the bridge could not connect to.
type bridgeError struct {
	to    string
	errno int
	text  string
}

func (e *bridgeError) Error() string { return fmt.Sprintf("connect %s: %s", e.to, e.text) }

// Unwrap makes a missing or deserted socket host.ErrNoServer.
func (e *bridgeError) Unwrap() error {
	if e.errno == enoent || e.errno == econnrefused {
		return host.ErrNoServer
	}
	return nil
}

// dialTCP connects from the host to an address, as the login user.
func (c *Conn) dialTCP(ctx context.Context, address string) (*bridged, error) {
	h, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return c.bridge(ctx, "", tcpAddr(address), "tcp", h, port)
}

// tcpAddr is an address that this machine may not be able to resolve.
type tcpAddr string

func (tcpAddr) Network() string  { return "tcp" }
func (a tcpAddr) String() string { return string(a) }

// bridge joins a process on the host with a socket there, as OS user as: peer
// authentication sees as, and it works where sshd forbids forwarding. It is a net.Conn,
// with deadlines that work. Nothing listening there is host.ErrNoServer. ctx bounds the
// connecting only.
func (c *Conn) bridge(ctx context.Context, as string, addr net.Addr, to ...string) (*bridged, error) {
	e, err := c.elevation(ctx, as)
	if err != nil {
		return nil, err
	}
	const name = "pgrepctl-bridge"
	mark := nonce()
	b, err := c.bridgeBy(ctx, e, as, addr, mark, interpreted(name, bridgeScript, bridgePerl, bridgePython, mark, to...))
	if !cannotRun(err) {
		return b, err
	}
	b, again := c.bridgeBy(ctx, e, as, addr, mark, withoutPerl(name, bridgeScript, bridgePython, mark, to...))
	if errors.Is(again, errNoInterpreter) {
		return nil, err // which says what is wrong with the one that is there
	}
	return b, again
}

func (c *Conn) bridgeBy(ctx context.Context, e elevation, as string, addr net.Addr, mark string, argv []string) (*bridged, error) {
	p, err := c.start(ctx, e, host.Cmd{Argv: []string{"socket bridge"}, As: as}, argv, nil)
	if err != nil {
		return nil, err
	}
	said := make(chan string, 1)
	go func() {
		if skipPast(p.stdout, mark+" ") != nil {
			close(said)
			return
		}
		said <- readLine(p.stdout)
	}()
	var answer string
	select {
	case <-ctx.Done():
		p.giveUp()
		return nil, fmt.Errorf("connect %s: %w", addr, context.Cause(ctx))
	case answer = <-said:
	}
	switch word, rest, _ := strings.Cut(answer, " "); word {
	case "ok":
		c.guard()
		return newBridged(p, addr), nil
	case "fail":
		_ = p.stdin.Close()
		no, text, _ := strings.Cut(rest, " ")
		errno, err := strconv.Atoi(no)
		if err != nil {
			return nil, fmt.Errorf("connect %s: %s", addr, rest)
		}
		return nil, c.bridgeFault(as, &bridgeError{to: addr.String(), errno: errno, text: text})
	case "none":
		_ = p.stdin.Close()
		return nil, c.noBridge(addr)
	}
	if err := p.result(ctx); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("connect %s: the bridge: %w: %s", addr, errMute, host.Tail(p.stderr.String(), 1))
}

func (c *Conn) noBridge(to net.Addr) error {
	return &fault.Error{
		Class: fault.Failed, Host: c.Name(), Op: "connect " + to.String(),
		Err:  errNoInterpreter,
		Hint: "install one of them, perl-base is enough",
	}
}

func (c *Conn) bridgeFault(as string, e *bridgeError) error {
	if e.errno != eacces {
		return fmt.Errorf("%s: %w", c.Name(), e)
	}
	if as == "" {
		as = c.user
	}
	return &fault.Error{
		Class: fault.Auth, Host: c.Name(), Op: "connect", Err: e,
		Hint: "the socket's directory must be open to " + as + "; see unix_socket_permissions and unix_socket_group",
	}
}

// readLine reads to the end of a line, one byte at a time.
func readLine(r io.Reader) string {
	var b []byte
	one := make([]byte, 1)
	for len(b) < 4096 {
		if _, err := io.ReadFull(r, one); err != nil || one[0] == '\n' {
			break
		}
		b = append(b, one[0])
	}
	return string(b)
}

// bridged is a bridge process as a net.Conn. SSH channels have no deadlines
// (go#65930); the pipe in between has them.
type bridged struct {
	net.Conn // our end of the pipe
	far      net.Conn
	addr     net.Addr
	process  *process
	closing  sync.Once
	over     chan struct{} // closed when the host's side has ended
	pumps    sync.WaitGroup
}

const (
	chunkSize  = 8 << 10
	heldChunks = 16
)

func newBridged(p *process, addr net.Addr) *bridged {
	near, far := net.Pipe()
	b := &bridged{Conn: near, far: far, addr: addr, process: p, over: make(chan struct{})}
	// Nobody reads an idle session, and its end must be seen all the same,
	// behind a last message such as the server's FATAL.
	held := make(chan []byte, heldChunks)
	b.pumps.Go(func() {
		defer close(b.over)
		defer close(held)
		for {
			chunk := make([]byte, chunkSize)
			n, err := p.stdout.Read(chunk)
			if n > 0 {
				held <- chunk[:n]
			}
			if err != nil {
				return
			}
		}
	})
	b.pumps.Go(func() {
		defer func() { _ = far.Close() }()
		for chunk := range held {
			if _, err := far.Write(chunk); err != nil {
				for range held { // the other pump must not wait
				}
			}
		}
	})
	b.pumps.Go(func() {
		_, _ = io.CopyBuffer(p.stdin, far, make([]byte, chunkSize))
		_ = p.stdin.Close()
	})
	return b
}

// RemoteAddr is what the bridge connected to: pgx dials it to cancel a query.
func (b *bridged) RemoteAddr() net.Addr { return b.addr }

// Close ends the bridge by the end of its input, which the server sees as the
// end of the client, and after a second by closing the session.
func (b *bridged) Close() error {
	b.closing.Do(func() {
		_ = b.Conn.Close()
		if !b.process.endsWithin(time.Second) {
			b.process.giveUp()
		}
	})
	return nil
}
