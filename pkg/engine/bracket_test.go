package engine_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

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
