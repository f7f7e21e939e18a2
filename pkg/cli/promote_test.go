package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
	"github.com/pgrepctl/pgrepctl/templates"
)

// cascade is pg1 -> pg2 -> pg3 -> pg5, and pg4 of pg1, which is delayed.
const cascade = `cluster: shop
postgres: {version: 15, data_directory: /data, config_directory: /data}
replication: {user: replicator, password: {env: PW}}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg4: {address: 10.0.0.14, role: standby, apply_delay: 4h}
  pg2: {address: 10.0.0.12, role: standby}
  pg3: {address: 10.0.0.13, role: standby, upstream: pg2}
  pg5: {address: 10.0.0.15, role: standby, upstream: pg3}
`

func cluster(t *testing.T, text string) *inventory.Cluster {
	t.Helper()
	inv, err := inventory.Parse("shop.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func hostOf(inv *inventory.Cluster, name string) *inventory.Host {
	h, _ := inv.Host(name)
	return h
}

// steps are those of a promotion's plan, inside its lock.
func (r promotion) steps(t *testing.T, inv *inventory.Cluster) []string {
	t.Helper()
	name, vars := r.plan(inv, hostOf(inv, r.host))
	text, err := templates.Plans.ReadFile("plans/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Load(name, text, inv, vars)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range p.Nodes[0].Body {
		out = append(out, n.Kind+" at "+n.Host.Name)
	}
	return out
}

func TestPromotionOfACascadedStandbyDropsItsSlotOnItsFormerUpstreamAtTheEnd(t *testing.T) {
	t.Parallel()
	inv := cluster(t, cascade)
	for name, c := range map[string]struct {
		r    promotion
		last string
	}{
		"stopped primary":            {promotion{host: "pg3", stop: true}, "slot at pg2"},
		"primary that does not run":  {promotion{host: "pg3"}, "slot at pg2"},
		"gone primary":               {promotion{host: "pg3", gone: true}, "slot at pg2"},
		"two levels down":            {promotion{host: "pg5", stop: true}, "slot at pg3"},
		"of the primary":             {promotion{host: "pg2", stop: true}, "repoint at pg4"},
		"upstream that is left out":  {promotion{host: "pg3", gone: true, without: []string{"pg2"}}, "repoint at pg4"},
		"gone primary, of this one":  {promotion{host: "pg2", gone: true}, "repoint at pg4"},
		"upstream, and another away": {promotion{host: "pg3", gone: true, without: []string{"pg4"}}, "slot at pg2"},
	} {
		if got := c.r.steps(t, inv); got[len(got)-1] != c.last || slices.Index(got, "promote at "+c.r.host) < 0 {
			t.Errorf("%s: want %s at the end of %q", name, c.last, got)
		}
	}
}

func TestPromotionNeedsNoUpstreamWhereTheInventoryWantsNoSlots(t *testing.T) {
	t.Parallel()
	inv := cluster(t, strings.Replace(cascade, "password: {env: PW}", "slots: false", 1))
	r := promotion{host: "pg3", gone: true}
	if got := r.steps(t, inv); slices.Contains(got, "slot at pg2") {
		t.Errorf("got %q", got)
	}
}

// The command that is named drops that slot once the inventory says what the lines before
// it say.
func TestTheSlotOnAFormerUpstreamThatIsLeftOutIsNamedAndPruned(t *testing.T) {
	t.Parallel()
	inv := cluster(t, cascade)
	line := func(r promotion) string {
		out := r.next(inv, hostOf(inv, r.host))
		if i := slices.IndexFunc(out, func(l string) bool { return strings.Contains(l, "pgrepctl slot prune --on pg2") }); i >= 0 {
			return out[i]
		}
		return ""
	}
	away := promotion{host: "pg3", gone: true, without: []string{"pg2"}}
	if got := line(away); !strings.Contains(got, "drop slot pg3") {
		t.Errorf("got %q", got)
	}
	for _, r := range []promotion{{host: "pg3", stop: true}, {host: "pg2", stop: true}} {
		if got := line(r); got != "" {
			t.Errorf("%s: %q, which the plan has done", r.host, got)
		}
	}
	after := cluster(t, strings.NewReplacer("pg1: {address: 10.0.0.11, role: primary}", "pg1: {address: 10.0.0.11, role: standby, upstream: pg3}",
		"10.0.0.13, role: standby, upstream: pg2}", "10.0.0.13, role: primary}", "10.0.0.12, role: standby}", "10.0.0.12, role: standby, upstream: pg3}",
		"10.0.0.14, role: standby,", "10.0.0.14, role: standby, upstream: pg3,").Replace(cascade))
	if s := (facts.Slot{Name: "pg3", Type: "physical"}); !slot.Strange(after, hostOf(after, "pg2"), s) || slot.Strange(inv, hostOf(inv, "pg2"), s) {
		t.Error("slot prune would not drop it, or would have before")
	}
}

func TestADelayedSiblingThatWasNotWaitedForIsNamed(t *testing.T) {
	t.Parallel()
	inv := cluster(t, cascade)
	want := "when pg4 has replayed what it has, 4h0m0s late as it should, to prove that it streams from pg2: pgrepctl standby verify pg4"
	for _, c := range []struct {
		r   promotion
		say bool
	}{
		{promotion{host: "pg2", stop: true}, true},
		{promotion{host: "pg2", gone: true}, true},
		{promotion{host: "pg2", gone: true, without: []string{"pg4"}}, false},
	} {
		out := strings.Join(c.r.next(inv, hostOf(inv, c.r.host)), "\n")
		if strings.Contains(out, want) != c.say || strings.Count(out, "standby verify") > 1 {
			t.Errorf("%+v: want %q: %t\n%s", c.r, want, c.say, out)
		}
	}
}
