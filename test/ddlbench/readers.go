package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// reader is one client that reads by a schedule.
type reader struct {
	account
	ask func() (beat, error)
}

// run reads from a time on, until end is closed and the last answer is there.
func (r *reader) run(due time.Time, every time.Duration, end <-chan struct{}) {
	onSchedule(due, every, end, func(due time.Time) {
		saw, err := r.ask()
		if err != nil {
			r.failedOne(due, time.Now(), err)
			return
		}
		r.answered(due, time.Now(), saw)
	}, r.unsent)
}

// readHeartbeat opens both tables in one statement, so it sees the heartbeat as
// old as the row of items that it came for.
const readHeartbeat = `select b.n, (extract(epoch from b.at) * 1000000)::bigint, i.note from heartbeat b, items i where i.id = `

// line is a client's connection to the balancers, which it keeps: it makes another
// one only after a failure. It never reads again what failed.
type line struct {
	s *stage
	c *client
}

func (l *line) ask(ctx context.Context) (saw beat, err error) {
	if l.c == nil {
		if l.c, err = l.s.connect(ctx, throughBoth()); err != nil {
			return beat{}, err
		}
	}
	row, err := l.c.row(ctx, readHeartbeat+strconv.Itoa(1+rand.IntN(rowsOfItems)))
	if err == nil {
		saw, err = parseBeat(row)
	}
	if err != nil {
		l.hangUp()
	}
	return saw, err
}

func (l *line) hangUp() {
	if l.c != nil {
		l.c.close()
	}
	l.c = nil
}

func parseBeat(row []string) (beat, error) {
	if len(row) != 3 {
		return beat{}, fmt.Errorf("read heartbeat: %d columns", len(row))
	}
	n, err := strconv.ParseInt(row[0], 10, 64)
	if err != nil {
		return beat{}, fmt.Errorf("read heartbeat: %w", err)
	}
	us, err := strconv.ParseInt(row[1], 10, 64)
	if err != nil {
		return beat{}, fmt.Errorf("read heartbeat: %w", err)
	}
	return beat{n, time.UnixMicro(us)}, nil
}
