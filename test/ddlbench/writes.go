package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// beatEvery is how often the heartbeat row is written: the staleness of a read is
// known to that much.
const beatEvery = 50 * time.Millisecond

const beatOnce = `update heartbeat set n = n + 1, at = clock_timestamp()`

// writer is one client of the primary that writes by a schedule.
type writer struct {
	account
	write func() error
}

// run writes from a time on, until end is closed and the last write is done.
func (w *writer) run(due time.Time, every time.Duration, end <-chan struct{}) {
	onSchedule(due, every, end, func(due time.Time) {
		if err := w.write(); err != nil {
			w.failedOne(due, time.Now(), err)
			return
		}
		w.done(due, time.Now())
	}, w.unsent)
}

// changes writes small changes to items on the primary. The rows that reports
// read are left alone: what is pruned from a page that a report has pinned would
// hold up replay, and no DDL has to do with it.
func (s *stage) changes(ctx context.Context, c *client) func() error {
	n := 0
	return func() error {
		sql := fmt.Sprintf("update items set note = note || '.' where id = %d", reportedRows+1+rand.IntN(rowsOfItems-reportedRows))
		if n++; n%2 == 0 {
			sql = "insert into items (note) values ('new')"
		}
		_, err := c.row(ctx, sql)
		return err
	}
}
