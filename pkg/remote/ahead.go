package remote

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// ahead is a connection that is being made for the next session that asks for one of its
// own: a login takes longer than most of what a run does before it.
type ahead struct {
	conn   *Conn
	err    error
	made   chan struct{} // closed when conn or err is set
	cancel context.CancelFunc
}

// ConnectAhead begins to make the connection that the next session with
// host.Database.Own will have. What is wrong with it that session finds out, which makes
// another. It is closed with c when nobody has asked for it.
func (c *Conn) ConnectAhead(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := &ahead{made: make(chan struct{}), cancel: cancel}
	c.ahead = a
	go func() {
		defer close(a.made)
		a.conn, a.err = c.dialer.dial(ctx, c.target)
	}()
}

func (c *Conn) takeAhead() *ahead {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.ahead
	c.ahead = nil
	return a
}

// own is a connection for one session.
func (c *Conn) own(ctx context.Context) (*Conn, error) {
	a := c.takeAhead()
	if a == nil {
		return c.dialer.dial(ctx, c.target)
	}
	select {
	case <-a.made:
	case <-ctx.Done():
		a.drop()
		return nil, context.Cause(ctx)
	}
	if fault.ClassOf(a.err) == fault.Auth {
		return nil, a.err // not to be repeated, see Pool.Dial
	}
	if a.err != nil {
		return c.dialer.dial(ctx, c.target)
	}
	select {
	case <-a.conn.lost:
		_ = a.conn.Close()
		return c.dialer.dial(ctx, c.target)
	default:
		return a.conn, nil
	}
}

// drop gives it up.
func (a *ahead) drop() {
	if a == nil {
		return
	}
	a.cancel()
	<-a.made
	if a.conn != nil {
		_ = a.conn.Close()
	}
}
