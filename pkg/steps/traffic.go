package steps

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/traffic"
)

// Traffic keeps reads away from a standby, at every balancer of the inventory, or
// lets them in again.
type Traffic struct {
	// State: drained, serving, or found: as this run has found it.
	State string `yaml:"state"`
	// Before is the step that follows a drain; nobody is drained if that stops no server.
	Before Stopping `yaml:"before"`
	// Timeout of the wait, default the inventory's.
	Timeout time.Duration `yaml:"timeout"`
	// IfLast says what to do when no other server would serve: refuse (default), drain.
	IfLast string `yaml:"if-last"`
	// DDL: it is part of a rollout. A standby that has replayed the run's schema change
	// needs no drain; one that has not, though it was waited for, is not let in.
	DDL bool `yaml:"ddl"`
	// Database of the schema change: sessions for its proof are opened while a drain waits.
	Database string `yaml:"database"`
	// GoOn: after the time-out of a drain it is no failure that somebody is left.
	GoOn bool `yaml:"go-on"`
	// Stay: its readers stay where they are. In mode gate replay goes on in an instant
	// between them.
	Stay bool `yaml:"stay"`
	// NoReconnect: a drain follows, and that makes PgBouncer move its connections. Two
	// moves in a row meet the logins that the first one makes.
	NoReconnect bool `yaml:"no-reconnect"`
	// Least is how many other servers must serve, default 1.
	Least count `yaml:"least"`
	// CancelAfter: statements that still run after so long of a drain are cancelled.
	// TerminateIdle: sessions that run none are ended, which needs clients that read again.
	CancelAfter   time.Duration `yaml:"cancel-after"`
	TerminateIdle bool          `yaml:"terminate-idle"`
}

var _ Step = (*Traffic)(nil)

// servingTimeout is for a balancer's own check, which needs a few rounds.
const servingTimeout = time.Minute

// cutGrace is how long a drain waits for idle sessions of clients that read again.
const cutGrace = 5 * time.Second

// Validate is called when a plan file is read.
func (s *Traffic) Validate() error {
	switch {
	case s.State != "drained" && s.State != "serving" && s.State != foundTraffic:
		return fmt.Errorf("state %q: want drained, serving or %s", s.State, foundTraffic)
	case s.NoReconnect && s.State == "drained":
		return errors.New("no-reconnect belongs to state: serving")
	case s.Before.given() && s.State != "drained":
		return errors.New("before belongs to state: drained")
	case s.State != "drained" && (s.Least != "" || s.CancelAfter != 0 || s.TerminateIdle):
		return errors.New("least, cancel-after and terminate-idle belong to state: drained")
	case s.Least != "" && s.Least.number() < 1:
		return fmt.Errorf("least %q: want a number from 1 on", s.Least)
	case s.CancelAfter < 0:
		return errors.New("cancel-after cannot be negative")
	case s.IfLast != "" && s.IfLast != "refuse" && s.IfLast != "drain":
		return fmt.Errorf("if-last %q: want refuse or drain", s.IfLast)
	}
	if s.Before.given() {
		return s.Before.validate()
	}
	return nil
}

// Plan goes through the balancers in the order of the inventory: what is in front of
// another one is told after it.
func (s *Traffic) Plan(ctx context.Context, in In) (Planned, error) {
	switch {
	case s.Stay:
		return noop("its readers stay"), nil
	case len(in.Cluster.Traffic.Balancers) == 0:
		return noop("the inventory names no balancer"), nil
	case !in.Cluster.Traffic.Steered():
		return noop("no balancer of the inventory knows the standbys: PgBouncer is in front of one that does"), nil
	case in.Self.BalancedName() == "":
		return noop("the inventory sends no reads to it"), nil
	}
	p, err := s.plan(ctx, in)
	if s.DDL && in.leftBehind(err) {
		return noop("it cannot be reached, and the others do not wait for it"), nil
	}
	return p, err
}

func (s *Traffic) plan(ctx context.Context, in In) (Planned, error) {
	if s.DDL {
		if p, err := s.rollout(ctx, in); err != nil || p.Noop != "" {
			return p, err
		}
	}
	if s.State != "drained" {
		return s.serve(ctx, in)
	}
	if s.Before.given() {
		if stops, err := s.Before.stops(ctx, in); err != nil || !stops {
			return noop("it is not restarted"), err
		}
	}
	return s.drain(ctx, in)
}

// rollout is a noop where the state of the run's schema change makes it one.
func (s *Traffic) rollout(ctx context.Context, in In) (Planned, error) {
	late, _ := in.Run.Output(effect.DDLLate + in.Self.Name)
	if s.State == "serving" {
		if late != "" {
			return noop("it has not replayed the DDL (%s): it gets no reads", late), nil
		}
		return Planned{}, nil
	}
	done, err := in.replayedDDL(ctx)
	if err != nil {
		return Planned{}, err
	}
	if done {
		return noop("it has replayed the DDL"), nil
	}
	if _, ok := deployed(in.Run); !ok {
		return Planned{}, nil
	}
	// There is no way back: it replays under its readers, rather than that none serves.
	last, err := in.lastServer(ctx, s.least())
	if err == nil && last {
		return noop("%s: it replays the DDL beside its readers", s.tooFew()), nil
	}
	return Planned{}, err
}

// least is how many other servers must serve.
func (s *Traffic) least() int { return max(s.Least.number(), 1) }

// count is a number, as text: the value of a variable is one.
type count string

// number is 0 where there is none.
func (c count) number() int {
	n, err := strconv.Atoi(string(c))
	if err != nil {
		return 0
	}
	return n
}

func (s *Traffic) tooFew() string {
	if s.least() == 1 {
		return "no other server serves"
	}
	return fmt.Sprintf("fewer than %d other servers serve", s.least())
}

// lastServer reports whether a balancer has fewer other servers than least that serve.
func (in In) lastServer(ctx context.Context, least int) (bool, error) {
	for _, b := range in.Cluster.Traffic.Balancers {
		if b.Kind == inventory.BalancerFile {
			if last, err := in.lastByFile(ctx, b, least); err != nil || last {
				return last, err
			}
		}
		if !knowsServers(b) {
			continue
		}
		now, lb, err := balancedAt(ctx, in, b)
		if err != nil {
			return false, err
		}
		if now.State != facts.Drained && len(lb.OthersServing(now.Backend, now.Name)) < least {
			return true, nil
		}
	}
	return false, nil
}

// draining is what a drain plans, balancer by balancer.
type draining struct {
	effects []effect.Effect
	counted []effect.Balance
	already []string // balancers that keep reads away already
	idle    []string // balancers at which nobody serves, this one neither
	left    bool     // sessions are known to be left
	// files are those of the others, where no balancer says who serves.
	files []effect.HealthFile
}

func (s *Traffic) drain(ctx context.Context, in In) (Planned, error) {
	self, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if s.TerminateIdle && !in.Cluster.Traffic.ClientsRetry {
		return Planned{}, fault.Refuse(in.Self.Name, "if they do: clients_retry: true under traffic: in the inventory; else leave --terminate-idle out",
			errors.New("to end idle sessions fails the next read of clients that do not read again on another connection, and the inventory does not say that they do"))
	}
	var d draining
	for _, b := range in.Cluster.Traffic.Balancers {
		if err := s.drainAt(ctx, in, self, b, &d); err != nil {
			return Planned{}, err
		}
	}
	if len(d.effects) == 0 && !d.left {
		return noop("%s", d.nothing()), nil
	}
	if !self.Server.Running {
		return Planned{Effects: d.effects}, nil // it has no client
	}
	t := in.Cluster.Traffic
	wait := &effect.AwaitDrained{Host: in.Self.Name, Balancers: d.counted, Files: d.files, Version: self.Server.Version, Ignore: t.IgnoreUsers, Timeout: s.Timeout, GoOn: s.GoOn, CancelAfter: s.CancelAfter}
	if s.IfLast != "drain" && len(d.idle) == 0 {
		wait.Others = s.least()
	}
	if s.Database != "" {
		wait.Ahead = []effect.Session{{Host: in.Self.Name, Database: s.Database}}
		if _, ok := deployed(in.Run); ok { // the session of the change itself is gone
			wait.Ahead = append(wait.Ahead, effect.Session{Host: in.Cluster.Primary().Name, Database: s.Database})
		}
	}
	if wait.Timeout == 0 {
		wait.Timeout = t.DrainTimeout
	}
	if t.ClientsRetry {
		wait.CutAfter = max(t.ConnectionLifetime, cutGrace)
	}
	if s.TerminateIdle {
		wait.EndIdleAfter = wait.CutAfter
	}
	return Planned{Effects: append(d.effects, wait)}, nil
}

func (s *Traffic) drainAt(ctx context.Context, in In, self *facts.Host, b *inventory.Balancer, d *draining) error {
	switch b.Kind {
	case inventory.BalancerPgBouncer:
		if len(d.effects) > 0 {
			d.effects = append(d.effects, reconnect(b))
		}
	case inventory.BalancerFile:
		return s.drainFile(ctx, in, self, b, d)
	default:
		return s.drainServer(ctx, in, self, b, d)
	}
	return nil
}

// after is what reads have to wait for when they come back.
func (s *Traffic) after(self *facts.Host) *effect.Replaying {
	if !s.DDL {
		return nil
	}
	return &effect.Replaying{Host: self.Name, Version: self.Server.Version}
}

func (s *Traffic) drainServer(ctx context.Context, in In, self *facts.Host, b *inventory.Balancer, d *draining) error {
	now, lb, err := balancedAt(ctx, in, b)
	if err != nil {
		return err
	}
	e := balance(b, now)
	e.To, e.Standby = "drain", otherName(in.Self, now)
	told := e // and of what is counted nothing has to be told
	told.After = s.after(self)
	others := len(lb.OthersServing(now.Backend, now.Name))
	last := others == 0 && s.IfLast != "drain"
	switch {
	case now.State == facts.Drained:
		e.To = now.Admin
		d.already = append(d.already, b.Name)
		d.left = d.left || now.Sessions > 0
	case last && now.Idle() && s.Before.given():
		// New reads fail there already, and it is to serve as soon as its check, or its
		// weight, lets it.
		// Who still has a session reads on, and is waited for.
		e.To = now.Admin
		d.idle = append(d.idle, b.Name)
		d.left = d.left || now.Sessions > 0
	case last && now.Idle() && !self.Server.Running:
		// Nobody can read from it, and nobody shall until it is done.
		d.effects = append(d.effects, &told)
	case last:
		text := "%s is the last server that serves%s: reads would fail"
		switch now.State {
		case facts.CheckFails:
			text = "no server serves%[2]s, and %[1]s runs: kept away, it would not serve when its check passes again"
		case facts.Weightless:
			text = "no server serves%[2]s, and %[1]s runs with a weight of 0: kept away, it would not serve when that is raised again"
		}
		return fault.Refuse(b.Name, "see who serves: pgrepctl traffic show; to drain it all the same: pgrepctl traffic drain "+in.Self.Name+" --last",
			fmt.Errorf(text, now.Name, inBackend(now)))
	case others > 0 && others < s.least() && s.IfLast != "drain":
		return fault.Refuse(b.Name, "see who serves: pgrepctl traffic show; or allow for fewer: --min-serving",
			fmt.Errorf("without %s %d servers would serve%s, and at least %d must", now.Name, others, inBackend(now), s.least()))
	default:
		if s.IfLast != "drain" {
			told.Others = s.least()
		}
		d.effects = append(d.effects, &told)
	}
	if b.Kind == inventory.BalancerHAProxy {
		d.counted = append(d.counted, e)
	}
	return nil
}

// nothing says why a drain has nothing to do.
func (d *draining) nothing() string {
	var why []string
	if len(d.already) > 0 {
		why = append(why, "drained already: "+strings.Join(d.already, ", "))
	}
	if len(d.idle) > 0 {
		why = append(why, "no server serves, and nobody reads from it: "+strings.Join(d.idle, ", "))
	}
	return strings.Join(why, "; ")
}

func (s *Traffic) serve(ctx context.Context, in In) (Planned, error) {
	self, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	var waits []effect.Effect
	var weightless, taken []string
	var told []effect.Effect // of the taken, which say so where there is something else to do
	for _, b := range in.Cluster.Traffic.Balancers {
		switch b.Kind {
		case inventory.BalancerPgBouncer:
			if len(p.Effects) > 0 && !s.NoReconnect {
				waits = append(waits, reconnect(b))
			}
			continue
		case inventory.BalancerFile:
			remove, wait, others, err := s.serveFile(ctx, in, self, b)
			if err != nil {
				return Planned{}, err
			}
			if others {
				taken = append(taken, b.Path+" does not say what it has written")
			}
			if remove != nil {
				p.Effects = append(p.Effects, remove)
			}
			if wait != nil {
				waits = append(waits, wait)
			}
			continue
		}
		if !s.lets(in, served(b, in.Self)) {
			continue
		}
		now, _, err := balancedAt(ctx, in, b)
		if err != nil {
			return Planned{}, err
		}
		if now.State == facts.Weightless {
			weightless = append(weightless, fmt.Sprintf("%s/%s at %s", now.Backend, now.Name, b.Name))
		}
		if now.State != facts.Drained {
			continue
		}
		e := balance(b, now)
		e.To, e.Serve, e.Argv, e.Undo = "ready", true, e.Undo, e.Argv
		e.Back, e.Asked, e.Standby = s.State == foundTraffic, !s.ownOnly(), otherName(in.Self, now)
		if s.ownOnly() && b.Kind == inventory.BalancerHAProxy && now.Admin != "drain" {
			if by := takenOver(b, now); by != "" {
				taken = append(taken, by)
				e.Was = "drain" // by this run
				told = append(told, &e)
			}
			continue
		}
		p.Effects = append(p.Effects, &e)
		if b.Kind == inventory.BalancerHAProxy {
			waits = append(waits, &effect.AwaitServing{At: e, Timeout: servingTimeout, Found: s.State == foundTraffic})
		}
	}
	switch {
	case len(p.Effects) == 0 && len(weightless) > 0 && s.State == "serving":
		return noop("nobody has drained it, but it gets no reads, for its weight is 0: %s. Its agent, or an operator, has set that, and has to raise it (on the stats socket: set server BACKEND/SERVER weight 100%%)",
			strings.Join(weightless, ", ")), nil
	case len(p.Effects) == 0 && len(taken) > 0:
		return noop("somebody else has seen to it since this run has kept reads away, and it stays so: %s (to let reads in: pgrepctl traffic restore %s)", strings.Join(taken, "; "), in.Self.Name), nil
	case len(p.Effects) == 0 && s.ownOnly():
		return noop("this run keeps no reads away from it"), nil
	case len(p.Effects) == 0:
		return noop("no balancer keeps reads away from it"), nil
	case s.State == foundTraffic: // as it was, paused or not; what restarts it waits until it streams
	default:
		if err := fitToServe(in, self); err != nil {
			return Planned{}, err
		}
	}
	p.Effects = append(append(p.Effects, told...), waits...)
	return p, nil
}

// fitToServe refuses to send reads to a standby that does not follow.
func fitToServe(in In, h *facts.Host) error {
	var why error
	switch r := h.Server.Replay; {
	case !h.Server.Running:
		why = errors.New("its server does not run")
	case !h.Server.InRecovery:
		return nil // a primary serves what it has
	case r.Paused:
		why = errors.New("its replay is paused, so reads would be of ever older data")
	case r.ReceiverStatus != "streaming":
		why = errors.New("it does not stream, so reads would be of ever older data")
	}
	if why == nil {
		return nil
	}
	return fault.Refuse(in.Self.Name, "see: pgrepctl status; then type the same command again", fmt.Errorf("no reads are sent there: %w", why))
}

// balancedAt is a standby as a balancer sees it.
func balancedAt(ctx context.Context, in In, b *inventory.Balancer) (facts.Balanced, *facts.Host, error) {
	lb, err := in.Facts.Of(ctx, b.Name)
	if err != nil {
		return facts.Balanced{}, nil, err
	}
	now := lb.Balances(b.Server(in.Self))
	if now.State == facts.NotListed {
		return now, nil, fault.Refuse(b.Name, "give "+in.Self.Name+" its name there in the inventory (traffic: NAME), or traffic: none",
			fmt.Errorf("no server %s%s", now.Name, inBackend(now)))
	}
	return now, lb, nil
}

func inBackend(b facts.Balanced) string {
	if b.Backend == "" {
		return ""
	}
	return " in backend " + b.Backend
}

// balance is the effect on one server, with what it is now as what it was.
func balance(b *inventory.Balancer, now facts.Balanced) effect.Balance {
	e := effect.Balance{Host: b.Name, As: b.OSUser, Backend: now.Backend, Server: now.Name, Socket: b.Socket, Was: now.Admin}
	if b.Kind == inventory.BalancerCommand {
		e.Argv, e.Undo = traffic.Command(b.Drain, now.Name), traffic.Command(b.Restore, now.Name)
	}
	return e
}

func reconnect(b *inventory.Balancer) *effect.Reconnect {
	return &effect.Reconnect{Host: b.Name, Databases: b.Databases}
}
