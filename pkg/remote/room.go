package remote

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// maxSessions keeps below sshd's default of MaxSessions 10: the eleventh
	// session fails with a message that names no cause.
	maxSessions = 9
	// roomGrace is how long a call waits for one of them. Most end soon; those of a
	// run (sessions of the server, leashes, files) stay until it ends, and who waited
	// for them would wait for ever.
	roomGrace = time.Second
)

// room finds a connection to the host with a free session, and takes that. It is
// another one than c when all of c's are in use for long.
func (c *Conn) room(ctx context.Context) (on *Conn, release func(), _ error) {
	release = sync.OnceFunc(func() { <-c.slots })
	select {
	case c.slots <- struct{}{}:
		return c, release, nil
	default:
	}
	grace := time.NewTimer(roomGrace)
	defer grace.Stop()
	select {
	case c.slots <- struct{}{}:
		return c, release, nil
	case <-c.lost:
		return nil, nil, c.lostError(nil)
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for a free SSH session (all %d are in use): %w", maxSessions, context.Cause(ctx))
	case <-grace.C:
	}
	next, err := c.another(ctx)
	if err != nil {
		return nil, nil, err
	}
	return next.room(ctx)
}

// ownRoom waits for a session of c itself.
func (c *Conn) ownRoom(ctx context.Context) (on *Conn, release func(), _ error) {
	select {
	case c.slots <- struct{}{}:
		return c, sync.OnceFunc(func() { <-c.slots }), nil
	case <-c.lost:
		return nil, nil, c.lostError(nil)
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// another is a further connection to the same host. It is closed with c.
func (c *Conn) another(ctx context.Context) (*Conn, error) {
	c.nextMu.Lock()
	defer c.nextMu.Unlock()
	select {
	case <-c.lost:
		return nil, c.lostError(nil)
	default:
	}
	if c.next != nil {
		select {
		case <-c.next.lost:
			c.next = nil
		default:
			return c.next, nil
		}
	}
	next, err := c.dialer.dial(ctx, c.target)
	if err != nil {
		return nil, fmt.Errorf("connect once more, for more than %d SSH sessions: %w", maxSessions, err)
	}
	next.guard()
	c.next = next
	return next, nil
}

func (c *Conn) closeNext() {
	c.nextMu.Lock()
	next := c.next
	c.next = nil
	c.nextMu.Unlock()
	if next != nil {
		_ = next.Close()
	}
}
