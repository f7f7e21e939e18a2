package steps

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/order"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// serves are what a primary must have at least to serve standbys.
func serves() map[string]Wanted {
	return map[string]Wanted{
		"wal_level":             {Value: "replica", AtLeast: true},
		"max_wal_senders":       {Value: "10", AtLeast: true},
		"max_replication_slots": {Value: "10", AtLeast: true},
	}
}

// inventoryWants are the settings that the inventory gives for a host.
func inventoryWants(h *inventory.Host) map[string]Wanted {
	out := map[string]Wanted{}
	for _, set := range h.Postgres.Settings {
		out[strings.ToLower(set.Name)] = Wanted{Value: set.Value, AtLeast: set.AtLeast}
	}
	return out
}

// member is a running server of the tree, as far as restarts are concerned.
type member struct {
	inv    *inventory.Host
	facts  *facts.Host
	conf   *config
	wants  map[string]Wanted
	runs   order.Values // the settings whose order matters
	file   order.Values // of the same: what a restart would bring
	others []string     // other settings of the inventory that wait for a restart
}

// restarts is what the whole tree waits for.
type restarts struct {
	members map[string]*member
	nodes   []order.Node
	list    []order.Restart
}

// restarts computes it anew from the facts of all hosts, so that a run which was cut
// off plans what is left.
func (in In) restarts(ctx context.Context) (*restarts, error) {
	t := &restarts{members: map[string]*member{}}
	for _, h := range in.Cluster.Hosts {
		if slices.Contains(in.Without, h.Name) {
			continue
		}
		m, err := in.member(ctx, h)
		if err != nil {
			return nil, err
		}
		if m != nil {
			t.members[h.Name] = m
		}
	}
	if t.members[in.Cluster.Primary().Name] == nil {
		return nil, &fault.Error{Class: fault.Unreachable, Host: in.Cluster.Primary().Name, Err: errors.New("the server of the primary does not run"), Hint: "pgrepctl status"}
	}
	// A restart brings in all that the files hold, also what somebody else wrote
	// there and the inventory does not name.
	restarting := map[string]bool{}
	for {
		t.build(in.Cluster, restarting)
		list, err := order.Solve(t.nodes)
		if err != nil {
			return nil, t.explain(err)
		}
		known := len(restarting)
		for _, r := range list {
			restarting[r.Node] = true
		}
		if len(restarting) == known {
			t.list = list
			return t, nil
		}
	}
}

// member reads one host; nil if its server does not run.
func (in In) member(ctx context.Context, h *inventory.Host) (*member, error) {
	f, err := in.Facts.Of(ctx, h.Name)
	if err != nil || !f.Server.Running {
		return nil, err
	}
	in.Self = h
	m := &member{inv: h, facts: f, wants: inventoryWants(h), runs: order.Values{}, file: order.Values{}}
	if in.Cluster.Upstream(h) == nil {
		m.wants = serves()
		maps.Copy(m.wants, inventoryWants(h))
	}
	if m.conf, err = (&Conf{}).open(ctx, in, f); err != nil {
		return nil, err
	}
	ordered := f.Server.Version.StandbyParameters()
	for _, name := range ordered {
		known, ok := m.conf.settings.Lookup(name)
		if !ok {
			return nil, fmt.Errorf("%s does not know the setting %s", h.Name, name)
		}
		if m.runs[name], err = integer(known, known.Value); err != nil {
			return nil, err
		}
		if m.file[name], err = integer(known, m.conf.value(known, name)); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.wants)) {
		if slices.Contains(ordered, name) || !m.conf.needsRestart(name) {
			continue
		}
		holds, err := m.conf.holds(name, m.wants[name])
		if err != nil {
			return nil, err
		}
		known, _ := m.conf.settings.Lookup(name)
		if runs, err := m.conf.runsWith(name, m.wants[name]); !holds && (err != nil || !runs) || known.PendingRestart {
			m.others = append(m.others, name)
		}
	}
	return m, nil
}

func integer(known postgres.Setting, value string) (int64, error) {
	n, err := conf.Kind{Vartype: known.Vartype, Unit: known.Unit}.Number(value)
	if err != nil {
		return 0, fmt.Errorf("read setting %s: %w", known.Name, err)
	}
	return int64(n), nil
}

// build makes the solver's nodes. What the inventory does not say stays as it runs,
// or, on a server that is restarted anyway, comes from its file.
func (t *restarts) build(c *inventory.Cluster, restarting map[string]bool) {
	t.nodes = nil
	primary := t.members[c.Primary().Name].wanted(restarting)
	for _, h := range c.Hosts {
		m := t.members[h.Name]
		if m == nil {
			continue
		}
		n := order.Node{Name: h.Name, Upstream: h.UpstreamName, Running: m.runs, Wanted: m.wanted(restarting), Restart: len(m.others) > 0}
		for name, least := range primary {
			if w, ok := m.wants[name]; !ok || w.AtLeast {
				n.Wanted[name] = max(n.Wanted[name], least)
			}
		}
		t.nodes = append(t.nodes, n)
	}
}

func (m *member) wanted(restarting map[string]bool) order.Values {
	out := order.Values{}
	for name, value := range m.runs {
		if restarting[m.inv.Name] {
			value = m.file[name]
		}
		if w, ok := m.wants[name]; ok {
			known, _ := m.conf.settings.Lookup(name)
			n, err := integer(known, w.Value)
			switch {
			case err != nil: // PostgreSQL says so when the file is written
			case w.AtLeast:
				value = max(value, n)
			default:
				value = n
			}
		}
		out[name] = value
	}
	return out
}

// explain says where in the inventory a wish stands that no order can grant.
func (t *restarts) explain(err error) error {
	var low *order.LowError
	if !errors.As(err, &low) {
		return err
	}
	f := &fault.Error{Class: fault.Refused, Host: low.Node, Err: err, Hint: "give " + low.Node + " at least what " + low.PrimaryName + " has"}
	for _, set := range t.members[low.Node].inv.Postgres.Settings {
		if strings.EqualFold(set.Name, low.Setting) {
			f.Err = fmt.Errorf("%s: %w", set.Pos, err)
		}
	}
	return f
}

// of are the restarts of one host, in order.
func (t *restarts) of(name string) []order.Restart {
	return slices.DeleteFunc(slices.Clone(t.list), func(r order.Restart) bool { return r.Node != name })
}

// has reports whether anybody has a restart in a turn.
func (t *restarts) has(turn order.Turn) (order.Restart, bool) {
	i := slices.IndexFunc(t.list, func(r order.Restart) bool { return r.Turn == turn })
	if i < 0 {
		return order.Restart{}, false
	}
	return t.list[i], true
}

// below are the running servers that stream from one, directly or not, each after
// its upstream.
func (t *restarts) below(c *inventory.Cluster, name string) []*member {
	var out []*member
	for _, d := range c.Hosts {
		if d.UpstreamName != name {
			continue
		}
		if m := t.members[d.Name]; m != nil {
			out = append(out, m)
			out = append(out, t.below(c, d.Name)...)
		}
	}
	return out
}
