package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// demand is how much is asked of the hosts.
type demand struct {
	clients int // that read, each by a schedule of its own
	rate    int // reads a second, of all of them
	writers int
	writes  int // a second, of all writers
	reports int // clients that run one report after another, each of 0.3 to 3 s
}

// load reads through the balancers and writes on the primary.
type load struct {
	readers []*reader
	writers []*writer
	heart   *writer
	reports reports
	end     chan struct{}
	group   sync.WaitGroup
	clients []*client
	lines   []*line
}

// start begins a load. It has all of its connections when it returns.
func (s *stage) start(ctx context.Context, d demand) (_ *load, err error) {
	l := &load{end: make(chan struct{})}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	write := func() (*client, error) {
		c, err := s.connect(ctx, ofThePrimary())
		if err != nil {
			return nil, fmt.Errorf("connect a writer: %w", err)
		}
		l.clients = append(l.clients, c)
		return c, nil
	}
	heart, err := write()
	if err != nil {
		return nil, err
	}
	l.heart = &writer{write: func() error { _, err := heart.row(ctx, beatOnce); return err }}
	for range d.writers {
		c, err := write()
		if err != nil {
			return nil, err
		}
		l.writers = append(l.writers, &writer{write: s.changes(ctx, c)})
	}
	for range d.clients {
		n := &line{s: s}
		l.lines = append(l.lines, n)
		if _, err := n.ask(ctx); err != nil {
			return nil, fmt.Errorf("connect a reader: %w", err)
		}
		l.readers = append(l.readers, &reader{ask: func() (beat, error) { return n.ask(ctx) }})
	}
	first := time.Now().Add(100 * time.Millisecond)
	l.group.Go(func() { l.heart.run(first, beatEvery, l.end) })
	for i, w := range l.writers {
		every := time.Duration(d.writers) * time.Second / time.Duration(d.writes)
		l.group.Go(func() { w.run(first.Add(every*time.Duration(i)/time.Duration(d.writers)), every, l.end) })
	}
	for i, r := range l.readers {
		every := time.Duration(d.clients) * time.Second / time.Duration(d.rate)
		l.group.Go(func() { r.run(first.Add(every*time.Duration(i)/time.Duration(d.clients)), every, l.end) })
	}
	for range d.reports {
		l.group.Go(func() { s.stream(ctx, &l.reports, l.end) })
	}
	return l, nil
}

// forget ends the warm-up.
func (l *load) forget() {
	for _, r := range l.readers {
		r.forget()
	}
	for _, w := range append(l.writers, l.heart) {
		w.forget()
	}
}

// stop ends the load when every call has its answer, and returns what it saw.
func (l *load) stop() (read, wrote reads, err error) {
	close(l.end)
	l.group.Wait()
	for _, r := range l.readers {
		read.add(r.total())
	}
	for _, w := range l.writers {
		wrote.add(w.total())
	}
	l.close()
	if beats := l.heart.total(); beats.failed > 0 {
		err = errors.Join(err, fmt.Errorf("the heartbeat failed: %v", beats.errors))
	}
	return read, wrote, err
}

func (l *load) close() {
	for _, c := range l.clients {
		c.close()
	}
	for _, n := range l.lines {
		n.hangUp()
	}
}
