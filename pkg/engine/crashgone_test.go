package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// vanish makes a host answer nobody, from now on.
func (w *world) vanish(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name].running = false
	w.hosts[name].recovery = false
	w.slots["pg2"] = ""
	w.hook = func(_ context.Context, host, _ string) error {
		if host == name {
			return &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("no route to host")}
		}
		return nil
	}
}

func newWithout(name string, l layout) func(t *testing.T) *world {
	return func(t *testing.T) *world {
		t.Helper()
		w := newStandby(t, l)
		w.vanish(name)
		w.accept = []string{steps.SyncQuorum}
		return w
	}
}

func goneCases() []crashCase {
	synchronous := layout{waited: true}
	gone := map[string]string{"standby": "pg2", "to": "pg1"}
	alone := map[string]string{"standby": "pg2"}
	onePrimary := func(t *testing.T, w *world) {
		t.Helper()
		if got := strings.Join(w.writable(), " "); got != "" && got != "pg2" {
			t.Errorf("primaries: %s", got)
		}
	}
	return []crashCase{
		{name: "retire-gone-standby", plan: "retire-gone-standby", vars: gone, world: newWithout("pg2", layout{})},
		{name: "retire-gone-standby, commits wait", plan: "retire-gone-standby", vars: gone, world: newWithout("pg2", synchronous), every: 3},
		{name: "promote-standby-alone", plan: "promote-standby-alone", vars: alone, world: newWithout("pg1", layout{}), always: onePrimary,
			noReturn: "from its first write on there is no way back"},
	}
}
