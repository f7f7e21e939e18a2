package steps

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/order"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Restart restarts one server for the settings that need one, when its turn comes.
// pg_settings.context says which those are. The files get what the turn allows, and
// nothing more: a server that is restarted by accident must not break the rule either.
type Restart struct {
	// Turn: before, primary or after, as pkg/order has them; alone is the primary's
	// as long as nobody streams from it.
	Turn string `yaml:"turn"`
	// Allow: rolling restarts one server at a time; no reports what waits.
	Allow   string        `yaml:"allow"`
	Timeout time.Duration `yaml:"timeout"` // to answer, and to stream again
}

var _ Step = (*Restart)(nil)

// Validate is called when a plan file is read.
func (s *Restart) Validate() error {
	switch s.Turn {
	case "alone", string(order.Before), string(order.Primary), string(order.After):
	default:
		return fmt.Errorf("turn %q: want alone, before, primary or after", s.Turn)
	}
	if s.Allow != "no" && s.Allow != "rolling" {
		return fmt.Errorf("allow %q: want no or rolling", s.Allow)
	}
	return nil
}

const rollingHint = "one server at a time: pgrepctl apply --restart=rolling"

// Plan asks for the order of the whole tree, and does this host's part of it.
func (s *Restart) Plan(ctx context.Context, in In) (Planned, error) {
	t, err := in.restarts(ctx)
	if err != nil {
		return Planned{}, err
	}
	m, mine := t.members[in.Self.Name], t.of(in.Self.Name)
	switch {
	case m == nil:
		return noop("its server does not run"), nil
	case len(mine) == 0:
		return noop("nothing waits for a restart"), nil
	case s.Turn == "alone" && (s.Allow == "no" || len(t.members) > 1 || len(in.Without) > 0), s.Turn == string(order.Before) && mine[0].Turn == order.After:
		return noop("it has its turn later"), nil
	case s.Turn == string(order.After) && s.Allow == "no" && mine[0].Turn == order.Before:
		return noop("not restarted: see above"), nil
	case s.Allow == "no":
		return Planned{Noop: "not restarted", Held: []Held{{What: strings.Join(m.changes(t.final(in.Self.Name)), ", ") + ": needs a restart", Hint: rollingHint}}}, nil
	}
	r := mine[0]
	if earlier, ok := t.earlier(s.Turn); ok {
		return Planned{Noop: "not restarted", Held: []Held{{What: strings.Join(m.changes(r.Values), ", ") + ": waits for the restart of " + earlier.Node,
			Hint: "once that is done: pgrepctl apply --restart=rolling"}}}, nil
	}
	if held, wait := m.behind(in, r); wait {
		return Planned{Noop: "not restarted", Held: []Held{held}}, nil
	}
	if held, wait := t.unseen(in, m, r); wait {
		return Planned{Noop: "not restarted", Held: []Held{held}}, nil
	}
	if err := in.refusePaused(t); err != nil {
		return Planned{}, err
	}
	if err := in.refuseGap(t); err != nil {
		return Planned{}, err
	}
	return s.restart(ctx, in, t, m, r)
}

// final is what a host runs with once all is done.
func (t *restarts) final(name string) order.Values {
	i := slices.IndexFunc(t.nodes, func(n order.Node) bool { return n.Name == name })
	return t.nodes[i].Wanted
}

// changes puts into words what a restart with these values changes.
func (m *member) changes(to order.Values) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(to)) {
		if to[name] != m.runs[name] {
			out = append(out, fmt.Sprintf("%s %d to %d", name, m.runs[name], to[name]))
		}
	}
	for _, name := range m.others {
		known, _ := m.conf.settings.Lookup(name)
		out = append(out, name+" "+harmless(name, shown(known))+" to "+harmless(name, m.wants[name].Value))
	}
	return out
}

// harmless is a value for showing, with what looks like a secret in it masked.
func harmless(name, value string) string {
	_, value, _ = strings.Cut(setTo(name, value), "=")
	return strings.TrimSpace(value)
}

// shown is a running value as one would write it: pg_settings gives blocks of 8 kB.
func shown(s postgres.Setting) string {
	n, err := strconv.ParseInt(s.Value, 10, 64)
	if s.Unit != "8kB" || err != nil || n < 0 {
		return s.Value + bareUnit(s)
	}
	if n%128 == 0 {
		return strconv.FormatInt(n/128, 10) + "MB"
	}
	return strconv.FormatInt(8*n, 10) + "kB"
}

// earlier is a restart that has to come before this turn, and has not: of a standby
// that is behind, say.
func (t *restarts) earlier(turn string) (order.Restart, bool) {
	for _, x := range []order.Turn{order.Before, order.Primary} {
		if string(x) == turn || turn == "alone" {
			break
		}
		if r, ok := t.has(x); ok {
			return r, true
		}
	}
	return order.Restart{}, false
}

// behind reports that a standby must not be restarted yet: its control file, which it
// compares its settings with at the start, still has a higher value of the primary. A
// delayed one that goes down is left to another run than the primary's, however short
// its delay: what a run does must not depend on how long it takes.
func (m *member) behind(in In, r order.Restart) (Held, bool) {
	if m.inv.UpstreamName == "" || m.facts.Data.State != facts.Cluster {
		return Held{}, false
	}
	primary := in.Cluster.Primary().Name
	now := m.inv.ApplyDelay > 0 && in.Run.Changed(primary)
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		if least := controlValue(m.facts.Data.Control, name); r.Values[name] < least || now && r.Values[name] < m.runs[name] {
			return Held{What: fmt.Sprintf("%s %d to %d: it has not replayed the lower value of %s yet, and would not start", name, m.runs[name], r.Values[name], primary),
				Hint: "once it has: pgrepctl apply --restart=rolling"}, true
		}
	}
	return Held{}, false
}

// unseen reports that the primary must not get more than it has yet: a standby that is
// not looked at streams, may have less, and would stop. One that gets no WAL now is given
// as much before it is started again.
func (t *restarts) unseen(in In, m *member, r order.Restart) (Held, bool) {
	streaming := slices.DeleteFunc(slices.Clone(in.Without), func(name string) bool { return !t.streamsUnseen(in, name) })
	if m.inv.UpstreamName != "" || len(streaming) == 0 {
		return Held{}, false
	}
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		if r.Values[name] > m.runs[name] {
			return Held{What: fmt.Sprintf("%s %d to %d: %s may have less, and would stop", name, m.runs[name], r.Values[name], strings.Join(streaming, ", ")),
				Hint: "when it can be looked at: pgrepctl apply --restart=rolling"}, true
		}
	}
	return Held{}, false
}

// streamsUnseen reports whether a host that is not looked at gets WAL, as its upstream
// shows, or the first of those above it that is looked at.
func (t *restarts) streamsUnseen(in In, name string) bool {
	h, ok := in.Cluster.Host(name)
	for ok && slices.Contains(in.Without, h.UpstreamName) {
		h, ok = in.Cluster.Host(h.UpstreamName)
	}
	if !ok || t.members[h.UpstreamName] == nil {
		return false
	}
	_, streams := t.members[h.UpstreamName].facts.Server.Sender(applicationName(h))
	return streams
}

func controlValue(c postgres.Control, name string) int64 {
	return int64(map[string]int32{"max_connections": c.MaxConnections, "max_worker_processes": c.MaxWorkerProcesses, "max_wal_senders": c.MaxWALSenders,
		"max_prepared_transactions": c.MaxPreparedTransactions, "max_locks_per_transaction": c.MaxLocksPerTransaction}[name])
}

func setControl(c *postgres.Control, v order.Values) {
	c.MaxConnections, c.MaxWorkerProcesses, c.MaxWALSenders = int32(v["max_connections"]), int32(v["max_worker_processes"]), int32(v["max_wal_senders"])
	c.MaxPreparedTransactions, c.MaxLocksPerTransaction = int32(v["max_prepared_transactions"]), int32(v["max_locks_per_transaction"])
}

// refuseGap: one node at a time, and only while all the others stream.
func (in In) refuseGap(t *restarts) error {
	for _, h := range in.Cluster.Hosts {
		m, up := t.members[h.Name], in.Cluster.Upstream(h)
		if m == nil || up == nil || t.members[up.Name] == nil || h.ApplyDelay > 0 {
			continue
		}
		if sender, ok := t.members[up.Name].facts.Server.Sender(applicationName(h)); !ok || sender.State != "streaming" {
			return fault.Refuse(h.Name, "see why: pgrepctl status; then type the same command again", fmt.Errorf("it does not stream from %s: no server is restarted while a standby lags behind", up.Name))
		}
	}
	return nil
}

func (s *Restart) restart(ctx context.Context, in In, t *restarts, m *member, r order.Restart) (Planned, error) {
	if bad, err := m.facts.ConfigErrors(ctx); err != nil {
		return Planned{}, err
	} else if len(bad) > 0 {
		return Planned{}, fault.Refuse(in.Self.Name, "mend the file, then type the same command again",
			fmt.Errorf("the server refuses its configuration: %s:%d: %s", bad[0].File, bad[0].Line, bad[0].Message))
	}
	var p Planned
	set, err := m.edit(r)
	if err != nil {
		return Planned{}, err
	}
	p.Effects = append(p.Effects, m.conf.edits(in, m.facts, set)...)
	e, err := (&Server{Timeout: s.Timeout}).restart(in, m.facts)
	if err != nil {
		return Planned{}, err
	}
	e.Why = "(" + strings.Join(t.why(m, r), "; ") + ")"
	e.Lost = "it runs with the new values from then on: to go back, give the old ones in the inventory, and apply again"
	e.Then = m.predict(r)
	for _, x := range p.Effects {
		if f, ok := x.(*effect.WriteFile); ok && f.WayBack() != "" {
			e.WayBack = append(e.WayBack, f.WayBack())
		}
	}
	p.Effects = append(p.Effects, e)
	p.Effects = append(p.Effects, s.gates(in, t, m, r)...)
	return p, nil
}

// edit puts into the files what this restart brings, and says what that is. Files
// that hold it already are left alone.
func (m *member) edit(r order.Restart) ([]string, error) {
	var set []string
	put := func(name string, want Wanted) error {
		set = append(set, setTo(name, want.Value))
		return m.conf.put(name, want)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		if m.file[name] == r.Values[name] {
			continue
		}
		if err := put(name, Wanted{Value: strconv.FormatInt(r.Values[name], 10)}); err != nil {
			return nil, err
		}
	}
	for _, name := range m.others {
		holds, err := m.conf.holds(name, m.wants[name])
		if err == nil && !holds {
			err = put(name, m.wants[name])
		}
		if err != nil {
			return nil, err
		}
	}
	return set, nil
}

// why says what the restart brings, what else comes with it, and why it is now.
func (t *restarts) why(m *member, r order.Restart) []string {
	var out []string
	if r.Turn == order.Primary {
		out = append(out, "the primary: no writes meanwhile")
	}
	out = append(out, strings.Join(m.changes(r.Values), ", "))
	var strange []string
	for _, name := range m.facts.Server.PendingRestart {
		if _, ordered := r.Values[name]; !ordered && !slices.Contains(m.others, name) {
			strange = append(strange, name)
		}
	}
	if len(strange) > 0 {
		out = append(out, "and what somebody else has put into its files: "+strings.Join(strange, ", "))
	}
	return append(out, t.before(r)...)
}

// before says of which other restarts this one is ahead, and why.
func (t *restarts) before(r order.Restart) []string {
	var reasons []string
	nodes := map[string][]string{}
	for _, later := range t.list {
		for _, e := range later.After {
			if e.Node != r.Node || e.Turn != r.Turn || later.Node == r.Node {
				continue
			}
			if nodes[e.Why] == nil {
				reasons = append(reasons, e.Why)
			}
			nodes[e.Why] = append(nodes[e.Why], later.Node)
		}
	}
	out := make([]string, 0, len(reasons))
	for _, why := range reasons {
		out = append(out, "before "+strings.Join(nodes[why], ", ")+": "+why)
	}
	return out
}

// predict is what a restart makes true: for a preview.
func (m *member) predict(r order.Restart) func(*facts.Host) {
	settings := maps.Clone(m.conf.settings)
	change := func(name, value string) {
		known, ok := settings.Lookup(name)
		if !ok {
			return
		}
		known.Value, known.PendingRestart = value, false
		settings[known.Name] = known
	}
	for name, v := range r.Values {
		change(name, strconv.FormatInt(v, 10))
	}
	for _, name := range m.others {
		change(name, m.wants[name].Value)
	}
	primary := m.inv.UpstreamName == ""
	return func(h *facts.Host) {
		h.SetSettings(settings)
		h.Server.PendingRestart = nil
		if primary {
			setControl(&h.Data.Control, r.Values)
		}
	}
}

// gates are what the next restart waits for: the server itself streams again, if it
// is a standby, and so does all that hangs on it, and has replayed what was written
// since. Behind a primary that is the record of its new settings. A delayed standby is
// not waited for: its walreceiver is started again only when it has applied all the WAL
// that it has, which takes as long as the delay.
func (s *Restart) gates(in In, t *restarts, m *member, r order.Restart) []effect.Effect {
	list := t.below(in.Cluster, m.inv.Name)
	if m.inv.UpstreamName != "" {
		list = append([]*member{m}, list...)
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = 10 * time.Minute
	}
	var out []effect.Effect
	for _, d := range list {
		if d.inv.ApplyDelay > 0 {
			continue
		}
		up := in.Cluster.Upstream(d.inv)
		c := Control(d.inv, d.facts)
		e := &effect.AwaitStreaming{Host: d.inv.Name, Upstream: up.Name, Application: applicationName(d.inv),
			Timeout: timeout, Version: d.facts.Server.Version, Log: c.Log, LogAs: c.LogAs}
		if r.Turn == order.Primary {
			e.Then = func(h *facts.Host) { setControl(&h.Data.Control, r.Values) }
		}
		out = append(out, e)
	}
	return out
}

// predictStandby is what is known of a standby's server before it starts: it is of its
// upstream's system, and runs with its own files.
func predictStandby(ctx context.Context, in In, h, up *facts.Host) (func(*facts.Host), error) {
	settings, err := up.Settings(ctx)
	if err != nil {
		return nil, err
	}
	settings = maps.Clone(settings)
	c, err := (&Conf{}).open(ctx, in, h)
	for _, name := range up.Server.Version.StandbyParameters() {
		known, ok := settings.Lookup(name)
		if !ok || err != nil {
			break // what is wrong with its files its server will say
		}
		if n, err := integer(known, c.value(known, name)); err == nil {
			known.Value, known.PendingRestart = strconv.FormatInt(n, 10), false
			settings[known.Name] = known
		}
	}
	role, err := up.Role(ctx, in.Cluster.Replication.User)
	if err != nil {
		return nil, err
	}
	is, pg := up.Server, in.Self.Postgres
	return func(h *facts.Host) {
		h.Expect()
		h.SetRole(role)
		s := &h.Server
		s.Version, s.SystemID, s.Timeline, s.SSL, s.SizeBytes, s.Tablespaces = is.Version, is.SystemID, is.Timeline, is.SSL, is.SizeBytes, is.Tablespaces
		s.DataDirectory, s.ConfigFile, s.HBAFile = pg.DataDirectory, pg.ConfigDirectory+"/postgresql.conf", pg.ConfigDirectory+"/pg_hba.conf"
		h.SetSettings(settings)
		setControl(&h.Data.Control, controlValues(up.Data.Control))
	}, nil
}

func controlValues(c postgres.Control) order.Values {
	out := order.Values{}
	for _, name := range postgres.Newest.StandbyParameters() {
		out[name] = controlValue(c, name)
	}
	return out
}
