package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/templates"
)

// builtin is a built-in plan with its variables.
func (w *world) builtin(name string, vars map[string]string) *plan.Plan {
	w.t.Helper()
	text, err := templates.Plans.ReadFile("plans/" + name + ".yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := plan.Load(name, text, w.inv, vars)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// slotPlans are the built-in plans about slots, each with something to do on a
// primary with two forgotten slots.
func slotPlans() map[string]func(w *world) *plan.Plan {
	vars := map[string]map[string]string{
		"create-slot": {"slot": "receiver"},
		"drop-slot":   {"slot": "old"},
		"prune-slots": {},
		"limit-slots": {"size": "10GB"},
	}
	out := map[string]func(w *world) *plan.Plan{}
	for name, v := range vars {
		out[name] = func(w *world) *plan.Plan { return w.builtin(name, v) }
	}
	return out
}

func newSlotWorld(t testing.TB) *world {
	w := newWorld(t, layout{})
	keeps := postgres.LSN(0x1000000)
	w.keeps = &keeps
	w.slots["old"], w.slots["older"], w.slots["used"] = "", "", "pg_receivewal"
	return w
}

// run applies a plan, or resumes the run that is open.
func (w *world) run(t *testing.T, p *plan.Plan) []string {
	t.Helper()
	r, err := w.engine(nil, nil).Apply(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r.Done
}

func TestSlotPlansDoWhatTheirPreviewShowsAndNothingTwice(t *testing.T) {
	t.Parallel()
	for name, of := range slotPlans() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSlotWorld(t)
			start := w.state()
			pre, err := w.engine(nil, nil).Preview(t.Context(), of(w))
			if err != nil {
				t.Fatal(err)
			}
			differ(t, "the preview changed something: -before +after", start, w.state())
			if diff := cmp.Diff(effects(pre), w.run(t, of(w))); diff != "" {
				t.Errorf("-preview +apply:\n%s", diff)
			}
			if start == w.state() {
				t.Error("nothing was done")
			}
			if w.slots["used"] != "pg_receivewal" {
				t.Error("a slot in use was touched")
			}
			again, err := w.engine(nil, nil).Preview(t.Context(), of(w))
			if err != nil || again.Effects() != 0 {
				t.Errorf("a second run would do %q (%v)", effects(again), err)
			}
			w.undo(t)
			differ(t, "-start +undone", start, w.state())
		})
	}
}

func TestSlotPlansAreResumedAndUndoneAfterEveryCrash(t *testing.T) {
	t.Parallel()
	for name, of := range slotPlans() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newSlotWorld(t)
			start := c.state()
			c.run(t, of(c))
			end := c.state()
			for _, k := range c.instants {
				t.Run(fmt.Sprint(k), func(t *testing.T) {
					broken := func() *world {
						w := newSlotWorld(t)
						if !w.crash(k, func() { _, _ = w.engine(nil, nil).Apply(t.Context(), of(w)) }) {
							t.Fatal("the run ended before that")
						}
						return w
					}
					w := broken()
					w.run(t, of(w))
					differ(t, "-clean +resumed", end, w.state())
					w.undo(t)
					differ(t, "-start +resumed, undone", start, w.state())
					w = broken()
					w.undo(t)
					differ(t, "-start +undone", start, w.state())
				})
			}
		})
	}
}

func TestDropEndsTheWalsenderWhereThePlanSaysSo(t *testing.T) {
	t.Parallel()
	w := newSlotWorld(t)
	p := w.builtin("drop-slot", map[string]string{"slot": "used", "terminate": "true"})
	pre, err := w.engine(nil, nil).Preview(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(effects(pre), w.run(t, p)); diff != "" {
		t.Errorf("-preview +apply:\n%s", diff)
	}
	if w.has(w.slots, "used") {
		t.Error("it is still there")
	}
}

// A receiver that is restarted leaves its slot for a moment, which may be the one at which the
// operator says yes.
func TestNoSlotIsDroppedThatThePlanDidNotShow(t *testing.T) {
	t.Parallel()
	w := newSlotWorld(t)
	p := w.builtin("prune-slots", map[string]string{})
	e := w.engine(nil, nil)
	pre, err := e.Preview(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	w.slots["used"] = ""
	before := w.state()
	_, err = e.ApplyAfter(t.Context(), p, pre)
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "it would drop slot used now") {
		t.Errorf("got %v", err)
	}
	differ(t, "-before +after", before, w.state())
	w.slots["used"] = "pg_receivewal"
	delete(w.slots, "older") // what is needless by now is left out
	if pre, err = e.Preview(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if r, err := w.engine(nil, nil).ApplyAfter(t.Context(), p, pre); err != nil || strings.Contains(strings.Join(r.Done, "; "), "used") {
		t.Errorf("got %v, %v", r, err)
	}
}
