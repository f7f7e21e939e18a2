package remotetest

import (
	"net"
	"sync"
)

// conn is a connection with faults.
type conn struct {
	net.Conn

	mu    sync.Mutex
	move  *sync.Cond // signalled when faults change
	stall bool
	left  int64 // bytes until the cut; -1: no cut
	gone  bool
}

func newConn(raw net.Conn, f Faults) *conn {
	c := &conn{Conn: raw}
	c.move = sync.NewCond(&c.mu)
	c.set(f)
	return c
}

func (c *conn) set(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stall, c.left = f.Stall, -1
	if f.CutAfter > 0 {
		c.left = f.CutAfter
	}
	c.move.Broadcast()
}

// pass waits while the connection stalls. It reports whether there still is
// one.
func (c *conn) pass() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.stall && !c.gone {
		c.move.Wait()
	}
	return !c.gone
}

func (c *conn) waitCut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.gone {
		c.move.Wait()
	}
}

func (c *conn) cut() {
	c.mu.Lock()
	c.gone = true
	c.move.Broadcast()
	c.mu.Unlock()
	_ = c.Conn.Close()
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.pass() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if !c.pass() {
		return 0, net.ErrClosed
	}
	c.mu.Lock()
	last := c.left >= 0 && int64(len(p)) >= c.left
	if last {
		p = p[:c.left]
	} else if c.left >= 0 {
		c.left -= int64(len(p))
	}
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	if last {
		c.cut()
		return n, net.ErrClosed
	}
	return n, err
}
