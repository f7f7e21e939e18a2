package effect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

const (
	// lookTimeout is how long all looks before a COMMIT may take together. The locks of the
	// change are held meanwhile, and every read and write of its tables queues behind them.
	// A host that lost its network says nothing, and its connection ends a minute later.
	lookTimeout = 2 * time.Second
	// muteGrace is how long a question that was given up may take to end by itself: a
	// server that hears of it ends it, and its session goes on.
	muteGrace = time.Second
)

var errMute = fmt.Errorf("it did not answer within %s", lookTimeout)

// look is before the COMMIT: that still nobody reads from the standbys that are drained for
// it, and that those that are paused for it still are. All are asked at once. One that does
// not answer in time is one that cannot be reached. forget is called once nobody is locked
// out any more: it closes the sessions that are left waiting, so that the next who asks
// gets a new one.
func (e *DDL) look(ctx context.Context, env Env) (forget func(), err error) {
	closing := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errMute)
	defer cancel()
	var all []*question
	for _, d := range e.Drained {
		all = append(all, &question{Env: env, host: d.Host, look: d.still, done: make(chan struct{})})
	}
	for _, p := range e.Paused {
		all = append(all, &question{Env: env, host: p.Host, look: p.still, done: make(chan struct{})})
	}
	for _, b := range e.Apart {
		all = append(all, &question{Env: env, host: b.Host, look: b.apart, done: make(chan struct{})})
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, q := range all {
		wg.Go(func() { errs[i] = q.ask(ctx) })
	}
	wg.Wait()
	return func() {
		var wg sync.WaitGroup
		for _, q := range all {
			wg.Go(func() { q.forget(closing) })
		}
		wg.Wait()
	}, errors.Join(errs...)
}

// apart refuses when a standby that takes no part has readers by now. Where HAProxy cannot say
// it, who is drained there could not be looked at either.
func (e *Balance) apart(ctx context.Context, env Env) error {
	now, err := showBalanced(ctx, env, *e)
	if err != nil {
		return &fault.Error{Class: fault.ClassOf(err), Host: e.Host, Op: "look at " + e.Server, Err: err}
	}
	if now.State != facts.Serving && now.Sessions == 0 {
		return nil
	}
	return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "look at " + e.Server,
		Err:  fmt.Errorf("it takes no part, for it did not serve, and is %s with %d sessions by now: its readers would be held up by the change", now.State, now.Sessions),
		Hint: "type the same command again: it takes part then"}
}

// question is one look at a host. It is the Env of that look, to know its sessions.
type question struct {
	Env
	host string
	look func(context.Context, Env) error
	done chan struct{}

	mu    sync.Mutex
	asked []host.SQL
}

// SQL implements Env.
func (q *question) SQL(ctx context.Context, name string) (host.SQL, error) {
	s, err := q.Env.SQL(ctx, name)
	if err == nil {
		q.mu.Lock()
		q.asked = append(q.asked, s)
		q.mu.Unlock()
	}
	return s, err
}

// ask does not wait for longer than ctx: a query that is cancelled goes on waiting for the
// server to say so.
func (q *question) ask(ctx context.Context) error {
	var said error
	go func() {
		defer close(q.done)
		said = q.look(ctx, q)
	}()
	var err error
	select {
	case <-q.done:
		err = said
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil && errors.Is(context.Cause(ctx), errMute) {
		return &fault.Error{Class: fault.Unreachable, Host: q.host, Op: "look at it before the COMMIT", Err: errMute, Hint: "pgrepctl status"}
	}
	return err
}

func (q *question) forget(ctx context.Context) {
	select {
	case <-q.done:
		return
	case <-time.After(muteGrace):
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.asked {
		_ = s.Close(ctx)
		select { // it is known to be gone a moment later
		case <-s.Lost():
		case <-time.After(muteGrace):
		}
	}
}
