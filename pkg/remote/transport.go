package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// proxyConn is the stdin and stdout of a ProxyCommand.
type proxyConn struct {
	net.Conn // the local end; deadlines work
	cmd      *exec.Cmd
	stderr   *tail
	once     sync.Once
	done     chan struct{}
	killed   bool // by Close
}

// dialProxy starts a ProxyCommand. The process lives as long as the
// connection, not as long as ctx: ctx bounds only the dialing.
func dialProxy(s settings, address string) (*proxyConn, error) {
	tokens := strings.NewReplacer("%%", "%", "%h", s.host, "%n", address, "%p", strconv.Itoa(s.port), "%r", s.user)
	argv, err := proxyArgv(s, tokens)
	if err != nil {
		return nil, fmt.Errorf("start proxy command: %w", err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start proxy command: %w", err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	stderr := newTail(maxStderr)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, stderr
	// A grandchild may keep stderr open.
	cmd.WaitDelay = time.Second
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start proxy command: %w", err)
	}
	p := &proxyConn{Conn: ours, cmd: cmd, stderr: stderr, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// deaf goes before a proxy command. A Ctrl-C on the terminal goes to every process of its
// foreground group, and a hangup, too: the first one must end no connection, for a run closes
// then what it holds open on the hosts. What a process ignores it ignores across exec. A
// group of its own would do it as well, but could not ask for a passphrase: who reads the
// terminal from the background is stopped. The proxy ends with its input, as ever.
const deaf = "trap '' HUP INT QUIT; exec "

// proxyArgv is how a ProxyCommand is started. ssh runs the string by the user's shell with
// exec, so that the proxy itself gets the signal that ends it.
func proxyArgv(s settings, tokens *strings.Replacer) ([]string, error) {
	if len(s.proxyArgv) == 0 {
		return []string{"/bin/sh", "-c", deaf + tokens.Replace(s.proxyCommand)}, nil
	}
	var argv []string
	for _, w := range s.proxyArgv {
		argv = append(argv, tokens.Replace(w))
	}
	name, err := exec.LookPath(argv[0]) // whose error is better than the shell's
	if err != nil {
		return nil, err
	}
	return append([]string{"/bin/sh", "-c", deaf + `"$@"`, "sh", name}, argv[1:]...), nil
}

// Close ends the process: first by the end of its input, then by a signal.
func (p *proxyConn) Close() error {
	err := p.Conn.Close()
	p.once.Do(func() {
		select {
		case <-p.done:
			return
		case <-time.After(200 * time.Millisecond):
		}
		p.killed = true
		if kerr := p.cmd.Process.Kill(); kerr != nil && !errors.Is(kerr, os.ErrProcessDone) {
			err = errors.Join(err, kerr)
		}
		<-p.done
	})
	return err
}

// complaint is what the proxy said last, when it has ended.
func (p *proxyConn) complaint() string {
	select {
	case <-p.done:
		return host.Tail(p.stderr.String(), 2)
	case <-time.After(200 * time.Millisecond):
		return ""
	}
}

// dialTCP bounds a TCP connection by ctx.
func dialTCP(ctx context.Context, s settings) (net.Conn, error) {
	d := net.Dialer{KeepAlive: defaultKeepAlive}
	return d.DialContext(ctx, s.network, s.addr())
}
