package check

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// trio is a primary and two standbys of it.
func trio() []Member {
	return append(pair(), Member{Name: "pg3", Role: inventory.Standby, Server: "pg3", Upstream: "pg1", Slot: "pg3"})
}

// writes observes a server of a system that takes writes on a timeline.
func writes(host, system string, timeline int, seconds float64) Observation {
	o := primary(seconds, 100)
	o.Host, o.Server.SystemID, o.Server.Timeline = host, system, timeline
	return o
}

// reads observes a standby of a system that has reached a timeline.
func reads(host, system string, timeline int, seconds float64) Observation {
	o := standby(seconds, 100)
	o.Host, o.Server.SystemID, o.Server.Timeline = host, system, timeline
	return o
}

// stopped observes a host whose server does not run.
func stopped(host string, seconds float64) Observation {
	return Observation{Host: host, At: at(seconds)}
}

// scene is a step of a story: what is observed at a time, and what is to be said of pg1, pg2
// and pg3 then. A reason with a plus is in.
type scene struct {
	obs  func(seconds float64) []Observation
	want string
}

// saw is a scene of observations of hosts by name: "w7.2" takes writes, in system 7 on
// timeline 2; "r7.2" reads; "x" does not run; "-" does not answer.
func saw(want string, hosts ...string) scene {
	return scene{want: want, obs: func(seconds float64) (out []Observation) {
		for i, text := range hosts {
			host := []string{"pg1", "pg2", "pg3"}[i]
			switch text {
			case "":
			case "-":
				out = append(out, silent(host, seconds))
			case "x":
				out = append(out, stopped(host, seconds))
			default:
				see := map[byte]func(string, string, int, float64) Observation{'w': writes, 'r': reads}[text[0]]
				out = append(out, see(host, text[1:2], int(text[3]-'0'), seconds))
			}
		}
		return out
	}}
}

// words are what a board says of its hosts, a word each.
func words(b *Board, seconds float64) string {
	var out []string
	for _, m := range b.Members() {
		s := b.State(m.Name, at(seconds), 0)
		word := string(s.Reason)
		if s.In {
			word = "+" + word
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

// play shows scenes to a board, one in twenty seconds: longer than who says nothing stays in.
func play(t *testing.T, b *Board, from int, scenes ...scene) {
	t.Helper()
	for i, s := range scenes {
		seconds := float64(20 * (from + i))
		// As serve does: each host by itself.
		for _, o := range s.obs(seconds) {
			b.Take(o)
		}
		if got := words(b, seconds); got != s.want {
			t.Errorf("scene %d: %s; want %s", from+i, got, s.want)
			for _, m := range b.Members() {
				t.Logf("%s: %s", m.Name, b.State(m.Name, at(seconds), 0).Why)
			}
		}
	}
}

func TestWritesGoToTheNewestTimelineOfTheSystem(t *testing.T) {
	t.Parallel()
	usual := saw("+ok +ok +ok", "w7.1", "r7.1", "r7.1")
	for name, c := range map[string]struct {
		members func([]Member)
		scenes  []scene
	}{
		"the primary reboots beside an empty cluster": {scenes: []scene{
			usual, saw("+ok +ok unreachable", "w7.1", "r7.1", "-"), saw("+ok +ok other-system", "w7.1", "r7.1", "w8.1"),
			saw("unreachable +ok other-system", "-", "r7.1", "w8.1"), saw("down +ok other-system", "x", "r7.1", "w8.1"), saw("+ok +ok other-system", "w7.1", "r7.1", "w8.1")}},
		"an empty cluster says so even when traffic is kept away": {members: func(m []Member) { m[2].Closed = true }, scenes: []scene{
			saw("+ok +ok closed", "w7.1", "r7.1", "r7.1"), saw("+ok +ok other-system", "w7.1", "r7.1", "w8.1")}},
		"another cluster that was promoted once": {scenes: []scene{
			usual, saw("+ok +ok other-system", "w7.1", "r7.1", "w8.5"), saw("unreachable +ok other-system", "-", "r7.1", "w8.5")}},
		"pg_upgrade of the primary": {scenes: []scene{
			usual, saw("down +ok +ok", "x", "r7.1", "r7.1"), saw("+ok other-system other-system", "w9.1", "r7.1", "r7.1"), saw("+ok hold-down other-system", "w9.1", "r9.1", "r7.1")}},
		"the old primary was installed anew while a standby took over": {scenes: []scene{
			usual, saw("unreachable +ok +ok", "-", "w7.2", "r7.2"), saw("other-system +ok +ok", "w8.1", "w7.2", "r7.2"), saw("other-system unreachable +ok", "w8.1", "-", "r7.2"),
			saw("other-system +ok +ok", "w8.1", "w7.2", "r7.2")}},
		"and nothing was remembered": {scenes: []scene{
			saw("unreachable unseen unseen", "-"), saw("unreachable +ok +ok", "-", "w7.2", "r7.2"), saw("other-system +ok +ok", "w8.1", "w7.2", "r7.2")}},
		"at first the inventory's primary says which system": {scenes: []scene{
			saw("unseen unseen +ok", "", "", "w8.5"), saw("+ok +ok other-system", "w7.1", "r7.1", "w8.5")}},
		"an empty cluster is remembered by nobody": {scenes: []scene{
			saw("unreachable unseen +ok", "-", "", "w8.1"), saw("unreachable +ok +ok", "-", "r7.1", "w8.1"), saw("+ok +ok other-system", "w7.1", "r7.1", "w8.1")}},

		"the old primary boots hours after a failover": {scenes: []scene{
			usual, saw("unreachable +ok +ok", "-", "w7.2", "r7.2"), saw("twin +ok +ok", "w7.1", "w7.2", "r7.2")}},
		"and the new one reboots then": {scenes: []scene{
			usual, saw("unreachable +ok +ok", "-", "w7.2", "r7.2"), saw("twin +ok +ok", "w7.1", "w7.2", "r7.2"),
			saw("twin unreachable +ok", "w7.1", "-", "r7.2"), saw("twin down +ok", "w7.1", "x", "r7.2"), saw("twin +ok +ok", "w7.1", "w7.2", "r7.2")}},
		"promoted beside a primary that goes on": {scenes: []scene{usual, saw("+ok +ok +ok", "", "w7.2"), saw("twin +ok +ok", "w7.1", "w7.2", "r7.1")}},
		"a switchover, and back": {scenes: []scene{
			usual, saw("down +ok +ok", "x", "r7.1", "r7.1"), saw("down +ok +ok", "x", "w7.2", "r7.2"), saw("hold-down +ok +ok", "r7.2", "w7.2", "r7.2"),
			saw("hold-down down +ok", "r7.2", "x", "r7.2"), saw("+ok down +ok", "w7.3", "x", "r7.3"), saw("+ok hold-down +ok", "w7.3", "r7.3", "r7.3"),
			saw("+ok twin +ok", "w7.3", "w7.2", "r7.3"), saw("unreachable twin +ok", "-", "w7.2", "r7.3")}},
		"back to the old one, and the other is its standby": {scenes: []scene{
			usual, saw("down +ok +ok", "x", "w7.2", "r7.2"), saw("twin down +ok", "w7.1", "x", "r7.2"), saw("twin hold-down +ok", "w7.1", "r7.1", "r7.1"), saw("+ok hold-down +ok", "w7.1", "r7.1", "r7.1")}},
		"and the other was installed anew": {scenes: []scene{
			usual, saw("unreachable +ok +ok", "-", "w7.2", "r7.2"), saw("twin other-system +ok", "w7.1", "w8.1", "r7.2"), saw("twin other-system +ok", "w7.1", "r8.1", "r7.2")}},
		"a primary that is restored in its place": {scenes: []scene{
			saw("+ok +ok +ok", "w7.4", "r7.4", "r7.4"), saw("down +ok +ok", "x", "r7.4", "r7.4"), saw("+ok +ok +ok", "w7.2", "r7.4", "r7.4")}},
		"on one timeline the inventory decides": {scenes: []scene{
			usual, saw("+ok twin +ok", "w7.1", "w7.1", "r7.1"), saw("unreachable +ok +ok", "-", "w7.1", "r7.1"), saw("+ok +ok +ok", "w7.1"), saw("+ok twin +ok", "", "w7.1")}},
		"or who took over": {scenes: []scene{
			usual, saw("unreachable +ok +ok", "-", "r7.1", "w7.2"), saw("unreachable twin +ok", "-", "w7.2", "w7.2"), saw("twin twin +ok", "w7.2", "w7.2", "w7.2")}},
		"a timeline that is not known decides nothing": {scenes: []scene{
			saw("+ok +ok +ok", "w7.0", "r7.0", "r7.0"), saw("+ok twin +ok", "w7.0", "w7.2", "r7.0"), saw("unreachable +ok +ok", "-", "w7.2", "r7.2"), saw("twin +ok +ok", "w7.0", "w7.2", "r7.2")}},
		"systems that are not known are one": {scenes: []scene{
			saw("+ok +ok +ok", "w .1", "r .1", "r .1"), saw("unreachable +ok +ok", "-", "w .2", "r .2"), saw("twin +ok +ok", "w .1", "w .2", "r .2")}},

		"a delayed standby is promoted for what it still has": {members: func(m []Member) { m[2].Delay = time.Hour }, scenes: []scene{
			saw("+ok +ok delayed", "w7.1", "r7.1", "r7.1"), saw("+ok +ok twin", "w7.1", "r7.1", "w7.2"), saw("unreachable +ok delayed", "-", "r7.1", "w7.2"), saw("+ok +ok twin", "w7.1", "r7.1", "w7.2")}},
		"and one that traffic is kept away from": {members: func(m []Member) { m[2].Closed = true }, scenes: []scene{
			saw("+ok +ok closed", "w7.1", "r7.1", "r7.1"), saw("+ok +ok closed", "w7.1", "r7.1", "w7.2"), saw("+ok +ok closed", "w7.1", "r7.1", "w7.2")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := trio()
			if c.members != nil {
				c.members(m)
			}
			blank := func(text string) string { return strings.ReplaceAll(text, " ", "") }
			b := NewBoard(m, policy(), NewMemory("shop"))
			for i, s := range c.scenes {
				obs := s.obs
				s.obs = func(seconds float64) []Observation {
					out := obs(seconds)
					for i := range out {
						out[i].Server.SystemID = blank(out[i].Server.SystemID)
					}
					return out
				}
				play(t, b, i, s)
				// A restart in between changes nothing.
				again := NewBoard(m, policy(), b.Memory())
				for _, o := range s.obs(float64(20 * i)) {
					again.Take(o)
				}
				if d := cmp.Diff(b.Memory().Writes, again.Memory().Writes); d != "" {
					t.Errorf("scene %d, after a restart: %s", i, d)
				}
				b = again
			}
		})
	}
}

// TestADrainIsOfReads: a standby that a run has drained may be promoted, and gets the writes.
func TestADrainIsOfReads(t *testing.T) {
	t.Parallel()
	b := NewBoard(trio(), policy(), NewMemory("shop"))
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Operator: "anna@desk", Going: true, Drained: true}})
	play(t, b, 0, saw("+ok drained +ok", "w7.1", "r7.1", "r7.1"), saw("unreachable +ok +ok", "-", "w7.2", "r7.2"))
	if s := b.State("pg2", at(20), 0); !AskPrimary.Answer(s) {
		t.Errorf("%+v", s)
	}
}

// TestWhoTakesOverIsNamed, so that who finds the inventory's primary out knows why.
func TestWhoTakesOverIsNamed(t *testing.T) {
	t.Parallel()
	b := NewBoard(trio(), policy(), NewMemory("shop"))
	play(t, b, 0, saw("+ok +ok +ok", "w7.1", "r7.1", "r7.1"), saw("unreachable +ok +ok", "-", "w7.2", "r7.2"), saw("twin +ok other-system", "w7.1", "w7.2", "w8.1"))
	for host, want := range map[string]string{
		"pg1": "it takes writes on timeline 1, and they went on to pg2 on timeline 2",
		"pg3": "its system identifier is 8, that of the primary is 7",
	} {
		if s := b.State(host, at(40), 0); s.Why != want {
			t.Errorf("%s: %s", host, s.Why)
		}
	}
}

// TestWhatTheInventorySaysNowCounts more than where writes went when it said something else.
func TestWhatTheInventorySaysNowCounts(t *testing.T) {
	t.Parallel()
	b := NewBoard(trio(), policy(), NewMemory("shop"))
	play(t, b, 0, saw("+ok +ok +ok", "w7.1", "r7.1", "r7.1"), saw("unreachable +ok +ok", "-", "w7.2", "r7.2"))
	roles := func(primary string, names ...string) []Member {
		var out []Member
		for _, n := range names {
			m := Member{Name: n, Server: n, Role: inventory.Standby}
			if n == primary {
				m.Role = inventory.Primary
			}
			out = append(out, m)
		}
		return out
	}
	for name, c := range map[string]struct {
		members []Member
		then    []scene
	}{
		"the same":                                {trio(), []scene{saw("twin unreachable +ok", "w7.1", "-", "r7.2")}},
		"who took over is its primary":            {roles("pg2", "pg1", "pg2", "pg3"), []scene{saw("twin unreachable +ok", "w7.1", "-", "r7.2")}},
		"who took over is not in it any more":     {roles("pg1", "pg1", "pg3"), []scene{saw("+ok +ok", "w7.1", "", "r7.1")}},
		"a third is its primary, of a new system": {roles("pg3", "pg1", "pg2", "pg3"), []scene{saw("unreachable +ok +ok", "-", "", "w9.1"), saw("unreachable other-system +ok", "-", "w7.2", "w9.1")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := b.Memory()
			mem.Hosts = maps.Clone(mem.Hosts)
			play(t, NewBoard(c.members, policy(), mem), 2, c.then...)
		})
	}
}

// TestAfterARestartWhoHadTheWritesIsAskedFirst: hosts answer in any order, and the first one
// may be the one that was passed.
func TestAfterARestartWhoHadTheWritesIsAskedFirst(t *testing.T) {
	t.Parallel()
	usual := saw("+ok +ok +ok", "w7.1", "r7.1", "r7.1")
	for name, c := range map[string]struct {
		before, after []scene
	}{
		"a copy was started beside it":  {[]scene{usual}, []scene{saw("+ok twin +ok", "", "w7.1"), saw("+ok twin +ok", "w7.1", "w7.1")}},
		"and it has died":               {[]scene{usual}, []scene{saw("+ok twin +ok", "", "w7.1"), saw("unreachable +ok +ok", "-", "w7.1")}},
		"it was passed meanwhile":       {[]scene{usual}, []scene{saw("+ok +ok +ok", "", "w7.2"), saw("twin +ok +ok", "w7.1")}},
		"a copy of who took over":       {[]scene{usual, saw("unreachable +ok +ok", "-", "w7.2", "r7.2")}, []scene{saw("twin +ok +ok", "w7.2"), saw("twin +ok +ok", "w7.2", "w7.2")}},
		"nobody who may have had them":  {nil, []scene{saw("unseen +ok unseen", "", "w7.1"), saw("+ok twin unseen", "w7.1", "w7.1")}},
		"the system is not known again": {[]scene{usual}, []scene{saw("+ok +ok other-system", "", "", "w8.5"), saw("+ok +ok other-system", "w7.1")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := NewBoard(trio(), policy(), NewMemory("shop"))
			play(t, b, 0, c.before...)
			play(t, NewBoard(trio(), policy(), b.Memory()), len(c.before), c.after...)
		})
	}
	b := NewBoard(trio(), policy(), NewMemory("shop"))
	play(t, b, 0, usual, saw("unreachable +ok +ok", "-", "w7.2", "r7.2"))
	b = NewBoard(trio(), policy(), b.Memory())
	play(t, b, 2, saw("twin +ok +ok", "w7.2"))
	if s := b.State("pg1", at(40), 0); s.Why != "it takes writes, and pg2 had them last" {
		t.Error(s.Why)
	}
}

// TestTheOrderOfTheInventoryDecidesNothing between its primary and another.
func TestTheOrderOfTheInventoryDecidesNothing(t *testing.T) {
	t.Parallel()
	m := trio()
	m[0], m[2] = m[2], m[0]
	b := NewBoard(m, policy(), NewMemory("shop"))
	b.Take(writes("pg1", "7", 1, 0), writes("pg2", "7", 1, 0), writes("pg3", "7", 1, 0))
	if got := words(b, 0); got != "twin twin +ok" {
		t.Error(got)
	}
}

// TestPositionsOfAnotherSystemMeasureNothing: a standby that was made anew after pg_upgrade
// is not behind what the old system wrote.
func TestPositionsOfAnotherSystemMeasureNothing(t *testing.T) {
	t.Parallel()
	b := NewBoard(trio(), policy(), NewMemory("shop"))
	b.Take(writes("pg1", "7", 1, 0))
	o := writes("pg1", "9", 1, 20)
	o.Server.LSN += mb
	b.Take(o)
	if p := b.Memory().Primary; len(p) != 1 || b.Memory().SystemID != "9" {
		t.Errorf("%+v", b.Memory())
	}
}
