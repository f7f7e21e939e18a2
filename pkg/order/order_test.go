package order_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/order"
)

var settings = []string{"max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"}

// trees are all shapes of replication trees with up to n nodes, as the upstream of
// each node; node 0 is the primary. Shapes that differ in the names alone are one.
func trees(n int) [][]int {
	seen, out := map[string]bool{}, [][]int{}
	var grow func(parents []int)
	grow = func(parents []int) {
		if key := shape(parents, 0); !seen[key] {
			seen[key] = true
			out = append(out, slices.Clone(parents))
		}
		if len(parents) == n {
			return
		}
		for p := range parents {
			grow(append(slices.Clone(parents), p))
		}
	}
	grow([]int{-1})
	return out
}

func shape(parents []int, at int) string {
	var below []string
	for i, p := range parents {
		if i > 0 && p == at {
			below = append(below, shape(parents, i))
		}
	}
	slices.Sort(below)
	return "(" + fmt.Sprint(below) + ")"
}

func TestThereAreAllShapesOfTrees(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{1: 1, 2: 2, 3: 4, 4: 8, 5: 17, 6: 37} { // OEIS A000081, summed up
		if got := len(trees(n)); got != want {
			t.Errorf("%d shapes of up to %d nodes, want %d", got, n, want)
		}
	}
}

func name(i int) string { return fmt.Sprint("pg", i+1) }

func nodes(parents []int, running, wanted func(node int, setting string) int64) []order.Node {
	var out []order.Node
	for i, p := range parents {
		n := order.Node{Name: name(i), Running: order.Values{}, Wanted: order.Values{}}
		if p >= 0 {
			n.Upstream = name(p)
		}
		for _, s := range settings {
			n.Running[s], n.Wanted[s] = running(i, s), wanted(i, s)
		}
		out = append(out, n)
	}
	return out
}

// check plays the restarts and compares where they end with what was wanted.
func check(t *testing.T, ns []order.Node) []order.Restart {
	t.Helper()
	list, err := order.Solve(ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, eager := range []bool{true, false} {
		s := newServers(ns)
		for _, r := range list {
			if err := s.play(r, eager); err != nil {
				t.Fatalf("eager %v: %v\n%s", eager, err, describe(ns, list))
			}
		}
		if err := s.catchUp(); err != nil {
			t.Fatalf("at the end: %v\n%s", err, describe(ns, list))
		}
		for _, n := range ns {
			if !maps.Equal(s.of[n.Name].values, n.Wanted) {
				t.Fatalf("%s ends with %v\n%s", n.Name, s.of[n.Name].values, describe(ns, list))
			}
		}
	}
	for _, r := range list {
		for _, e := range r.After {
			at := slices.IndexFunc(list, func(x order.Restart) bool { return x.Node == r.Node && x.Turn == r.Turn })
			if before := slices.IndexFunc(list, func(x order.Restart) bool { return x.Node == e.Node && x.Turn == e.Turn }); before < 0 || before > at {
				t.Fatalf("%s comes before %s, which its edge says it comes after\n%s", r.Node, e.Node, describe(ns, list))
			}
		}
	}
	return list
}

func describe(ns []order.Node, list []order.Restart) string {
	out := ""
	for _, n := range ns {
		out += fmt.Sprintf("%s of %q: %v -> %v\n", n.Name, n.Upstream, n.Running, n.Wanted)
	}
	for _, r := range list {
		out += fmt.Sprintf("restart %s %s %v\n", r.Node, r.Turn, r.Values)
	}
	return out
}

// Each setting goes up, goes down or stays, on all nodes alike: all 243 mixes on all
// 37 trees of up to six nodes.
func TestNoNodeBreaksTheRuleOnAnyTreeWithAnyMixOfUpAndDown(t *testing.T) {
	t.Parallel()
	for _, parents := range trees(6) {
		for mix := range 243 {
			way := func(s string) int64 {
				m := mix
				for range slices.Index(settings, s) {
					m /= 3
				}
				return int64(m%3) - 1
			}
			ns := nodes(parents, func(int, string) int64 { return 100 }, func(_ int, s string) int64 { return 100 + 50*way(s) })
			list := check(t, ns)
			// What the closed form says: the primary once, a standby once or twice.
			up, down := false, false
			for _, s := range settings {
				up, down = up || way(s) > 0, down || way(s) < 0
			}
			want := 0
			if up || down {
				want = len(ns)
			}
			if up && down {
				want = 2*len(ns) - 1
			}
			if len(list) != want {
				t.Fatalf("%d restarts, want %d\n%s", len(list), want, describe(ns, list))
			}
			check(t, restart(ns))
		}
	}
}

// restart adds another reason to restart on every second node.
func restart(ns []order.Node) []order.Node {
	out := slices.Clone(ns)
	for i := range out {
		out[i].Restart = i%2 == 0
	}
	return out
}

// The nodes need not be alike: every one may have a wish and a past of its own, as
// long as the wishes obey the rule.
func TestNodesMayHaveWishesOfTheirOwn(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	shapes := trees(6)
	for range 20000 {
		parents := shapes[rnd.IntN(len(shapes))]
		floor := map[string][2]int64{}
		for _, s := range settings {
			floor[s] = [2]int64{rnd.Int64N(3), rnd.Int64N(3)}
		}
		value := func(which int) func(int, string) int64 {
			return func(node int, s string) int64 {
				if node == 0 {
					return floor[s][which]
				}
				return floor[s][which] + rnd.Int64N(3)
			}
		}
		check(t, nodes(parents, value(0), value(1)))
	}
}

// After any prefix of the restarts, what is left is the rest: a run that was cut off
// goes on where it ended.
func TestWhatIsLeftAfterEachRestartIsTheRest(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	shapes := trees(5)
	for range 5000 {
		p := [2]int64{rnd.Int64N(3), rnd.Int64N(3)}
		value := func(which int) func(int, string) int64 {
			return func(node int, _ string) int64 { return p[which] + rnd.Int64N(3)*min(int64(node), 1) }
		}
		ns := nodes(shapes[rnd.IntN(len(shapes))], value(0), value(1))
		list := check(t, ns)
		for len(list) > 0 {
			i := slices.IndexFunc(ns, func(n order.Node) bool { return n.Name == list[0].Node })
			ns[i].Running = list[0].Values
			next, err := order.Solve(ns)
			if err != nil {
				t.Fatal(err)
			}
			if len(next) != len(list)-1 {
				t.Fatalf("%d restarts are left of %d\n%s", len(next), len(list), describe(ns, list))
			}
			for j := range next {
				if next[j].Node != list[j+1].Node || next[j].Turn != list[j+1].Turn || !maps.Equal(next[j].Values, list[j+1].Values) {
					t.Fatalf("then %v, first it was %v\n%s", next[j], list[j+1], describe(ns, list))
				}
			}
			list = next
		}
	}
}

// There is no way with fewer restarts that restarts the primary once: all ways are
// tried, on small trees.
func TestNoOtherOrderHasFewerRestarts(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, parents := range trees(3) {
		for range 150 {
			p := map[string][2]int64{}
			for _, s := range settings[:2] {
				p[s] = [2]int64{rnd.Int64N(2), rnd.Int64N(2)}
			}
			value := func(which int) func(int, string) int64 {
				return func(node int, s string) int64 {
					v := p[s][which]
					if node > 0 && p[s] != [2]int64{} {
						v += rnd.Int64N(2)
					}
					return v
				}
			}
			ns := nodes(parents, value(0), value(1))
			list := check(t, ns)
			if best := fewest(ns, len(list)); best < len(list) {
				t.Fatalf("%d restarts, %d are enough\n%s", len(list), best, describe(ns, list))
			}
		}
	}
}

func TestAStandbyThatIsTooLowAlreadyIsRaisedFirst(t *testing.T) {
	t.Parallel()
	// It stopped replaying when the primary went up to 200 (14 and later).
	ns := nodes([]int{-1, 0}, func(node int, _ string) int64 { return []int64{200, 100}[node] }, func(int, string) int64 { return 50 })
	list, err := order.Solve(ns)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, r := range list {
		got += fmt.Sprintf("%s %s %d; ", r.Node, r.Turn, r.Values["max_connections"])
	}
	if want := "pg2 before 200; pg1 primary 50; pg2 after 50; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAWishThatBreaksTheRuleIsRefused(t *testing.T) {
	t.Parallel()
	ns := nodes([]int{-1, 0, 1}, func(int, string) int64 { return 100 }, func(node int, _ string) int64 { return []int64{100, 200, 90}[node] })
	_, err := order.Solve(ns)
	var low *order.LowError
	if !errors.As(err, &low) || low.Node != "pg3" || low.Wanted != 90 || low.Primary != 100 {
		t.Errorf("%v", err)
	}
}

func TestEachEdgeSaysWhy(t *testing.T) {
	t.Parallel()
	ns := nodes([]int{-1, 0, 1}, func(int, string) int64 { return 100 }, func(_ int, s string) int64 {
		return map[string]int64{"max_connections": 200, "max_prepared_transactions": 50}[s] + map[bool]int64{true: 100}[s != "max_connections" && s != "max_prepared_transactions"]
	})
	got := ""
	for _, r := range check(t, ns) {
		for _, e := range r.After {
			got += fmt.Sprintf("%s %s after %s %s: %s\n", r.Node, r.Turn, e.Node, e.Turn, e.Why)
		}
	}
	want := `pg2 before after pg3 before: what streams from pg2 must not be lower than it, should it be promoted
pg1 primary after pg2 before: max_connections of pg2 is too low for what pg1 writes from then on
pg1 primary after pg3 before: max_connections of pg3 is too low for what pg1 writes from then on
pg2 after after pg1 primary: max_prepared_transactions may go down once the lower value of pg1 is replayed
pg2 after after pg2 before: what goes up does so first
pg3 after after pg1 primary: max_prepared_transactions may go down once the lower value of pg1 is replayed
pg3 after after pg2 after: what streams from pg2 must not be lower than it, should it be promoted
pg3 after after pg3 before: what goes up does so first
`
	if got != want {
		t.Errorf("edges:\n%s", got)
	}
}
