package effect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/traffic"
)

// AwaitDrained waits until nobody reads from a standby: no balancer shows a session
// and the server has no client, three times running. Either alone may be wrong for
// a moment: a session may be in its login, or its end not yet seen.
type AwaitDrained struct {
	Host string `json:"host"` // the standby
	// Balancers that count sessions.
	Balancers []Balance `json:"balancers,omitempty"`
	// Files, where no balancer can be asked: who else serves is read off the files of the
	// others, and off their servers.
	Files   []HealthFile     `json:"-"`
	Version postgres.Version `json:"-"`
	// Ignore are the roles of monitoring.
	Ignore  []string      `json:"ignore,omitempty"`
	Timeout time.Duration `json:"timeout"`
	// CutAfter: sessions that are left then are cut at HAProxy, once, for the clients
	// read again on another connection. 0 is never.
	CutAfter time.Duration `json:"cut_after,omitempty"`
	// GoOn: who is left at the time-out is told of, and no failure.
	GoOn bool `json:"go_on,omitempty"`
	// Others: it is not waited any longer when fewer other servers serve. Reads fail then.
	// 0 does not look.
	Others int `json:"others,omitempty"`
	// CancelAfter: statements that run there then are cancelled. 0 is never.
	CancelAfter time.Duration `json:"cancel_after,omitempty"`
	// EndIdleAfter: sessions that run none then are ended, for the clients read again on
	// another connection. 0 is never.
	EndIdleAfter time.Duration `json:"end_idle_after,omitempty"`
	// Ahead are sessions that are opened meanwhile, for what comes at the end of a rollout.
	// One that cannot be opened is missed there.
	Ahead []Session `json:"-"`
}

// Session is one on a host's server, in a database.
type Session struct{ Host, Database string }

// aheadTime is for how long a session is opened ahead: nobody waits longer for what is
// only to save time.
const aheadTime = 2 * time.Second

// ahead opens it, if nobody has, and leaves it to who asks for it.
func (o Session) ahead(ctx context.Context, env Env) error {
	s, err := env.Session(ctx, o.Host, o.Database)
	if err == nil {
		env.Spare(ctx, o.Host, o.Database, s)
	}
	return err
}

const (
	drainedPolls    = 3
	drainedInterval = 100 * time.Millisecond
)

func (e *AwaitDrained) Kind() string    { return "await-drained" }
func (e *AwaitDrained) On() string      { return e.Host }
func (e *AwaitDrained) Inverse() Effect { return nil }
func (e *AwaitDrained) Predict(w World) {
	for _, b := range e.Balancers {
		if h := w.Known(b.Host); h != nil {
			now := h.Balances(b.Backend, b.Server)
			now.Sessions = 0
			h.SetBalanced(now)
		}
	}
}

// Interruptible: waiting changes nothing.
func (e *AwaitDrained) Interruptible() bool { return true }

// Inert: no step asks for anything that it changes.
func (e *AwaitDrained) Inert() bool { return true }

// Outlasts names the balancers, or the others: while it waits, other servers come and go.
func (e *AwaitDrained) Outlasts() []string {
	var names []string
	for _, b := range e.Balancers {
		names = append(names, b.Host)
	}
	for _, f := range e.Files {
		names = append(names, slices.Sorted(maps.Keys(f.Others))...)
	}
	return names
}

func (e *AwaitDrained) Describe() Description {
	detail := fmt.Sprintf("(at most %s", e.Timeout)
	if e.CutAfter > 0 {
		detail += fmt.Sprintf("; what is left after %s is cut, for clients read again", e.CutAfter)
	}
	if e.CancelAfter > 0 {
		detail += fmt.Sprintf("; statements that still run after %s are cancelled", e.CancelAfter)
	}
	if e.EndIdleAfter > 0 {
		detail += fmt.Sprintf("; sessions that are idle after %s are ended, for clients read again", e.EndIdleAfter)
	}
	if e.GoOn {
		detail += "; then it goes on, and replay may wait for, or cancel, what is left"
	}
	return Description{Verb: "wait until", Subject: "nobody reads from it", Detail: detail + ")"}
}

func (e *AwaitDrained) Do(ctx context.Context, env Env) (Output, error) {
	sql, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	query, err := e.Version.ClientSessions(e.Ignore)
	if err != nil {
		return nil, err
	}
	var opening sync.WaitGroup
	meanwhile, over := context.WithTimeout(ctx, aheadTime)
	defer over()
	defer opening.Wait()
	for _, s := range e.Ahead {
		opening.Go(func() { _ = s.ahead(meanwhile, env) })
	}
	begin, cut, calm, alone := time.Now(), false, 0, 0
	var told [2]bool
	tick := time.NewTicker(drainedInterval)
	defer tick.Stop()
	for {
		left, err := e.left(ctx, env, sql, query)
		if err != nil {
			return nil, err
		}
		if calm++; len(left) > 0 {
			calm = 0
		}
		if alone++; e.Others == 0 || len(left) == 0 || e.othersServe(ctx, env) {
			alone = 0
		}
		since := time.Since(begin)
		switch {
		case alone >= drainedPolls && e.GoOn:
			env.Warn(e.Host, fmt.Sprintf("there are still %s, and %s: it goes on without waiting for them", strings.Join(left, ", "), e.tooFew("serves")))
			return nil, nil
		case alone >= drainedPolls:
			return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "wait until nobody reads from it",
				Err: fmt.Errorf("there are still %s, and %s: reads would fail", strings.Join(left, ", "), e.tooFew("serves any more")), Hint: "pgrepctl traffic show"}
		case calm >= drainedPolls:
			return Output{"drained.seconds": fmt.Sprintf("%.1f", since.Seconds()), DDLDrained + e.Host: time.Now().UTC().Format(time.RFC3339Nano)}, nil
		case len(left) > 0 && since > e.Timeout && e.GoOn:
			env.Warn(e.Host, fmt.Sprintf("after %s there are still %s: it goes on without waiting for them", e.Timeout, strings.Join(left, ", ")))
			return nil, nil
		case len(left) > 0 && since > e.Timeout:
			return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "wait until nobody reads from it",
				Err:  fmt.Errorf("after %s there are still %s", e.Timeout, strings.Join(left, ", ")),
				Hint: "look with: select pid, usename, application_name, client_addr, state, query from pg_stat_activity where backend_type = 'client backend'"}
		case len(left) > 0 && e.CutAfter > 0 && since > e.CutAfter && !cut:
			cut = true
			if err := e.cut(ctx, env); err != nil {
				return nil, err
			}
		}
		if err := e.press(ctx, env, sql, since, &told); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// tooFew says that fewer other servers serve than must.
func (e *AwaitDrained) tooFew(serves string) string {
	if e.Others <= 1 {
		return "no other server " + serves
	}
	return fmt.Sprintf("not %d other servers %s", e.Others, strings.Replace(serves, "serves", "serve", 1))
}

// press makes those leave that the operator has said so of, and tells of it once.
func (e *AwaitDrained) press(ctx context.Context, env Env, sql host.SQL, since time.Duration, told *[2]bool) error {
	for i, x := range []struct {
		after time.Duration
		query func([]string) (string, error)
		what  string
	}{{e.CancelAfter, e.Version.CancelClients, "statements were cancelled"}, {e.EndIdleAfter, e.Version.EndIdleClients, "idle sessions were ended"}} {
		if x.after == 0 || since <= x.after {
			continue
		}
		q, err := x.query(e.Ignore)
		if err != nil {
			return err
		}
		var rows []struct {
			Count int `json:"count"`
		}
		if err := sql.Query(ctx, &rows, q); err != nil {
			return &fault.Error{Class: fault.ClassOf(err), Host: e.Host, Op: "make clients leave", Err: err}
		}
		if rows[0].Count > 0 && !told[i] {
			told[i] = true
			env.Warn(e.Host, fmt.Sprintf("after %s %d %s", x.after, rows[0].Count, x.what))
		}
	}
	return nil
}

// still refuses when somebody reads from it again.
func (e *AwaitDrained) still(ctx context.Context, env Env) error {
	sql, err := env.SQL(ctx, e.Host)
	if err != nil {
		return err
	}
	query, err := e.Version.ClientSessions(e.Ignore)
	if err != nil {
		return err
	}
	left, err := e.left(ctx, env, sql, query)
	if err == nil && len(left) > 0 {
		err = &fault.Error{Class: fault.Failed, Host: e.Host, Err: fmt.Errorf("it is read again, though no balancer may send anybody there: %s", strings.Join(left, ", "))}
	}
	return err
}

// left says who still reads from the standby.
func (e *AwaitDrained) left(ctx context.Context, env Env, sql host.SQL, query string) ([]string, error) {
	var left []string
	for _, b := range e.Balancers {
		now, err := showBalanced(ctx, env, b)
		if err != nil {
			return nil, &fault.Error{Class: fault.ClassOf(err), Host: b.Host, Op: "count the sessions of " + b.Server, Err: err}
		}
		if now.Admin != b.To {
			// A reload of HAProxy forgets what its socket was told.
			return nil, &fault.Error{Class: fault.Failed, Host: b.Host, Op: "wait until nobody reads from " + b.Server,
				Err: fmt.Errorf("somebody put %s/%s into state %s, or reloaded HAProxy", b.Backend, b.Server, now.Admin)}
		}
		if now.Sessions > 0 {
			left = append(left, fmt.Sprintf("%d sessions at %s", now.Sessions, b.Host))
		}
	}
	var clients []struct {
		Count int `json:"count"`
	}
	if err := sql.Query(ctx, &clients, query); err != nil {
		return nil, fmt.Errorf("count the clients: %w", err)
	}
	if clients[0].Count > 0 {
		left = append(left, fmt.Sprintf("%d clients of the server", clients[0].Count))
	}
	return left, nil
}

// othersServe is false when a balancer that can be asked has too few servers for new reads,
// or, where none can, too few others have no health file and answer.
func (e *AwaitDrained) othersServe(ctx context.Context, env Env) bool {
	for _, b := range e.Balancers {
		h, err := env.Host(ctx, b.Host)
		if err != nil {
			continue // who counts the sessions says so
		}
		list, err := traffic.Talk{Host: h, As: b.As, Socket: b.Socket}.Show(ctx, b.Backend)
		lb := facts.Host{Balanced: list}
		if err == nil && len(lb.OthersServing(b.Backend, b.Server)) < e.Others {
			return false
		}
	}
	for i := range e.Files {
		if e.Files[i].serving(ctx, env, e.Others) < e.Others {
			return ctx.Err() != nil // who is asked when the run is stopped does not answer
		}
	}
	return true
}

func (e *AwaitDrained) cut(ctx context.Context, env Env) error {
	for _, b := range e.Balancers {
		h, err := env.Host(ctx, b.Host)
		if err == nil {
			err = traffic.Talk{Host: h, As: b.As, Socket: b.Socket}.Tell(ctx, traffic.CutHAProxy(b.Backend, b.Server))
		}
		if err != nil {
			return &fault.Error{Class: fault.ClassOf(err), Host: b.Host, Op: "cut the sessions of " + b.Server, Err: err}
		}
	}
	return nil
}

// AwaitServing waits until HAProxy's own check finds a server fit to serve.
type AwaitServing struct {
	At      Balance       `json:"at"`
	Timeout time.Duration `json:"timeout"`
	// Found: it is put back as it was found. A weight of 0 may be as old as that: who has
	// set it, an agent or an operator, is given time to raise it, and it is no failure.
	Found bool `json:"found,omitempty"`
}

// weightGrace is how long an agent may take to raise a weight that it has set to 0 for a
// drain: it hears of the end of the drain, and is asked, every few seconds.
const weightGrace = 15 * time.Second

func (e *AwaitServing) Kind() string    { return "await-serving" }
func (e *AwaitServing) On() string      { return e.At.Host }
func (e *AwaitServing) Inverse() Effect { return nil }
func (e *AwaitServing) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *AwaitServing) Inert() bool { return true }

// Outlasts is as in AwaitDrained.
func (e *AwaitServing) Outlasts() []string { return []string{e.At.Host} }

// Interruptible: waiting changes nothing.
func (e *AwaitServing) Interruptible() bool { return true }

func (e *AwaitServing) Describe() Description {
	return Description{Verb: "wait until", Subject: e.At.Server + " serves", Detail: fmt.Sprintf("(at most %s)", e.Timeout)}
}

func (e *AwaitServing) Do(ctx context.Context, env Env) (Output, error) {
	var last facts.BalanceState
	timeout, asFound := e.Timeout, false
	let, taken := false, false // it was as this run has set it, and is no longer
	begin := time.Now()
	err := poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		now, err := showBalanced(ctx, env, e.At)
		last = now.State
		let, taken = let || now.Admin == e.At.To, err == nil && !e.At.Asked && now.Admin != e.At.To
		asFound = e.Found && last == facts.Weightless && time.Since(begin) >= min(weightGrace, timeout)
		return last == facts.Serving || asFound || taken, err
	}, func() error {
		return fmt.Errorf("after %s it is still %s", timeout, last)
	})
	switch {
	case err != nil && last == facts.Weightless:
		return nil, &fault.Error{Class: fault.ClassOf(err), Host: e.At.Host, Op: "wait until " + e.At.Server + " serves", Err: err,
			State: "the balancer lets reads in as soon as its weight is raised",
			Hint:  fmt.Sprintf("its agent, or an operator, has set the weight; see: pgrepctl traffic show; on the stats socket: set server %s/%s weight 100%%", e.At.Backend, e.At.Server)}
	case err != nil:
		return nil, &fault.Error{Class: fault.ClassOf(err), Host: e.At.Host, Op: "wait until " + e.At.Server + " serves", Err: err,
			State: "the balancer lets reads in as soon as its own check says so", Hint: "its health check says why"}
	case taken && let: // one that was not so has been warned of
		env.Warn(e.At.Host, fmt.Sprintf("%s/%s is %s now, by somebody else: it is not waited for; to let reads in: pgrepctl traffic restore %s", e.At.Backend, e.At.Server, last, cmp.Or(e.At.Standby, e.At.Server)))
	case asFound:
		env.Warn(e.At.Host, e.At.Server+" has a weight of 0, and gets no reads: its agent, or an operator, has set it")
	}
	return nil, nil
}
