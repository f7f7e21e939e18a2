package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// DDL runs statements of a schema change on the primary, in one transaction.
type DDL struct {
	Database   string     `yaml:"database"`   // that the statements are for
	Statements statements `yaml:"statements"` // a JSON list
	Role       string     `yaml:"role"`       // that runs them (SET ROLE); empty is the superuser
	// Drained are the standbys that replay it without readers, with commas between.
	Drained hostList `yaml:"drained"`
	// Paused are the standbys that are paused for it, with commas between; Quiet is as
	// in replay-paused, for the next attempt.
	Paused hostList `yaml:"paused"`
	Quiet  oidList  `yaml:"quiet"`

	LockTimeout time.Duration `yaml:"lock-timeout"` // how long one lock is waited for (200ms)
	LockWait    time.Duration `yaml:"lock-wait"`    // how long it is tried again (10m)
	Timeout     time.Duration `yaml:"timeout"`      // how late a standby that serves may be (10s)

	AllowRewrite bool `yaml:"allow-rewrite"` // it may write a table anew
	// NoLock: it must lock nothing that is there against readers.
	NoLock bool `yaml:"no-lock"`
	// Alone: it is one statement that can be in no transaction.
	Alone bool `yaml:"alone"`
}

var _ Step = (*DDL)(nil)

// statements is a list in JSON, which is a value that a variable can have.
type statements string

func (s statements) list() ([]string, error) {
	var out []string
	if err := json.Unmarshal([]byte(s), &out); err != nil || len(out) == 0 {
		return nil, errors.New("statements: want a JSON list of strings")
	}
	return out, nil
}

// hostList is names of hosts with commas between.
type hostList string

func (l hostList) of(c *inventory.Cluster) ([]*inventory.Host, error) {
	var out []*inventory.Host
	for _, name := range inventory.NamesIn(string(l)) {
		h, ok := c.Host(name)
		if !ok {
			return nil, fmt.Errorf("no host %q in the inventory", name)
		}
		out = append(out, h)
	}
	return out, nil
}

// Validate is called when a plan file is read.
func (s *DDL) Validate() error {
	if s.Database == "" {
		return errors.New("database is missing")
	}
	list, err := s.Statements.list()
	if err == nil && s.Alone && len(list) != 1 {
		err = errors.New("alone: want one statement")
	}
	return err
}

// Plan is a noop once the run has committed it.
func (s *DDL) Plan(ctx context.Context, in In) (Planned, error) {
	if lsn, ok := deployed(in.Run); ok {
		return noop("it is committed, at %s", lsn), nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if h.Server.InRecovery {
		return Planned{}, fault.Refuse(in.Self.Name, "pgrepctl status", errors.New("it is in recovery: another server is the primary now"))
	}
	list, err := s.Statements.list()
	if err != nil {
		return Planned{}, err
	}
	if s.Alone {
		return Planned{Effects: []effect.Effect{&effect.LoneDDL{Host: in.Self.Name, Database: s.Database, Role: s.Role, Version: h.Server.Version, Statement: list[0]}}}, nil
	}
	e := &effect.DDL{Host: in.Self.Name, Database: s.Database, Role: s.Role, Version: h.Server.Version, Statements: list, System: h.Server.SystemID, Timeline: h.Server.Timeline,
		LockTimeout: orElse(s.LockTimeout, 200*time.Millisecond), LockWait: orElse(s.LockWait, 10*time.Minute), Timeout: orElse(s.Timeout, 10*time.Second), NoLock: s.NoLock}
	e.NoRewrite = !s.AllowRewrite && s.mayRefuse(ctx, h, in)
	hosts, err := s.Paused.of(in.Cluster)
	if err != nil {
		return Planned{}, err
	}
	for _, x := range hosts {
		hf, err := in.Facts.Of(ctx, x.Name)
		if err != nil {
			return Planned{}, err
		}
		p := pauseFor(x, hf)
		if p.Quiet, err = s.Quiet.list(); err != nil {
			return Planned{}, err
		}
		if p.Waited, err = in.commitsWaitFor(ctx, x); err != nil {
			return Planned{}, err
		}
		p.Database, p.QuietFor, p.Gate = s.Database, e.LockWait, gateAtClose
		e.Paused = append(e.Paused, p)
	}
	together(e.Paused)
	first, err := s.Drained.of(in.Cluster)
	if err != nil {
		return Planned{}, err
	}
	for _, x := range first {
		d, err := in.drained(ctx, x)
		if err != nil {
			return Planned{}, err
		}
		e.Drained = append(e.Drained, d)
	}
	if e.Apart, err = in.apart(ctx, append(first, hosts...)); err != nil {
		return Planned{}, err
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// drained is how to see that nobody reads from a standby that is drained.
func (in In) drained(ctx context.Context, x *inventory.Host) (*effect.AwaitDrained, error) {
	h, err := in.Facts.Of(ctx, x.Name)
	if err != nil {
		return nil, err
	}
	in.Self = x
	d := &effect.AwaitDrained{Host: x.Name, Version: h.Server.Version, Ignore: in.Cluster.Traffic.IgnoreUsers}
	for _, b := range in.Cluster.Traffic.Balancers {
		if b.Kind != inventory.BalancerHAProxy {
			continue
		}
		now, _, err := balancedAt(ctx, in, b)
		if err != nil {
			return nil, err
		}
		if now.State != facts.Drained {
			// Before the COMMIT it is compared with what it is now: what was lost by now
			// would not be seen.
			return nil, &fault.Error{Class: fault.Failed, Host: b.Name, Hint: "see what it does: pgrepctl traffic show; then type the same command again",
				Err: fmt.Errorf("%s was drained%s, and is %s: somebody put it back, or reloaded HAProxy", now.Name, inBackend(now), now.State)}
		}
		e := balance(b, now)
		e.To = now.Admin
		d.Balancers = append(d.Balancers, e)
	}
	return d, nil
}

// apart are the standbys at HAProxy that take no part, for they did not serve when the
// groups were made. Those that replay late on purpose get no reads.
func (in In) apart(ctx context.Context, groups []*inventory.Host) ([]effect.Balance, error) {
	var out []effect.Balance
	for _, x := range in.Cluster.Standbys() {
		if x.BalancedName() == "" || x.ApplyDelay > 0 || slices.Contains(groups, x) || slices.Contains(in.Without, x.Name) {
			continue
		}
		for _, b := range in.Cluster.Traffic.Balancers {
			if b.Kind != inventory.BalancerHAProxy {
				continue
			}
			lb, err := in.Facts.Of(ctx, b.Name)
			if err != nil {
				return nil, err
			}
			if now := lb.Balances(b.Server(x)); now.State != facts.NotListed {
				out = append(out, balance(b, now))
			}
		}
	}
	return out, nil
}

// commitsWaitFor reports whether the primary's synchronous_standby_names has the standby.
func (in In) commitsWaitFor(ctx context.Context, x *inventory.Host) (bool, error) {
	h, err := in.self(ctx)
	if err != nil {
		return false, err
	}
	settings, err := h.Settings(ctx)
	if err != nil || settings[syncSetting].Value == "" {
		return false, err
	}
	rule, err := postgres.ParseSyncStandbys(settings[syncSetting].Value)
	return err == nil && rule.Priority(applicationName(x)) > 0, nil
}

// together: nobody is paused while another one is waited for.
func together(pauses []*effect.SetReplay) {
	if len(pauses) == 0 || len(pauses[0].Quiet) == 0 {
		return
	}
	for _, p := range pauses[1:] {
		pauses[0].With = append(pauses[0].With, effect.Replaying{Host: p.Host, Version: p.Version})
		p.QuietFor = min(p.QuietFor, othersWait)
	}
}

// othersWait is how long those that are paused may grow old while the next is waited for,
// which had nobody in the way when the first was paused.
const othersWait = 5 * time.Second

// mayRefuse reports whether rewrites can be refused: an event trigger needs a superuser.
func (s *DDL) mayRefuse(ctx context.Context, h *facts.Host, in In) bool {
	r, err := h.Role(ctx, in.Self.Postgres.Superuser)
	return err == nil && r.Superuser
}

func orElse(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// deployed is where the run's schema change is in the WAL, once it is committed.
func deployed(r Run) (string, bool) {
	lsn, ok := r.Output(effect.DDLPosition)
	return lsn, ok && lsn != ""
}

// leftBehind reports whether err is that a standby cannot be reached, after the run's
// schema change is committed. There is one way from then on, and the others must not
// stay without reads, or paused, for as long as that takes.
func (in In) leftBehind(err error) bool {
	_, ok := deployed(in.Run)
	return ok && fault.ClassOf(err) == fault.Unreachable
}

// pauseFor is the pause of a standby around a schema change.
func pauseFor(x *inventory.Host, h *facts.Host) *effect.SetReplay {
	return &effect.SetReplay{Host: x.Name, Pause: true, Version: h.Server.Version, Timeout: holdsTimeout, Data: h.Server.DataDirectory, As: x.Postgres.OSUser, Clean: true}
}

// holdsTimeout is how long a pause may take to hold: everybody waits for it.
const holdsTimeout = 5 * time.Second
