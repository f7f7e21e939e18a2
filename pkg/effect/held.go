package effect

import (
	"context"
	"fmt"
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

// beatTimeout is how long a beat may take: as long as the server waits for one. A backend
// that does not answer for that long holds nothing that a run may count on.
const beatTimeout = 75 * time.Second

// heldSession is a session that stays open between effects. turn is for the
// heartbeat, and taken by whoever sends to it: one SQL session is for one goroutine at
// a time.
type heldSession struct {
	turn chan struct{}
	sql  host.SQL
	end  context.CancelFunc
	done chan struct{}
}

func holdSession(s host.SQL) *heldSession {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:contextcheck // outlives Do by design; ended by Close
	h := &heldSession{turn: make(chan struct{}, 1), sql: s, end: cancel, done: make(chan struct{})}
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
			h.turn <- struct{}{}
			if ctx.Err() == nil {
				h.once(ctx)
			}
			<-h.turn
		}
	}
}

// once is one beat. One that failed needs no handling: Lost tells. One that took too long
// ends the session: a statement that is cancelled takes the temporary slot along, and the
// session would go on without it.
func (h *heldSession) once(ctx context.Context) {
	timed, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	if err := h.sql.Exec(timed, "select 1"); err != nil && timed.Err() != nil && ctx.Err() == nil {
		_ = h.sql.Close(context.WithoutCancel(ctx))
	}
}

// rest ends the beat, and waits for one that is on its way. If ctx ends first, the backend
// hangs, and the session is closed.
func (h *heldSession) rest(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
	default: // a beat has it
		select {
		case h.turn <- struct{}{}:
		case <-ctx.Done():
			_ = h.Close(context.WithoutCancel(ctx))
			return fmt.Errorf("wait for an answer of its session: %w", context.Cause(ctx))
		}
	}
	h.end()
	<-h.turn
	<-h.done
	return nil
}

func (h *heldSession) Lost() <-chan struct{} { return h.sql.Lost() }

func (h *heldSession) Close(ctx context.Context) error {
	h.end()
	<-h.done
	return h.sql.Close(ctx)
}

// HoldLost is why a bracket's body was ended: what it holds by that key is gone.
type HoldLost struct{ Key string }

func (e HoldLost) Error() string { return "the " + e.Key + " session was lost" }
