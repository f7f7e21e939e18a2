package engine_test

import (
	"fmt"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// reopening drains a standby and lets reads in again, inside of a bracket that would.
func (w *world) reopening(t *testing.T) *plan.Plan {
	t.Helper()
	const text = `name: reopening
steps:
- lock: {}
  do:
  - at: pg2
    traffic-restored: {}
    do:
    - {at: pg2, traffic: {state: drained, if-last: drain}}
    - {at: pg2, traffic: {state: serving}}
`
	p, err := plan.Load("reopening", []byte(text), w.inv, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnUndoKeepsNoReadsAwayThatTheRunHadLetInAgain(t *testing.T) {
	t.Parallel()
	w := newTraffic(t, "ready")
	from, start := len(w.instants), w.state()
	w.run(t, w.reopening(t))
	differ(t, "-start +done", start, w.state())
	w.undo(t)
	differ(t, "-start +undone", start, w.state())
	for _, k := range w.instants[from:] {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			w := newTraffic(t, "ready")
			if !w.crash(k, func() { _, _ = w.engine(nil, nil).Apply(t.Context(), w.reopening(t)) }) {
				return // it was of the undo
			}
			w.undo(t)
			differ(t, "-start +undone", start, w.state())
		})
	}
}
