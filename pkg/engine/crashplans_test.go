package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/templates"
)

// crashCase is a built-in plan with something to do, which is stopped at every
// instant, resumed, and undone.
type crashCase struct {
	name  string
	plan  string
	vars  map[string]string
	world func(t *testing.T) *world
	// atOnce: it is begun without the lock, and typed again after a crash.
	atOnce bool
	// noReturn is the act that cannot be undone, empty if all can be.
	noReturn string
	// loses, if set, leaves out of a state what an undo does not bring back.
	loses func(state string) string
	// always holds in every state that a run, a resume or an undo leaves; onwards is
	// not asked of what an undo leaves.
	always, onwards func(t *testing.T, w *world)
	every           int // 0 is each instant
	// repeats: typed again it begins anew, for it does not ask whether it is needed.
	repeats bool
	// unsure: what has happened, and who has replayed it, a preview cannot know.
	unsure bool
}

func (c crashCase) of(w *world) *plan.Plan { return w.builtin(c.plan, c.vars) }

// try runs the plan as far as it comes.
func (c crashCase) try(t *testing.T, w *world) (*engine.Report, error) {
	if !c.atOnce {
		return w.engine(nil, nil).Apply(t.Context(), c.of(w))
	}
	out := w.engine(nil, nil).AtOnce(t.Context(), []*plan.Plan{c.of(w)})
	return out[0].Report, out[0].Err
}

func (c crashCase) preview(t *testing.T, w *world) *engine.Preview {
	t.Helper()
	if c.atOnce {
		out := w.engine(nil, nil).PreviewAtOnce(t.Context(), []*plan.Plan{c.of(w)})
		if out[0].Err != nil {
			t.Fatal(out[0].Err)
		}
		return out[0].Preview
	}
	pre, err := w.engine(nil, nil).Preview(t.Context(), c.of(w))
	if err != nil {
		t.Fatal(err)
	}
	return pre
}

// run does all that is left of the plan, which is what its preview shows.
func (c crashCase) run(t *testing.T, w *world) []string {
	t.Helper()
	pre := c.preview(t, w)
	r, err := c.try(t, w)
	if err != nil {
		t.Fatal(err)
	}
	want := effects(pre)
	if c.unsure {
		left := slices.Clone(r.Done)
		want = slices.DeleteFunc(want, func(e string) bool {
			i := slices.Index(left, e)
			if i >= 0 {
				left = slices.Delete(left, i, i+1)
			}
			return i < 0
		})
	}
	if diff := cmp.Diff(want, r.Done); diff != "" {
		t.Errorf("-preview +apply:\n%s", diff)
	}
	c.holds(t, w, true)
	return r.Done
}

func (c crashCase) holds(t *testing.T, w *world, onwards bool) {
	t.Helper()
	if onwards && c.onwards != nil {
		c.onwards(t, w)
	}
	if c.always != nil {
		c.always(t, w)
	}
}

// broken is a world in which the tool died at instant k of the run.
func (c crashCase) broken(t *testing.T, k int) *world {
	t.Helper()
	w := c.world(t)
	if !w.crash(k, func() { _, _ = c.try(t, w) }) {
		t.Fatal("the run ended before that")
	}
	c.holds(t, w, true)
	return w
}

func (w *world) finds(t *testing.T, id string) *engine.Found {
	t.Helper()
	f, err := w.engine(nil, nil).Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// over reports whether the last run has ended, and owes nothing.
func (w *world) over(t *testing.T) bool {
	t.Helper()
	runs, err := journal.List(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(runs) > 0 && runs[0].Over()
}

// takeBack undoes the last run, or sees that it cannot be undone and goes on with it.
func (c crashCase) takeBack(t *testing.T, w *world, start, end string) {
	t.Helper()
	if c.loses == nil {
		c.loses = func(state string) string { return state }
	}
	if c.noReturn == "" {
		w.undo(t)
		c.holds(t, w, false)
		differ(t, "-start +undone", c.loses(start), c.loses(w.state()))
		return
	}
	runs, err := journal.List(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) == 0 || !runs[0].Open() && !runs[0].Over() {
		return // it had not begun to act
	}
	e, f := w.engine(nil, nil), w.finds(t, runs[0].ID)
	_, err = e.Undo(t.Context(), f)
	c.holds(t, w, false)
	switch {
	case err == nil && runs[0].Open():
		differ(t, "-start +undone", c.loses(start), c.loses(w.state()))
	case err == nil:
		t.Error("a finished run was undone")
	case fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "cannot be undone: "+c.noReturn):
		t.Errorf("got %v", err)
	case runs[0].Over():
		differ(t, "-clean +refused", end, w.state())
	default:
		c.run(t, w)
		differ(t, "-clean +resumed", end, w.state())
	}
}

func crashCases() []crashCase {
	return slices.Concat(replayCases(), ddlCases(), goneCases(), convergeCases(), probeCases(), reseedCases())
}

// Each of the plans is stopped at every instant. Resumed, it ends as a clean run
// ends; that run can be undone then; and undone instead, it ends where it began.
func TestEveryPlanIsResumedAndUndoneAfterEveryCrash(t *testing.T) {
	t.Parallel()
	for _, c := range crashCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clean := c.world(t)
			from, start := len(clean.instants), clean.state()
			if len(c.run(t, clean)) == 0 {
				t.Fatal("nothing was done")
			}
			end := clean.state()
			instants, trace := clean.instants[from:], clean.trace[from:]
			if !c.repeats {
				if again := c.preview(t, clean); again.Effects() != 0 {
					t.Errorf("a second run would do %q", effects(again))
				}
			}
			for i, k := range instants {
				if i%(max(c.every, 1)*raced) != 0 {
					continue
				}
				t.Run(fmt.Sprint(k), func(t *testing.T) {
					w := c.broken(t, k)
					if !c.repeats || !w.over(t) {
						c.run(t, w)
					}
					differ(t, "-clean +resumed", end, w.state())
					c.takeBack(t, w, start, end)
					c.takeBack(t, c.broken(t, k), start, end)
					if t.Failed() {
						t.Logf("the tool died at %s", trace[i])
					}
				})
			}
		})
	}
}

// crashTests are the tests that stop other built-in plans at every instant.
func crashTests() map[string][]func(*testing.T) {
	out := map[string][]func(*testing.T){
		"bootstrap-standby": {TestResumeAfterEveryCrashEndsAsACleanRunAndCanBeUndone, TestUndoAfterEveryCrashEndsWhereTheRunBegan},
		"retire-standby":    {TestResumeOfARetirementAfterEveryCrashEndsAsACleanRunAndCanBeUndone, TestUndoOfARetirementAfterEveryCrashBringsTheStandbyBackStreaming},
		"promote-standby":   {TestPromotionAfterEveryCrashHasOnePrimaryAndEndsAsACleanRun, TestUndoOfAPromotionAfterEveryCrashStartsTheOldPrimaryUnlessItIsTooLate},
	}
	for name := range slotPlans() {
		out[name] = append(out[name], TestSlotPlansAreResumedAndUndoneAfterEveryCrash)
	}
	for name := range trafficPlans() {
		out[name] = append(out[name], TestTrafficPlansAreResumedAndUndoneAfterEveryCrash)
	}
	for _, c := range crashCases() {
		out[c.plan] = append(out[c.plan], TestEveryPlanIsResumedAndUndoneAfterEveryCrash)
	}
	return out
}

func TestEveryBuiltinPlanHasACrashTest(t *testing.T) {
	t.Parallel()
	files, err := templates.Plans.ReadDir("plans")
	if err != nil {
		t.Fatal(err)
	}
	tests := crashTests()
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".yaml")
		if len(tests[name]) == 0 {
			t.Errorf("%s is stopped at its records by no test: add a crashCase", name)
		}
		delete(tests, name)
	}
	if len(tests) > 0 {
		t.Errorf("no such plans: %v", slices.Sorted(maps.Keys(tests)))
	}
}

// A second crash comes while the first is mended.
func TestEveryPlanMendsASecondCrashToo(t *testing.T) {
	t.Parallel()
	for _, c := range crashCases() {
		if c.noReturn != "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clean := c.world(t)
			from, start := len(clean.instants), clean.state()
			c.run(t, clean)
			end := clean.state()
			for i, k := range clean.instants[from:] {
				if i%(7*max(c.every, 1)*raced) != 0 {
					continue
				}
				second := 1 + i*37%60
				t.Run(fmt.Sprint(k), func(t *testing.T) {
					w := c.broken(t, k)
					if c.repeats && w.over(t) {
						return
					}
					w.crash(second, func() { _, _ = c.try(t, w) })
					c.holds(t, w, true)
					if !c.repeats || !w.over(t) {
						c.run(t, w)
					}
					differ(t, "-clean +resumed twice", end, w.state())
					w = c.broken(t, k)
					w.crash(second, func() {
						e := w.engine(nil, nil)
						if runs, err := e.List(t.Context()); err == nil && len(runs) > 0 {
							if f, err := e.Find(t.Context(), runs[len(runs)-1].ID); err == nil {
								_, _ = e.Undo(t.Context(), f)
							}
						}
					})
					c.holds(t, w, false)
					c.takeBack(t, w, start, end)
				})
			}
		})
	}
}
