package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// act is an effect of a test.
type act struct {
	name          string
	do            func(ctx context.Context, env effect.Env) error
	inverse       effect.Effect
	noReturn      string
	claim         string
	interruptible bool
}

func (a *act) Kind() string           { return "act" }
func (a *act) On() string             { return "pg1" }
func (a *act) Inverse() effect.Effect { return a.inverse }
func (a *act) Predict(effect.World)   {}
func (a *act) Claim() string          { return a.claim }
func (a *act) Interruptible() bool    { return a.interruptible }
func (a *act) Describe() effect.Description {
	return effect.Description{Verb: "do", Subject: a.name, NoReturn: a.noReturn}
}
func (a *act) Do(ctx context.Context, env effect.Env) (effect.Output, error) {
	if a.do == nil {
		return nil, nil
	}
	return nil, a.do(ctx, env)
}

// step is planned by a function.
type step func(ctx context.Context, in steps.In) (steps.Planned, error)

func (s step) Plan(ctx context.Context, in steps.In) (steps.Planned, error) { return s(ctx, in) }

type bracket struct{ open, close []effect.Effect }

func (b bracket) Open(context.Context, steps.In) (steps.Planned, error) {
	return steps.Planned{Effects: b.open}, nil
}
func (b bracket) Close(context.Context, steps.In) (steps.Planned, error) {
	return steps.Planned{Effects: b.close}, nil
}

func does(e ...effect.Effect) step {
	return func(context.Context, steps.In) (steps.Planned, error) { return steps.Planned{Effects: e}, nil }
}

func nothing(why string) step {
	return func(context.Context, steps.In) (steps.Planned, error) { return steps.Planned{Noop: why}, nil }
}

// list makes a plan of nodes: a steps.Step, or a node with a bracket.
func (w *world) list(nodes ...any) *plan.Plan {
	return &plan.Plan{Name: "test", Text: "name: test\nsteps: []\n", Vars: map[string]string{}, Cluster: w.inv, Nodes: w.nodes("", nodes)}
}

type inside struct {
	bracket
	body []any
}

func (w *world) nodes(prefix string, list []any) []plan.Node {
	var out []plan.Node
	for i, x := range list {
		n := plan.Node{ID: fmt.Sprintf("%s%d@pg1", prefix, i+1), Kind: "step", Host: w.inv.Primary()}
		switch x := x.(type) {
		case step:
			n.Step = x
		case inside:
			n.Kind, n.Bracket, n.Body = "bracket", x.bracket, w.nodes(fmt.Sprintf("%s%d.", prefix, i+1), x.body)
		}
		out = append(out, n)
	}
	return out
}

func dir(name string) *effect.MakeDir {
	return &effect.MakeDir{Host: "pg1", Path: "/etc/" + name, Mode: 0o700}
}

// recorder keeps events as "type text".
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := string(e.Type)
	if e.Type == event.Failed {
		line += " " + e.Error
	} else if e.Text != "" {
		line += " " + e.Text
	}
	r.lines = append(r.lines, line)
}

// held is a session of a test.
type held struct {
	lost   chan struct{}
	closed func()
}

func (h *held) Lost() <-chan struct{}       { return h.lost }
func (h *held) Close(context.Context) error { h.closed(); return nil }

func (w *world) types(t *testing.T) []string {
	t.Helper()
	recs, err := journal.Read(w.runFile())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		out = append(out, strings.TrimSpace(fmt.Sprint(r.Type, " ", r.Text, r.Node, r.Status)))
	}
	return out
}

func TestBracketOpensRunsItsBodyAndClosesInReverse(t *testing.T) {
	t.Parallel()
	w, rec := newWorld(t, layout{}), &recorder{}
	p := w.list(inside{bracket{[]effect.Effect{dir("a"), dir("b")}, []effect.Effect{&act{name: "close"}}},
		[]any{nothing("all is well"), does(&act{name: "one"}, &act{name: "two"})}})
	r, err := w.engine(rec, nil).Apply(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pg1: make directory /etc/a", "pg1: make directory /etc/b", "pg1: do one", "pg1: do two", "pg1: do close",
		"pg1: remove directory /etc/b if it is empty", "pg1: remove directory /etc/a if it is empty"}
	if diff := cmp.Diff(want, r.Done); diff != "" {
		t.Error(diff)
	}
	wantEvents := []string{"run-start test", "node-start", "effect-start make directory /etc/a", "effect-done make directory /etc/a",
		"effect-start make directory /etc/b", "effect-done make directory /etc/b", "node-start", "node-noop all is well", "node-start",
		"effect-start do one", "effect-done do one", "effect-start do two", "effect-done do two", "node-done", "effect-start do close", "effect-done do close",
		"effect-undo remove directory /etc/b if it is empty", "effect-undo remove directory /etc/a if it is empty", "node-done", "run-end done"}
	if diff := cmp.Diff(wantEvents, rec.lines); diff != "" {
		t.Error(diff)
	}
}

func TestBracketWithNothingInsideIsNotOpened(t *testing.T) {
	t.Parallel()
	w, rec := newWorld(t, layout{}), &recorder{}
	p := w.list(inside{bracket{open: []effect.Effect{dir("a")}}, []any{nothing("first"), inside{bracket{open: []effect.Effect{dir("b")}}, []any{nothing("second")}}}})
	r, err := w.engine(rec, nil).Apply(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Done) != 0 || r.Noops != 4 {
		t.Errorf("got %+v", r)
	}
	want := []string{"run-start test", "node-noop nothing to do inside", "node-start", "node-noop first", "node-noop nothing to do inside", "node-start", "node-noop second", "run-end done"}
	if diff := cmp.Diff(want, rec.lines); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("a run that did nothing left a journal")
	}
}

func TestBracketsAreClosedWhateverHappens(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		// body runs as the effect inside; stop and cancel are the operator's
		// first and second wish to stop.
		body   func(ctx context.Context, stop func(), cancel func(), lose func()) error
		want   string
		class  fault.Class
		status journal.Status
	}{
		{"a failure", func(context.Context, func(), func(), func()) error { return boom }, "step (step 1.1.1@pg1): boom", fault.Failed, journal.FailedRun},
		{"a wish to stop", func(_ context.Context, stop, _, _ func()) error { stop(); return nil }, "stopped by the operator", fault.Interrupted, journal.Interrupted},
		{"the end of the context", func(ctx context.Context, _, cancel, _ func()) error { cancel(); <-ctx.Done(); return ctx.Err() }, "step (step 1.1.1@pg1): context canceled", fault.Failed, journal.FailedRun},
		{"a lost session", func(ctx context.Context, _, _, lose func()) error { lose(); <-ctx.Done(); return ctx.Err() },
			"step (step 1.1.1@pg1): the s session was lost: context canceled", fault.Failed, journal.FailedRun},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, stopped := newWorld(t, layout{}), make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			closed := 0
			h := &held{lost: make(chan struct{}), closed: func() { closed++ }}
			open := &act{name: "hold", do: func(_ context.Context, env effect.Env) error { env.Hold("s", h); return nil }}
			body := &act{name: "body", do: func(ctx context.Context, _ effect.Env) error {
				return c.body(ctx, func() { close(stopped) }, cancel, func() { close(h.lost) })
			}}
			start := w.state()
			p := w.list(inside{bracket{open: []effect.Effect{dir("a")}}, []any{inside{bracket{open: []effect.Effect{open}}, []any{does(body, &act{name: "never"})}}}})
			r, err := w.engine(nil, stopped).Apply(ctx, p)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if got := fault.ClassOf(err); got != c.class || r.Status != c.status {
				t.Errorf("class %d, status %s", got, r.Status)
			}
			if closed != 1 {
				t.Errorf("the session was closed %d times", closed)
			}
			if !w.hosts["pg1"].fs.Has("/var/lib/postgresql/.pgrepctl/run1/journal.jsonl") {
				t.Error("the primary has no copy of the journal of a run that is not finished")
			}
			w.hosts["pg1"].forgetRuns()
			differ(t, "-start +closed", start, w.state())
			types := w.types(t)
			if got := types[len(types)-1]; got != "end "+string(c.status) {
				t.Errorf("the journal ends with %q", got)
			}
		})
	}
}

func TestOneFailureDoesNotKeepTheRestFromBeingClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	blocked := dir("b")
	p := w.list(inside{bracket{open: []effect.Effect{dir("a"), blocked}}, []any{does(&act{name: "x", do: func(context.Context, effect.Env) error {
		w.hosts["pg1"].fs.OnChange(func(change string, _ bool) error {
			if change == "remove /etc/b" {
				return errors.New("read-only file system")
			}
			return nil
		})
		return nil
	}})}})
	_, err := w.engine(nil, nil).Apply(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "close the bracket: remove directory /etc/b if it is empty: remove directory /etc/b: read-only file system") {
		t.Errorf("got %v", err)
	}
	if w.hosts["pg1"].fs.Has("/etc/a") {
		t.Error("/etc/a is still there")
	}
	w.hosts["pg1"].fs.OnChange(nil)
	if _, err := w.engine(nil, nil).Resume(t.Context(), w.found(t)); err != nil {
		t.Fatal(err)
	}
	if w.hosts["pg1"].fs.Has("/etc/b") {
		t.Error("a resume did not sweep /etc/b")
	}
}

func TestAnInterruptibleEffectIsCancelledByTheFirstWishToStop(t *testing.T) {
	t.Parallel()
	w, stop := newWorld(t, layout{}), make(chan struct{})
	p := w.list(does(&act{name: "copy", interruptible: true, do: func(ctx context.Context, _ effect.Env) error {
		close(stop)
		<-ctx.Done()
		return ctx.Err()
	}}))
	r, err := w.engine(nil, stop).Apply(t.Context(), p)
	if fault.ClassOf(err) != fault.Interrupted || r.Status != journal.Interrupted {
		t.Errorf("got %v, %s", err, r.Status)
	}
}

func TestPreviewCallsNoEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	a := &act{name: "x", do: func(context.Context, effect.Env) error {
		t.Error("an effect was done")
		return nil
	}}
	p, err := w.engine(nil, nil).Preview(t.Context(), w.list(inside{bracket{[]effect.Effect{a}, []effect.Effect{a}}, []any{does(a)}}))
	if err != nil || p.Effects() != 3 {
		t.Errorf("%d effects, %v", p.Effects(), err)
	}
	if _, err := os.Stat(w.dir); err == nil {
		t.Error("a preview left a journal")
	}
}

func TestFactsReadBeforeTheLockAreReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	var seen []bool
	look := step(func(ctx context.Context, in steps.In) (steps.Planned, error) {
		h, err := in.Facts.Of(ctx, "pg2")
		if err != nil {
			return steps.Planned{}, err
		}
		seen = append(seen, h.Data.HasData)
		// Another run ends here, and gives the lock free.
		w.hosts["pg2"].fs.Put(w.hosts["pg2"].data("PG_VERSION"), "postgres", 0o600, "15\n")
		return steps.Planned{Effects: []effect.Effect{&act{name: "x"}}}, nil
	})
	lock := bracket{[]effect.Effect{&effect.TakeLock{Host: "pg1"}}, []effect.Effect{&effect.ReleaseLock{Host: "pg1"}}}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(inside{lock, []any{look}})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]bool{false, true}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestAnActThatIsKnownNotToHaveHappenedIsNotUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	was := "# mine"
	hba := w.hosts["pg1"].conf("pg_hba.conf")
	f, err := w.hosts["pg1"].Files("postgres").Read(t.Context(), hba)
	if err != nil {
		t.Fatal(err)
	}
	edit := &effect.WriteFile{Host: "pg1", As: "postgres", Path: hba, Before: f, Data: []byte("new"), Mode: 0o600, Image: "/var/lib/postgresql/.pgrepctl/run1/hba"}
	w.hosts["pg1"].fs.Put(hba, "postgres", 0o640, was) // somebody else edits
	r, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(edit)))
	if fault.ClassOf(err) != fault.Refused || r.Status != journal.FailedRun {
		t.Fatalf("got %v", err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err != nil {
		t.Errorf("the undo stumbles over the other's edit: %v", err)
	}
	if got, _ := w.hosts["pg1"].fs.Get(hba); got != was || w.hosts["pg1"].fs.Has("/var/lib/postgresql/.pgrepctl") {
		t.Errorf("got %q, %s", got, w.hosts["pg1"].fs.Dump("/var/lib/postgresql/.pgrepctl"))
	}
}

func TestAnOpeningThatIsKnownNotToHaveHappenedIsNotClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	fails := &act{name: "open", inverse: dir("a").Inverse(), do: func(context.Context, effect.Env) error { return effect.ErrUntouched }}
	w.hosts["pg1"].fs.Dir("/etc/a", "", 0o700) // somebody else's
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(inside{bracket{open: []effect.Effect{fails}}, []any{does(&act{name: "x"})}})); err == nil {
		t.Fatal("no error")
	}
	if !w.hosts["pg1"].fs.Has("/etc/a") {
		t.Error("what was not opened was closed")
	}
}

func TestAResumedRunClaimsOnlyWhatItMayHaveMade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"lost connection", errors.New("connection lost"), true},
		{"refused by the server", effect.ErrUntouched, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layout{})
			a := &act{name: "slot", claim: "slot pg2", do: func(context.Context, effect.Env) error { return c.err }}
			if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(a))); err == nil {
				t.Fatal("no error")
			}
			var claimed bool
			ask := step(func(_ context.Context, in steps.In) (steps.Planned, error) {
				claimed = in.Run.Claimed("slot pg2")
				return steps.Planned{Noop: "asked"}, nil
			})
			if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(ask)); err != nil {
				t.Fatal(err)
			}
			if claimed != c.want {
				t.Errorf("claimed: %v", claimed)
			}
		})
	}
}

func TestASettleIsOwedBeforeItsFileIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	s := steps.Settle{Host: "pg1", Why: "pg_hba.conf"}
	broken := &act{name: "edit", do: func(context.Context, effect.Env) error { return errors.New("connection lost") }}
	edit := step(func(context.Context, steps.In) (steps.Planned, error) {
		return steps.Planned{Effects: []effect.Effect{broken}, Settles: []steps.Settle{s, s}}, nil
	})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(edit)); err == nil {
		t.Fatal("no error")
	}
	var owed []steps.Settle
	ask := step(func(_ context.Context, in steps.In) (steps.Planned, error) {
		owed = in.Run.Owed("pg1")
		return steps.Planned{Noop: "asked"}, nil
	})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(ask)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]steps.Settle{s}, owed); diff != "" {
		t.Error(diff)
	}
}

func TestUndoStopsAtAPointOfNoReturn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	p := w.list(does(dir("a"), &act{name: "overwrite", noReturn: "the old data are gone"}, dir("b")))
	if _, err := w.engine(nil, nil).Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	pre, err := w.engine(nil, nil).PreviewUndo(w.found(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pg1: remove directory /etc/b if it is empty", ": stop at do overwrite"}
	if diff := cmp.Diff(want, effects(pre)); diff != "" {
		t.Errorf("-want +preview:\n%s", diff)
	}
	r, err := w.engine(nil, nil).Undo(t.Context(), w.found(t))
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(fmt.Sprint(err), `"do overwrite" cannot be undone: the old data are gone`) {
		t.Errorf("got %v", err)
	}
	if fs := w.hosts["pg1"].fs; fs.Has("/etc/b") || !fs.Has("/etc/a") || r.Status != journal.FailedRun {
		t.Errorf("a: %v, b: %v, %s", fs.Has("/etc/a"), fs.Has("/etc/b"), r.Status)
	}
}

func TestAnotherOpenRunIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	fail := &act{name: "x", do: func(context.Context, effect.Env) error { return errors.New("boom") }}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(fail))); err == nil {
		t.Fatal("no error")
	}
	other := w.list(does(&act{name: "y"}))
	other.Name = "other"
	if _, err := w.engine(nil, nil).Apply(t.Context(), other); fault.ClassOf(err) != fault.Refused {
		t.Errorf("apply: %v", err)
	}
	if _, err := w.engine(nil, nil).Preview(t.Context(), other); fault.ClassOf(err) != fault.Refused {
		t.Errorf("preview: %v", err)
	}
	// The same plan goes on with the run.
	r, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(&act{name: "x"})))
	if err != nil || r.Run != "run1" {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := w.engine(nil, nil).Resume(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Refused {
		t.Errorf("resume of a finished run: %v", err)
	}
	for _, id := range []string{"none", "../run1", ""} {
		if _, err := w.engine(nil, nil).Find(t.Context(), id); fault.ClassOf(err) != fault.Usage {
			t.Errorf("run %q: %v", id, err)
		}
	}
}

func TestResumeAndUndoRespectTheClusterLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	fail := &act{name: "x", do: func(context.Context, effect.Env) error { return errors.New("boom") }}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(fail))); err == nil {
		t.Fatal("no error")
	}
	other, err := w.hosts["pg1"].SQL(t.Context(), host.Database{})
	if err != nil {
		t.Fatal(err)
	}
	var got []struct {
		OK bool `json:"ok"`
	}
	if err := other.Query(t.Context(), &got, "select pg_try_advisory_lock(1, 1) as ok"); err != nil || !got[0].OK {
		t.Fatal(err)
	}
	if _, err := w.engine(nil, nil).Resume(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Locked {
		t.Errorf("resume: %v", err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Locked {
		t.Errorf("undo: %v", err)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err != nil {
		t.Error(err)
	}
}
