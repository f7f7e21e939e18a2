package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// DialTimeout bounds every connection into a lab. A host without cable or
// power answers nothing at all.
const DialTimeout = 5 * time.Second

// DialContext connects to a host of the lab, "h1:22" or "10.77.0.11:22", from
// inside the lab's network. network is "tcp" or "tcp4". It gives up after
// DialTimeout if ctx does not end before.
func (l *Lab) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, fmt.Errorf("dial %s in lab %s: network %q: want tcp", addr, l.Name, network)
	}
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial in lab %s: %w", l.Name, err)
	}
	h, err := l.host(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	conn, err := l.dial(ctx, "tcp4", net.JoinHostPort(h.Address.String(), port))
	if err != nil {
		return nil, fmt.Errorf("dial %s in lab %s: %w", addr, l.Name, err)
	}
	return conn, nil
}

// DialHere connects from the network namespace that the process is in. It is
// the inner half of DialContext for a lab of a plain user.
func DialHere(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: DialTimeout}
	conn, err := d.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return conn, nil
}

// Splice connects conn with in and out, as an SSH ProxyCommand must: the end of
// in is passed on, and the end of the other side ends the whole. When in has
// ended the other side gets DialTimeout to finish, because a host without
// cable never would. It closes conn.
func Splice(conn net.Conn, in io.Reader, out io.Writer) error {
	return splice(conn, in, out, DialTimeout)
}

func splice(conn net.Conn, in io.Reader, out io.Writer, patience time.Duration) error {
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, in)
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
	}()
	if _, err := io.Copy(out, conn); err != nil {
		return fmt.Errorf("splice: %w", err)
	}
	return nil
}

// connected is what the inner half says on its extra file when it has dialed.
const connected = "connected\n"

// SpliceInside is Splice for the inner half of DialContext. It first says that conn
// is there, on the file that `lab dial --connected-fd` names. It waits longer for a
// host that hangs than the outer half does, which would take its end for the host's.
func SpliceInside(told io.WriteCloser, conn net.Conn, in io.Reader, out io.Writer) error {
	if _, err := io.WriteString(told, connected); err != nil {
		return err
	}
	if err := told.Close(); err != nil {
		return err
	}
	return splice(conn, in, out, 2*DialTimeout)
}

// programConn is a connection that another program made and splices.
type programConn struct {
	net.Conn
	cmd    *exec.Cmd
	remote net.Addr
	reaped sync.Once // Close may be called twice, and at the same time
}

// RemoteAddr is the host's: the verification of host keys looks at it.
func (c *programConn) RemoteAddr() net.Addr { return c.remote }

func (c *programConn) Close() error {
	err := c.Conn.Close()
	c.reaped.Do(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
	return err
}

func (c *programConn) CloseWrite() error {
	return c.Conn.(*net.UnixConn).CloseWrite()
}

// dialThrough starts a program that dials addr, which is numeric, and splices its
// stdin and stdout, and waits for it to say on fd 3 that it has.
func dialThrough(ctx context.Context, addr string, argv ...string) (net.Conn, error) {
	remote, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, err
	}
	defer r.Close()
	var stderr bytes.Buffer
	// Not CommandContext: the connection outlives ctx.
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, &stderr
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	theirs.Close()
	w.Close()
	if err != nil {
		ours.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, err := io.ReadAll(io.LimitReader(r, int64(len(connected))))
	conn := &programConn{Conn: ours, cmd: cmd, remote: net.TCPAddrFromAddrPort(remote)}
	if string(answer) == connected {
		return conn, nil
	}
	conn.Close()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case stderr.Len() > 0:
		return nil, errors.New(strings.TrimSpace(stderr.String()))
	case err != nil:
		return nil, err
	}
	return nil, errors.New(argv[0] + " ended without a word")
}

// socketPair returns two ends of one connection, one for us and one to hand to
// a program.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := newSocketPair()
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "lab"), os.NewFile(uintptr(fds[1]), "lab")
	defer mine.Close()
	conn, err := net.FileConn(mine)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	return conn, theirs, nil
}
