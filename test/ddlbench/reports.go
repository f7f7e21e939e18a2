package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// reports is what became of the long reads.
type reports struct {
	mu        sync.Mutex
	ended     int
	cancelled []string // how those ended that did not
	byServer  map[string]int
}

// report is one long read: it holds a lock on items and a snapshot as long as it
// runs, but no page.
func (s *stage) report(ctx context.Context, c *client, length time.Duration) error {
	_, err := c.row(ctx, fmt.Sprintf("select pg_sleep(%f + 0 * (select count(*) from items where id <= %d))", length.Seconds(), reportedRows))
	return err
}

const whoServes = "select host(inet_server_addr())"

// connectTo connects through HAProxy as often as it takes to be sent to a server.
func (s *stage) connectTo(ctx context.Context, name string) (*client, error) {
	for range 200 {
		c, err := s.connect(ctx, throughProxy())
		if err != nil {
			return nil, err
		}
		got, err := c.value(ctx, whoServes)
		if err == nil && got == s.ip(name) {
			return c, nil
		}
		c.close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("HAProxy sends nobody to %s", name)
}

// onEach begins one report on each standby and returns when they run. Their ends
// are booked in r; wait returns after the last.
func (s *stage) onEach(ctx context.Context, r *reports, length time.Duration) (wait func(), err error) {
	var group sync.WaitGroup
	var clients []*client
	for _, name := range s.on.standbys {
		c, err := s.connectTo(ctx, name)
		if err != nil {
			for _, c := range clients {
				c.close()
			}
			return nil, fmt.Errorf("report on %s: %w", name, err)
		}
		clients = append(clients, c)
	}
	for i, c := range clients {
		group.Go(func() {
			defer c.close()
			r.book(ctx, s.on.standbys[i], s.report(ctx, c, length))
		})
	}
	for _, name := range s.on.standbys {
		if err := s.eventually(ctx, "a report runs on "+name, func() (bool, error) {
			got, err := s.sql(ctx, name, "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'")
			return got == "1", err
		}); err != nil {
			return nil, err
		}
	}
	return group.Wait, nil
}

// stream runs reports of random lengths, each on the server that HAProxy chooses,
// one after another until end is closed.
func (s *stage) stream(ctx context.Context, r *reports, end <-chan struct{}) {
	for {
		select {
		case <-end:
			return
		default:
		}
		name, err := s.shortReport(ctx)
		r.book(ctx, name, err)
		if err != nil {
			select { // whatever it was, do not call in a loop
			case <-end:
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

func (s *stage) shortReport(ctx context.Context) (server string, err error) {
	c, err := s.connect(ctx, throughProxy())
	if err != nil {
		return "", err
	}
	defer c.close()
	if server, err = c.value(ctx, whoServes); err != nil {
		return "", err
	}
	return server, s.report(ctx, c, 300*time.Millisecond+rand.N(2700*time.Millisecond))
}

func (r *reports) book(ctx context.Context, server string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.ended++
		if r.byServer == nil {
			r.byServer = map[string]int{}
		}
		r.byServer[server]++
	case errors.Is(err, context.Canceled) && ctx.Err() != nil: // by us
	default:
		r.cancelled = append(r.cancelled, fmt.Sprintf("%s: %v", server, err))
	}
}
