package effect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/traffic"
)

// Balance makes a balancer keep reads away from a standby, or let them in again.
// Its inverse makes of the server what it was found as, unless somebody else has made
// something of it since.
type Balance struct {
	Host string `json:"host"` // the balancer
	As   string `json:"as,omitempty"`

	// HAProxy: its stats socket, and the state to put the server into: ready,
	// drain, maint. Was is what it was.
	Socket  string `json:"socket,omitempty"`
	Backend string `json:"backend,omitempty"`
	To      string `json:"to,omitempty"`
	Was     string `json:"was,omitempty"`

	// A command of the inventory, and the one that undoes it.
	Argv []string `json:"argv,omitempty"`
	Undo []string `json:"undo,omitempty"`

	Server string `json:"server"` // the standby's name there
	// Standby is its name in the inventory, where that is another.
	Standby string `json:"standby,omitempty"`
	// Serve: reads are let in.
	Serve bool `json:"serve"`
	// Back: it takes back what the same run has done, and is not undone.
	Back bool `json:"-"`
	// Asked: an operator wants it so, whoever has made of the server what it is. Else it is
	// left alone when it is in neither of the two states: somebody else has his reasons.
	Asked bool `json:"-"`
	// left: it was.
	left bool
	// After, of a drain: reads come back once this standby has the run's schema change,
	// if that is committed.
	After *Replaying `json:"after,omitempty"`
	// Others, of a drain at HAProxy: how many other servers must serve when it is done. It
	// is looked at just before: what the drain was planned from may be old by then, for
	// other drains wait for minutes. 0 does not look.
	Others int `json:"-"`
}

func (e *Balance) Kind() string { return "balance" }
func (e *Balance) On() string   { return e.Host }

func (e *Balance) Inverse() Effect {
	if e.Back {
		return nil
	}
	back := *e
	back.To, back.Was, back.Argv, back.Undo = e.Was, e.To, e.Undo, e.Argv
	back.Serve, back.Asked, back.left, back.Others = !e.Serve, false, false, 0
	return &back
}

// KeptAway names what a drain by this act is known by: of which standby, and where.
func (e *Balance) KeptAway() string {
	return fmt.Sprintf("reads of %s/%s at %s", e.Backend, e.Server, e.Host)
}

// Claim tells a run that was interrupted what it keeps reads away from.
func (e *Balance) Claim() string {
	if e.Serve {
		return ""
	}
	return e.KeptAway()
}

// Releases is what reads that are let in take back.
func (e *Balance) Releases() string {
	if !e.Serve {
		return ""
	}
	return e.KeptAway()
}

func (e *Balance) Predict(w World) {
	h := w.Known(e.Host)
	if h == nil {
		return
	}
	now := h.Balances(e.Backend, e.Server)
	if now.State = facts.Drained; e.Serve {
		now.State = facts.Serving
	}
	now.Admin = e.To
	h.SetBalanced(now)
}

// Known: HAProxy was asked what it made of it. Of a command only what it was told is.
func (e *Balance) Known() bool { return e.Socket != "" && !e.left }

func (e *Balance) Describe() Description {
	d := Description{Verb: "keep reads away", Subject: "from " + e.Server}
	if e.Serve {
		d = Description{Verb: "let reads in", Subject: "to " + e.Server}
	}
	if e.Socket != "" {
		d.Detail = fmt.Sprintf("(%s/%s: %s to %s)", e.Backend, e.Server, e.Was, e.To)
	}
	return d
}

func (e *Balance) Do(ctx context.Context, env Env) (Output, error) {
	if e.Serve {
		if err := e.After.wait(ctx, env); err != nil {
			return nil, err
		}
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if e.Socket == "" {
		if err := h.Run(ctx, host.Cmd{Argv: e.Argv, As: e.As}, host.Stdio{}); err != nil {
			return nil, e.explain(err)
		}
		return nil, nil
	}
	talk := traffic.Talk{Host: h, As: e.As, Socket: e.Socket}
	if err := e.look(ctx, env, talk); err != nil {
		return nil, untouched{err}
	}
	if e.left {
		return nil, nil
	}
	if err := talk.Tell(ctx, traffic.SetHAProxy(e.Backend, e.Server, e.To)); err != nil {
		return nil, e.explain(err)
	}
	now, err := showBalanced(ctx, env, *e)
	if err != nil {
		return nil, e.explain(err)
	}
	if now.Admin != e.To {
		return nil, e.explain(fmt.Errorf("haproxy shows %s/%s in state %s", e.Backend, e.Server, now.Admin))
	}
	return nil, nil
}

// look is just before. What somebody else has made of the server since is left to him, and
// a drain that would leave too few servers to read from is refused.
func (e *Balance) look(ctx context.Context, env Env, talk traffic.Talk) error {
	if e.Asked && e.Others == 0 {
		return nil
	}
	list, err := talk.Show(ctx, e.Backend)
	if err != nil {
		return e.explain(err)
	}
	lb := facts.Host{Balanced: list}
	now := lb.Balances(e.Backend, e.Server)
	if now.State == facts.NotListed {
		return e.explain(fmt.Errorf("haproxy: backend %s has no server %s", e.Backend, e.Server))
	}
	// What its check says, or its agent of its health or its weight, is in no Admin.
	if e.left = !e.Asked && now.Admin != e.Was && now.Admin != e.To; e.left {
		env.Warn(e.Host, e.leaves(now.Admin))
		return nil
	}
	if n := len(lb.OthersServing(e.Backend, e.Server)); n < e.Others {
		return fault.Refuse(e.Host, "see who serves: pgrepctl traffic show",
			fmt.Errorf("without %s %d servers would serve in backend %s by now, and at least %d must: reads would fail", e.Server, n, e.Backend, e.Others))
	}
	return nil
}

// leaves says so of a server in a state.
func (e *Balance) leaves(state string) string {
	standby := cmp.Or(e.Standby, e.Server)
	onward := "to let reads in: pgrepctl traffic restore " + standby
	if state == "ready" {
		onward = "to keep reads away: pgrepctl traffic drain " + standby
	}
	return fmt.Sprintf("%s/%s is in %s, and this run expects %s: somebody else has put it there, and it stays so; %s", e.Backend, e.Server, state, e.Was, onward)
}

func (e *Balance) explain(err error) error {
	d := e.Describe()
	return &fault.Error{Class: fault.ClassOf(err), Host: e.Host, Op: d.Verb + " " + d.Subject, Err: err}
}

// showBalanced asks HAProxy for one server.
func showBalanced(ctx context.Context, env Env, at Balance) (facts.Balanced, error) {
	h, err := env.Host(ctx, at.Host)
	if err != nil {
		return facts.Balanced{}, err
	}
	list, err := traffic.Talk{Host: h, As: at.As, Socket: at.Socket}.Show(ctx, at.Backend)
	if err != nil {
		return facts.Balanced{}, err
	}
	for _, s := range list {
		if s.Name == at.Server {
			return s, nil
		}
	}
	return facts.Balanced{}, fmt.Errorf("haproxy: backend %s has no server %s", at.Backend, at.Server)
}

// Reconnect makes PgBouncer replace its server connections as they become free, so
// that they go where the balancer behind it sends new ones. No client notices: one
// in a transaction keeps its connection until the transaction ends.
type Reconnect struct {
	Host      string   `json:"host"`
	Databases []string `json:"databases,omitempty"` // none is all
}

func (e *Reconnect) Kind() string    { return "reconnect" }
func (e *Reconnect) On() string      { return e.Host }
func (e *Reconnect) Inverse() Effect { return nil }
func (e *Reconnect) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *Reconnect) Inert() bool { return true }

func (e *Reconnect) Describe() Description {
	return Description{Verb: "reconnect", Subject: "PgBouncer's server connections", Detail: "as they become free"}
}

func (e *Reconnect) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err == nil {
		err = e.reconnect(ctx, s)
	}
	if err != nil && s != nil && host.Lost(s) { // PgBouncer was restarted since it was last asked
		if s, err = env.SQL(ctx, e.Host); err == nil {
			err = e.reconnect(ctx, s)
		}
	}
	return nil, err
}

func (e *Reconnect) reconnect(ctx context.Context, s host.SQL) error {
	commands := []string{"RECONNECT"}
	if len(e.Databases) > 0 {
		commands = nil
		for _, db := range e.Databases {
			// Its console takes a bare word of letters, digits and _ alone. The inventory
			// lets - in besides, and no quote.
			commands = append(commands, `RECONNECT "`+db+`"`)
		}
	}
	for _, c := range commands {
		err := e.noLogin(ctx, s)
		if err == nil {
			err = s.Exec(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("PgBouncer: %s: %w", c, err)
		}
	}
	return nil
}

// loginGrace is how long a pool may take to be without a login in flight.
const loginGrace = 5 * time.Second

// calmPolls is how often in a row a pool has to be without one: for a moment it is
// between two logins as well.
const calmPolls = 3

// noLogin waits until no server connection logs in, and no client waits for one.
// RECONNECT closes a connection that logs in, PgBouncer takes that for a server that
// does not let it in, and then fails all clients that wait, for server_login_retry.
func (e *Reconnect) noLogin(ctx context.Context, s host.SQL) error {
	console, ok := s.(host.Console)
	if !ok {
		return nil
	}
	calm := 0
	for end := time.Now().Add(loginGrace); time.Now().Before(end); {
		pools, err := console.Show(ctx, "SHOW POOLS")
		if err != nil {
			return err
		}
		if calm++; slices.ContainsFunc(pools, e.loggingIn) {
			calm = 0
		}
		if calm == calmPolls {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil // it is full, or its server is down: more time would not mend that
}

func (e *Reconnect) loggingIn(pool map[string]string) bool {
	if len(e.Databases) > 0 && !slices.Contains(e.Databases, pool["database"]) {
		return false
	}
	return pool["sv_login"] != "0" || pool["cl_waiting"] != "0"
}
