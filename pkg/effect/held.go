package effect

import (
	"context"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// heartbeat keeps a held session's channel in use: an sshd with ChannelTimeout
// closes idle channels whatever the keepalives of the connection, and the
// server's idle_session_timeout is our dead-man's switch.
const heartbeat = 15 * time.Second

// idleTimeout makes the server (14+) end a session, and with it its locks and its
// backup, once five heartbeats are missed: an operator's machine that lost power
// sends no FIN, and TCP notices after two hours. Servers before 14 have no such
// setting, and the statement no row.
const idleTimeout = "select set_config(name, '75s', false) from pg_settings where name = 'idle_session_timeout'"

// heldSession is a session that stays open between effects. The mutex is for the
// heartbeat: one SQL session is for one goroutine at a time.
type heldSession struct {
	mu   sync.Mutex
	sql  host.SQL
	end  context.CancelFunc
	done chan struct{}
}

func holdSession(s host.SQL) *heldSession {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:contextcheck // outlives Do by design; ended by Close
	h := &heldSession{sql: s, end: cancel, done: make(chan struct{})}
	go h.beat(ctx)
	return h
}

func (h *heldSession) beat(ctx context.Context) {
	defer close(h.done)
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.sql.Lost():
			return
		case <-t.C:
			h.mu.Lock()
			// A failed beat needs no handling: Lost tells. It has no time-out: a statement
			// that is cancelled takes the session's temporary slot along.
			if ctx.Err() == nil {
				_ = h.sql.Exec(ctx, "select 1")
			}
			h.mu.Unlock()
		}
	}
}

// rest ends the beat, and waits for one that is on its way.
func (h *heldSession) rest() {
	h.mu.Lock()
	h.end()
	h.mu.Unlock()
	<-h.done
}

func (h *heldSession) Lost() <-chan struct{} { return h.sql.Lost() }

func (h *heldSession) Close(ctx context.Context) error {
	h.end()
	<-h.done
	return h.sql.Close(ctx)
}
