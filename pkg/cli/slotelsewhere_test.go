package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

func TestASlotThatIsNotThereIsLookedForOnTheOtherHosts(t *testing.T) {
	t.Parallel()
	inv := cluster(t, cascade)
	has := func(names ...string) status.Result {
		f := &facts.Host{Server: facts.Server{Running: true}}
		for _, n := range names {
			f.Server.Slots = append(f.Server.Slots, facts.Slot{Name: n, Type: "physical"})
		}
		return status.Result{Facts: f}
	}
	seen := map[string]status.Result{"pg2": has("pg3"), "pg3": has("pg5"), "pg4": has(), "pg5": {Err: errors.New("no answer")}}
	for name, want := range map[string]string{
		"pg3":  "warning: pg1 has no slot pg3, but pg2 has one\n  hint: if that one is meant: pgrepctl slot drop pg3 --on pg2",
		"pgg3": "warning: there is no slot pgg3 on pg1, pg4, pg2, pg3; not looked at: pg5, whose server could not be asked (did you mean pg3?)\n  hint: pgrepctl slot list",
	} {
		if got := strings.Join(slotElsewhere(inv, "pg1", name, seen), "\n"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}
