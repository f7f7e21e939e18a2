package order_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/order"
)

// servers plays PostgreSQL, from the text of its manual ("Administrator's Overview"
// of hot standby) and of StartupXLOG, XLogReportParameters, xlog_redo and
// CheckRequiredParameterValues. It shares no code with the solver.
//
// The WAL is a list of records. A primary that is restarted in order writes a shutdown
// checkpoint, and then a record of its settings if they are not those of its control
// file. A standby looks at each of those that it replays; it replays no further than its
// upstream has. One that is restarted looks at its control file, and replays again what
// follows the last checkpoint that it had replayed.
type servers struct {
	wal     []record
	of      map[string]*server
	primary string
	names   []string // upstreams first
}

type record struct {
	checkpoint bool
	values     order.Values // else
}

type server struct {
	name, upstream string
	values         order.Values
	control        order.Values
	replayed       int // records
	low            bool
}

func newServers(ns []order.Node) *servers {
	s := &servers{of: map[string]*server{}}
	for _, n := range ns {
		if n.Upstream == "" {
			s.primary = n.Name
			s.wal = []record{{checkpoint: true}, {values: maps.Clone(n.Running)}}
		}
	}
	for _, n := range ns {
		x := &server{name: n.Name, upstream: n.Upstream, values: maps.Clone(n.Running), control: s.wal[1].values, replayed: len(s.wal)}
		x.low = lower(x.values, x.control) != "" // it was so before we came
		s.of[n.Name] = x
		s.names = append(s.names, n.Name)
	}
	slices.SortStableFunc(s.names, func(a, b string) int { return s.depth(a) - s.depth(b) })
	return s
}

func (s *servers) depth(name string) int {
	d := 0
	for ; s.of[name].upstream != ""; d++ {
		name = s.of[name].upstream
	}
	return d
}

// lower names a setting that have has lower than need.
func lower(have, need order.Values) string {
	for _, s := range slices.Sorted(maps.Keys(need)) {
		if have[s] < need[s] {
			return fmt.Sprintf("%s is %d, and %d is needed", s, have[s], need[s])
		}
	}
	return ""
}

// play restarts a server, which its gates allow: what came before it has been replayed
// where the schedule says so, and, if eager, everywhere.
func (s *servers) play(r order.Restart, eager bool) error {
	if eager || r.Turn == order.After {
		for _, n := range s.chain(r.Node, eager) {
			if err := s.replay(s.of[n]); err != nil {
				return err
			}
		}
	}
	if err := s.restart(s.of[r.Node], r.Values); err != nil {
		return fmt.Errorf("restart of %s: %w", r.Node, err)
	}
	return nil
}

// chain is a node and what it streams from, upstreams first; or all.
func (s *servers) chain(name string, all bool) []string {
	if all {
		return s.names
	}
	var out []string
	for ; name != ""; name = s.of[name].upstream {
		out = append(out, name)
	}
	slices.Reverse(out)
	return out
}

func (s *servers) catchUp() error {
	for _, n := range s.names {
		if err := s.replay(s.of[n]); err != nil {
			return err
		}
	}
	return nil
}

func (s *servers) replay(x *server) error {
	if x.name == s.primary {
		return nil
	}
	end := len(s.wal)
	if up := s.of[x.upstream]; up.name != s.primary {
		end = up.replayed
	}
	for ; x.replayed < end; x.replayed++ {
		if err := x.redo(s.wal[x.replayed]); err != nil {
			return err
		}
	}
	return nil
}

func (x *server) redo(r record) error {
	if r.checkpoint {
		return nil
	}
	x.control = r.values
	if why := lower(x.values, r.values); why != "" {
		return fmt.Errorf("%s meets a record that it is too low for: %s", x.name, why)
	}
	return nil
}

func (s *servers) restart(x *server, values order.Values) error {
	x.values = maps.Clone(values)
	if x.name == s.primary {
		s.wal = append(s.wal, record{checkpoint: true})
		if !maps.Equal(values, x.control) {
			s.wal = append(s.wal, record{values: maps.Clone(values)})
			x.control = maps.Clone(values)
		}
		x.replayed = len(s.wal)
		return nil
	}
	if why := lower(x.values, x.control); why != "" {
		return fmt.Errorf("its control file says more: %s", why)
	}
	x.low = false
	redo := x.replayed - 1
	for redo > 0 && !s.wal[redo].checkpoint {
		redo--
	}
	for i := max(redo, 0); i < x.replayed; i++ {
		if err := x.redo(s.wal[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *servers) clone() *servers {
	out := &servers{wal: slices.Clone(s.wal), of: map[string]*server{}, primary: s.primary, names: s.names}
	for n, x := range s.of {
		c := *x
		out.of[n] = &c
	}
	return out
}

// fewest tries all ways in which the primary is restarted at most once, with at most
// limit restarts, everything replayed after each, and returns how many the shortest has.
func fewest(ns []order.Node, limit int) int {
	var search func(s *servers, primaries, used, limit int) int
	search = func(s *servers, primaries, used, limit int) int {
		done := true
		for _, n := range ns {
			done = done && maps.Equal(s.of[n.Name].values, n.Wanted) && !s.of[n.Name].low
		}
		if done {
			return used
		}
		if used >= limit {
			return limit + 1
		}
		best := limit + 1
		for _, n := range ns {
			if n.Upstream == "" && primaries > 0 {
				continue
			}
			for _, v := range stages(n) {
				next := s.clone()
				if maps.Equal(v, next.of[n.Name].values) && !next.of[n.Name].low || next.restart(next.of[n.Name], v) != nil || next.catchUp() != nil {
					continue
				}
				p := primaries
				if n.Upstream == "" {
					p++
				}
				best = min(best, search(next, p, used+1, min(limit, best-1)))
			}
		}
		return best
	}
	return search(newServers(ns), 0, 0, limit)
}

// stages are all mixes of what a node has and what it shall have.
func stages(n order.Node) []order.Values {
	var differ []string
	for _, s := range settings {
		if n.Running[s] != n.Wanted[s] {
			differ = append(differ, s)
		}
	}
	if n.Upstream == "" {
		return []order.Values{n.Wanted}
	}
	var out []order.Values
	for mask := range 1 << len(differ) {
		v := maps.Clone(n.Running)
		for i, s := range differ {
			if mask>>i&1 == 1 {
				v[s] = n.Wanted[s]
			}
		}
		out = append(out, v)
	}
	return out
}
