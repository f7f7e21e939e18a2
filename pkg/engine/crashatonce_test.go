package engine_test

import (
	"fmt"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// What is done at once keeps nobody from anything, dead or alive; a run of it that
// died can be resumed, or undone, as any other.
func TestAHoldThatDiedKeepsNobodyAndCanBeResumed(t *testing.T) {
	t.Parallel()
	hold := crashCase{plan: "hold-replay", vars: map[string]string{"standby": "pg2"}, world: newDelayed, always: keptFrom, atOnce: true}
	next := crashCase{plan: "replay-until", vars: map[string]string{"standby": "pg2", "target": "lsn " + targetAt.String()}, always: keptFrom}
	clean := newDelayed(t)
	hold.run(t, clean)
	end := clean.state()
	for _, k := range clean.instants {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			w := hold.broken(t, k)
			if len(next.run(t, w)) == 0 {
				t.Error("nothing was done")
			}
			w = hold.broken(t, k)
			runs, err := journal.List(w.dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(runs) == 0 || !runs[0].Open() {
				return // it had not begun to act, or had ended
			}
			r, err := w.engine(nil, nil).Resume(t.Context(), w.found(t))
			if err != nil || r.Status != journal.Succeeded {
				t.Errorf("%+v, %v", r, err)
			}
			differ(t, "-clean +resumed", end, w.state())
			if out := w.engine(nil, nil).AtOnce(t.Context(), []*plan.Plan{hold.of(w)}); out[0].Err != nil || len(out[0].Report.Done) > 0 {
				t.Errorf("a second hold: %+v", out[0])
			}
		})
	}
}
