package main

import (
	"sync"
	"time"
)

// blockedAfter is how long a read may take before it counts as blocked.
const blockedAfter = 100 * time.Millisecond

// beat is what the heartbeat row said: the primary counts it up all the time, so
// its age is how old the data are that a read saw.
type beat struct {
	n  int64
	at time.Time
}

// reads is what became of the reads of one client, or of many.
type reads struct {
	due      int           // by the schedule, whether or not the client was free to send them
	failed   int           // of those that were sent
	blocked  int           // answered, or sent at all, more than blockedAfter late
	longest  time.Duration // from when a read was due until it ended, or could at best be sent
	stalest  time.Duration // age of the heartbeat when the answer was there
	backward int           // a client saw an older heartbeat than before
	furthest time.Duration // by how much, at most
	errors   []string      // the first of them
}

// keptErrors is how many failures are kept word for word.
const keptErrors = 5

func (r *reads) add(o reads) {
	r.due += o.due
	r.failed += o.failed
	r.blocked += o.blocked
	r.longest = max(r.longest, o.longest)
	r.stalest = max(r.stalest, o.stalest)
	r.backward += o.backward
	r.furthest = max(r.furthest, o.furthest)
	r.errors = append(r.errors, o.errors...)
	r.errors = r.errors[:min(len(r.errors), keptErrors)]
}

// account keeps the reads of one client. Its methods are safe for concurrent use.
type account struct {
	mu   sync.Mutex
	sum  reads
	last beat // the newest that this client saw, which outlives forget
}

// answered books a read that was due at one time and ended at another.
func (a *account) answered(due, ended time.Time, saw beat) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late(due, ended)
	a.sum.stalest = max(a.sum.stalest, ended.Sub(saw.at))
	if saw.n < a.last.n {
		a.sum.backward++
		a.sum.furthest = max(a.sum.furthest, a.last.at.Sub(saw.at))
		return
	}
	a.last = saw
}

// failedOne books one that ended with an error.
func (a *account) failedOne(due, ended time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late(due, ended)
	a.sum.failed++
	if len(a.sum.errors) < keptErrors {
		a.sum.errors = append(a.sum.errors, err.Error())
	}
}

// done books one of which nothing is known but that it ended.
func (a *account) done(due, ended time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late(due, ended)
}

// unsent books one that was due while its client was stuck with another one: it
// could be sent when the client was free.
func (a *account) unsent(due, free time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late(due, free)
}

func (a *account) late(due, ended time.Time) {
	a.sum.due++
	took := ended.Sub(due)
	a.sum.longest = max(a.sum.longest, took)
	if took > blockedAfter {
		a.sum.blocked++
	}
}

// forget ends the warm-up: what was counted until now does not count.
func (a *account) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sum = reads{}
}

func (a *account) total() reads {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := a.sum
	sum.errors = append([]string(nil), sum.errors...)
	return sum
}
