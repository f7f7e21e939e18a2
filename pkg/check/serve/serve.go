// Package serve answers load balancers and monitoring from what a check remembers.
// Hosts are looked at in the background, each by a goroutine of its own; an answer
// never waits for one of them.
package serve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/check/store"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Looker looks at one host. Look returns within its context, with what went wrong
// in the observation. Plans and KeptOut are called beside it, one at a time, and return
// within theirs.
type Looker interface {
	Name() string
	Look(ctx context.Context) check.Observation
	// Plans are what runs did to hosts, as the primary knows it.
	Plans(ctx context.Context, seen facts.Server, members []check.Member) (map[string]check.Plan, error)
	// KeptOut reports whether one of the member's health files is there. An error: that
	// cannot be told.
	KeptOut(ctx context.Context, m check.Member) (bool, error)
	Close(ctx context.Context)
}

// Memory keeps what is remembered while nobody serves. *store.File does.
type Memory interface {
	Write(check.Memory) error
}

// Options of a Server.
type Options struct {
	Cluster string
	Lookers []Looker
	// Interval is from one look at a host to the next, Timeout the most that one
	// may take, Stale the number of intervals after which a look says nothing.
	Interval, Timeout time.Duration
	Stale             int
	// Textfile is written for the node exporter's textfile collector, if not empty.
	Textfile string
	Memory   Memory // may be nil
	Now      func() time.Time
	// Say takes a line for the log: a host that went in or out, or trouble with a
	// file. host may be empty. Safe for concurrent use.
	Say func(at time.Time, host, text string)
}

// Server knows the state of a cluster, and answers.
type Server struct {
	o      Options
	policy check.Policy

	mu      sync.RWMutex
	board   *check.Board
	changes map[string]int
	turns   map[string]time.Time // when each host was last looked at, whatever came of it
	said    map[string]string    // trouble that is in the log already
	planned planned

	// began is when the server was made; bridged: what is remembered is of just before.
	began   time.Time
	bridged bool

	dirty chan struct{} // there is something to remember
}

// New returns a Server that goes on with board. Nothing is looked at before Run.
func New(board *check.Board, p check.Policy, o Options) *Server {
	s := &Server{o: o, policy: p, board: board, changes: map[string]int{}, turns: map[string]time.Time{}, said: map[string]string{}, dirty: make(chan struct{}, 1), began: o.Now()}
	s.bridged = s.began.Sub(board.Memory().At) <= bridgeMost
	for _, l := range o.Lookers {
		s.turns[l.Name()] = time.Time{}
	}
	return s
}

// bridgeMost is how old what is remembered may be to count until the first look at a
// host has ended: a restart of the check must not take every host out.
const bridgeMost = time.Minute

// stale is how old a look at a host may be; 0 is no limit.
func (s *Server) stale(host string) time.Duration {
	if s.bridged && s.turns[host].IsZero() && s.o.Now().Sub(s.began) <= s.o.Timeout {
		return 0
	}
	return time.Duration(s.o.Stale) * s.o.Interval
}

// Run looks at the hosts until ctx ends, and then writes down what is remembered.
func (s *Server) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range s.o.Lookers {
		wg.Go(func() { s.watch(ctx, l) })
	}
	wg.Go(func() { s.keep(ctx) })
	wg.Wait()
	return s.remember()
}

// retryMost bounds the pause before a host that gives no answer is asked again.
const retryMost = 15 * time.Second

// watch looks at one host at every interval; at one that gives no answer at longer
// and longer ones.
func (s *Server) watch(ctx context.Context, l Looker) {
	var beside *asking // nil: nothing is asked
	defer func() {
		if beside != nil {
			beside.drop()
		}
		// The host may be gone.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		l.Close(closing)
	}()
	// Not all at the same instant.
	if !sleep(ctx, rand.N(s.o.Interval/4+1)) {
		return
	}
	retry := s.o.Interval
	for {
		began := s.o.Now()
		o := s.look(ctx, l)
		var f *found
		f, beside = s.besides(ctx, l, o, beside)
		if ctx.Err() != nil {
			return // that it could not be told is no news
		}
		s.take(o, f)
		pause := s.o.Interval - s.o.Now().Sub(began)
		if o.Err != "" {
			pause = retry/2 + rand.N(retry/2+1)
			retry = min(2*retry, max(retryMost, s.o.Interval))
		} else {
			retry = s.o.Interval
		}
		if !sleep(ctx, max(pause, 0)) {
			return
		}
	}
}

func (s *Server) look(ctx context.Context, l Looker) check.Observation {
	looking, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, fmt.Errorf("no answer within %s", s.o.Timeout))
	defer cancel()
	return l.Look(looking)
}

// besides is what is found beside a look, or what goes on to be asked. A look waits for it
// once, and for no more than half an interval: that a disk hangs must not make stale what the
// server says. An answer that is late is for the look that comes then.
func (s *Server) besides(ctx context.Context, l Looker, o check.Observation, a *asking) (*found, *asking) {
	switch {
	case o.Err != "":
		if a != nil {
			a.drop()
		}
		return nil, nil
	case a == nil:
		a = s.askBeside(ctx, l, o.Server)
		if f := a.within(s.o.Interval / 2); f != nil {
			return f, nil
		}
	default:
		if f := a.within(0); f != nil {
			return f, nil
		}
	}
	return nil, a
}

func (s *Server) isPrimary(name string) bool { return s.memberOf(name).Role == inventory.Primary }

// memberOf is the board's, which does not change.
func (s *Server) memberOf(name string) check.Member {
	for _, m := range s.board.Members() {
		if m.Name == name {
			return m
		}
	}
	return check.Member{Name: name}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// take takes a look, and what was found beside it: nil when nobody can tell yet.
func (s *Server) take(o check.Observation, f *found) {
	if o.Err == "" {
		s.files(&o, f)
	}
	s.mu.Lock()
	s.plan(o, f)
	changes := s.board.Take(o)
	s.turns[o.Host] = s.o.Now()
	for _, c := range changes {
		s.changes[c.Host]++
	}
	s.mu.Unlock()
	for _, c := range changes {
		word := "out: "
		if c.In {
			word = "in: "
		}
		s.o.Say(c.At, c.Host, word+c.Why)
	}
	if o.Err != "" {
		s.trouble("look", o.Host, errors.New(o.Err))
	} else {
		s.trouble("look", o.Host, nil)
	}
	if len(changes) > 0 {
		select {
		case s.dirty <- struct{}{}:
		default:
		}
	}
}

// files notes in a look whether a health file is there.
func (s *Server) files(o *check.Observation, f *found) {
	if f == nil {
		o.FilesUnknown = len(s.memberOf(o.Host).Files) > 0
		return
	}
	o.KeptOut, o.FilesUnknown = f.keptOut, f.filesErr != nil
	s.trouble("health file", o.Host, f.filesErr)
	s.trouble("plans", o.Host, f.plansErr)
}

// plan tells the board what runs did to hosts, at each look: what nobody hears of grows old.
// s.mu is held.
func (s *Server) plan(o check.Observation, f *found) {
	if o.Err == "" && s.isPrimary(o.Host) {
		s.planned.heard = o
		if f != nil && f.plansErr == nil {
			s.planned.plans, s.planned.read = f.plans, o.At
		}
	}
	s.board.Plan(s.planned.at(s.o.Now(), s.policy.Grace))
}

// trouble is said once, until it is another.
func (s *Server) trouble(what, host string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	key := what + " " + host
	s.mu.Lock()
	news := s.said[key] != text
	s.said[key] = text
	s.mu.Unlock()
	switch {
	case news && text != "":
		s.o.Say(s.o.Now(), host, what+": "+text)
	case news:
		s.o.Say(s.o.Now(), host, what+": it works")
	}
}

// rememberEvery bounds what a crash forgets.
const rememberEvery = 10 * time.Second

// keep writes the memory and the text file.
func (s *Server) keep(ctx context.Context) {
	tick := time.NewTicker(s.o.Interval)
	defer tick.Stop()
	var last time.Time
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.dirty:
			changed = true
		}
		if s.o.Textfile != "" {
			s.trouble("textfile", "", store.Replace(s.o.Textfile, []byte(s.Metrics()), 0o644))
		}
		if now := s.o.Now(); changed || now.Sub(last) >= rememberEvery {
			last = now
			s.trouble("memory", "", s.remember())
		}
	}
}

func (s *Server) remember() error {
	if s.o.Memory == nil {
		return nil
	}
	s.mu.RLock()
	m := s.board.Memory()
	s.mu.RUnlock()
	return s.o.Memory.Write(m)
}

// State is what is said of a host now, under a limit.
func (s *Server) State(host string, l check.Limit) check.State {
	now := s.o.Now()
	if l == (check.Limit{}) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.board.State(host, now, s.stale(host)).Public()
	}
	s.mu.Lock() // a limit that nobody asked for yet is noted
	defer s.mu.Unlock()
	return s.board.Under(l, host, now, s.stale(host)).Public()
}

// States are those of all hosts, in the inventory's order.
func (s *Server) States() []check.State {
	var out []check.State
	for _, m := range s.board.Members() {
		out = append(out, s.State(m.Name, check.Limit{}))
	}
	return out
}

// Metrics is the text for Prometheus.
func (s *Server) Metrics() string {
	now := s.o.Now()
	s.mu.RLock()
	var rows []check.Row
	for _, m := range s.board.Members() {
		r := check.Row{State: s.board.State(m.Name, now, s.stale(m.Name))}
		if o, ok := s.board.Seen(m.Name); ok && check.AskHealth.Answer(r.State) {
			r.Slots = o.Server.Slots
		}
		rows = append(rows, r)
	}
	changes := maps.Clone(s.changes)
	s.mu.RUnlock()
	return check.Metrics(s.o.Cluster, rows, changes, now)
}

// deadTurn is how long a host may not have been looked at before it is this process
// that is ill: longer than any look and any pause before the next.
const deadTurn = 2 * time.Minute

// alive reports whether every host has had its turn lately; ready, whether every one
// has had one at all.
func (s *Server) alive() (alive, ready bool) {
	now := s.o.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	alive, ready = true, true
	for _, at := range s.turns {
		if at.IsZero() {
			ready = false
		} else if now.Sub(at) > deadTurn+s.o.Timeout+s.o.Interval {
			alive = false
		}
	}
	return alive, ready
}
