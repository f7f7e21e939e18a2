package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// dialLimit is how many connections a pool makes at a time; loginLimit bounds those
// of them that one sshd sees.
const dialLimit = 64

// Pool connects the hosts of one run, each once, when it is first needed. Jump
// hosts are shared. Safe for concurrent use.
type Pool struct {
	dialer *dialer
	sink   event.Sink
	limit  chan struct{}

	mu     sync.Mutex
	hosts  map[string]*member
	counts map[string]int
	closed bool
}

// member is one host of a pool.
type member struct {
	target Target
	turn   chan struct{} // holds one token: whoever has it may dial
	conn   *Conn
	err    error // a refused login, which is not tried again
}

var _ host.Dialer = (*Pool)(nil)

// Option changes a Pool.
type Option func(*Pool)

// WithEvents sends warnings of connections, such as corrupt lines in
// known_hosts, to sink.
func WithEvents(sink event.Sink) Option { return func(p *Pool) { p.sink = sink } }

// WithDials lets that many connections be made at a time: those to dead hosts must
// not keep a process from others that lives for days.
func WithDials(n int) Option { return func(p *Pool) { p.limit = make(chan struct{}, n) } }

// NewPool makes a pool of hosts, by Target.Name. It connects nothing.
func NewPool(targets []Target, options ...Option) *Pool {
	p := &Pool{
		sink:  event.Discard{},
		limit: make(chan struct{}, dialLimit),
		hosts: map[string]*member{}, counts: map[string]int{},
	}
	p.dialer = &dialer{dialed: p.count}
	for _, o := range options {
		o(p)
	}
	for _, t := range targets {
		m := &member{target: t, turn: make(chan struct{}, 1)}
		m.turn <- struct{}{}
		p.hosts[t.Name] = m
	}
	return p
}

func (p *Pool) count(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[name]++
}

// Connections is how many SSH connections were made to a host, those of
// host.Database.Own sessions included.
func (p *Pool) Connections(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[name]
}

// Dial implements host.Dialer. A host whose connection was lost is dialed
// again; hosts that were handed out before stay lost. A refused login is not
// repeated: sshd may lock us out for it.
func (p *Pool) Dial(ctx context.Context, name string) (host.Host, error) {
	m := p.hosts[name]
	if m == nil {
		return nil, fmt.Errorf("dial %q: no such host", name)
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", name, context.Cause(ctx))
	case <-m.turn:
	}
	defer func() { m.turn <- struct{}{} }()
	if m.err != nil {
		return nil, m.err
	}
	if m.conn != nil {
		select {
		case <-m.conn.lost:
			_ = m.conn.Close()
			m.conn = nil
		default:
			return m.conn, nil
		}
	}
	conn, err := p.dial(ctx, m.target)
	if err != nil {
		if fault.ClassOf(err) == fault.Auth {
			m.err = err
		}
		return nil, err
	}
	m.conn = conn
	return conn, nil
}

func (p *Pool) dial(ctx context.Context, t Target) (*Conn, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("dial %s: the pool is closed", t.Name)
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", t.Name, context.Cause(ctx))
	case p.limit <- struct{}{}:
	}
	defer func() { <-p.limit }()
	c, err := p.dialer.dial(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, w := range c.warnings {
		p.sink.Emit(event.Event{At: time.Now(), Host: t.Name, Type: event.Warning, Text: w})
	}
	return c, nil
}

// Forgive lets a host be dialed once more after a refused login. It is for a process
// that lives for days, and asks for it seldom.
func (p *Pool) Forgive(name string) {
	m := p.hosts[name]
	if m == nil {
		return
	}
	<-m.turn
	m.err = nil
	m.turn <- struct{}{}
}

// Drop closes the connection to a host, if there is one. The next Dial makes
// another.
func (p *Pool) Drop(name string) error {
	m := p.hosts[name]
	if m == nil {
		return fmt.Errorf("drop %q: no such host", name)
	}
	<-m.turn
	defer func() { m.turn <- struct{}{} }()
	if m.conn == nil {
		return nil
	}
	err := m.conn.Close()
	m.conn = nil
	return err
}

// Close closes all connections, the jump hosts last.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	names := make([]string, 0, len(p.hosts))
	for name := range p.hosts {
		names = append(names, name)
	}
	p.mu.Unlock()
	slices.Sort(names)
	errs := make([]error, len(names))
	var closing sync.WaitGroup
	for i, name := range names {
		closing.Go(func() {
			m := p.hosts[name]
			<-m.turn
			if m.conn != nil {
				errs[i] = m.conn.Close()
				m.conn = nil
			}
			m.turn <- struct{}{}
		})
	}
	closing.Wait()
	p.dialer.close()
	return errors.Join(errs...)
}
