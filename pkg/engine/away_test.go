package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// cut is a cluster none of whose hosts can be asked.
type cut map[string]error

func (c cut) Gatherer(_ context.Context, name string) (Gatherer, error) { return nil, c[name] }
func (c cut) Host(_ context.Context, name string) (host.Host, error)    { return nil, c[name] }

func TestAllThatCannotBeAskedAreNamed(t *testing.T) {
	t.Parallel()
	gone := func(name string) error {
		return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("no route"), Hint: "ssh " + name}
	}
	locked := &fault.Error{Class: fault.Auth, Host: "pg3", Err: errors.New("no key"), Hint: "a key"}
	for name, c := range map[string]struct {
		cluster cut
		class   fault.Class
		text    string
		hosts   []string
	}{
		"one":             {cut{"pg2": gone("pg2")}, fault.Unreachable, "pg2: no route", nil},
		"two":             {cut{"pg2": gone("pg2"), "pg3": gone("pg3")}, fault.Unreachable, "2 hosts cannot be asked: pg2: no route; pg3: no route", []string{"pg2", "pg3"}},
		"one lets nobody": {cut{"pg2": gone("pg2"), "pg3": locked}, fault.Unreachable, "2 hosts cannot be asked: pg2: no route; pg3: no key", []string{"pg2", "pg3"}},
		"a refusal first": {cut{"pg2": gone("pg2"), "pg3": fault.Refuse("pg3", "", errors.New("no user"))}, fault.Refused, "pg3: no user", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var nodes []plan.Node
			for name := range c.cluster {
				nodes = append(nodes, plan.Node{Host: &inventory.Host{Name: name}})
			}
			err := newWorld(c.cluster).prefetch(t.Context(), nodes)
			if fault.ClassOf(err) != c.class || err.Error() != c.text {
				t.Errorf("class %d, %v", fault.ClassOf(err), err)
			}
			var many *Away
			var hosts []string
			if errors.As(err, &many) {
				hosts = many.Hosts
			}
			if diff := cmp.Diff(c.hosts, hosts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is past its point of no return goes on at those that can be reached.
func TestAHostThatIsGoneIsNoErrorOfARunThatOnlyGoesForward(t *testing.T) {
	t.Parallel()
	w := newWorld(cut{"pg2": &fault.Error{Class: fault.Unreachable, Host: "pg2", Err: errors.New("no route")}})
	w.onlyForward()
	if err := w.prefetch(t.Context(), []plan.Node{{Host: &inventory.Host{Name: "pg2"}}}); err != nil || !w.lost("pg2") {
		t.Errorf("%v, lost: %t", err, w.lost("pg2"))
	}
}
