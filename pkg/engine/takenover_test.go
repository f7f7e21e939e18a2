package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// asleep is a plan whose body is where the operator's machine falls asleep: inside the
// lock, and inside a bracket that has made a directory on each host.
func (w *world) asleep(wakes func(ctx context.Context) error) *plan.Plan {
	lock := bracket{open: []effect.Effect{&effect.TakeLock{Host: "pg1"}}, close: []effect.Effect{&effect.ReleaseLock{Host: "pg1"}}}
	made := []effect.Effect{dir("inner"), &effect.MakeDir{Host: "pg2", Path: "/etc/inner", Mode: 0o700}}
	body := &act{name: "sleep", do: func(ctx context.Context, _ effect.Env) error { return wakes(ctx) }}
	return w.list(inside{lock, []any{inside{bracket{open: made}, []any{does(body)}}}})
}

// made tells on which hosts that directory is.
func (w *world) made() (on []string) {
	for _, name := range []string{"pg1", "pg2"} {
		if w.hosts[name].fs.Has("/etc/inner") {
			on = append(on, name)
		}
	}
	return on
}

func (w *world) loseLock() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locks["pg1"].end()
}

// The machine of the run was suspended, a colleague went on with the run, or took it back,
// and what looks like the run's own is the colleague's by now.
func TestARunThatSomebodyElseWentOnWithTakesNothingBack(t *testing.T) {
	t.Parallel()
	ways := map[string]func(t *testing.T, w *world){
		"resumed elsewhere": func(t *testing.T, w *world) {
			f := w.found(t)
			f.PlanText = planText
			if _, err := w.engine(nil, nil).Resume(t.Context(), f); err == nil {
				t.Error("the colleague's run came to its end")
			}
		},
		"undone elsewhere": func(t *testing.T, w *world) {
			if _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); err != nil {
				t.Error(err)
			}
		},
	}
	wakes := map[string]func(ctx context.Context) error{
		"the lost lock is noticed": func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
		"another connection is noticed first": func(context.Context) error {
			return &fault.Error{Class: fault.Unreachable, Host: "pg2", Err: errors.New("connection lost")}
		},
	}
	for way, goOn := range ways {
		for how, wake := range wakes {
			t.Run(way+", "+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, layout{})
				var theirs, role string
				r, err := w.engine(nil, nil).Apply(t.Context(), w.asleep(func(ctx context.Context) error {
					w.loseLock()
					back := w.elsewhere(t)
					goOn(t, w)
					back()
					if on := w.made(); len(on) > 0 {
						t.Errorf("the colleague has left what the run held open on %q", on)
					}
					for _, name := range []string{"pg1", "pg2"} {
						w.hosts[name].fs.Dir("/etc/inner", "", 0o700) // made anew
					}
					theirs, role = w.copies(), w.roles["r"]
					return wake(ctx)
				}))
				var f *fault.Error
				if !errors.As(err, &f) || f.Class != fault.Refused || f.Hint != "look with: pgrepctl runs list" || !strings.Contains(err.Error(), "another operator went on with run run1") {
					t.Errorf("got %+v, %v", f, err)
				}
				if on := w.made(); len(on) != 2 {
					t.Errorf("what the colleague has made is left on %q", on)
				}
				if got := w.copies(); got != theirs || w.roles["r"] != role {
					t.Errorf("the copies of journals were\n%s\nand are\n%s", theirs, got)
				}
				if w.lockSession() != nil {
					t.Error("it holds the lock still")
				}
				if types := w.types(t); r != nil || types[len(types)-1] != "end failed" || slices.ContainsFunc(types, func(s string) bool { return strings.HasPrefix(s, "close") || strings.HasPrefix(s, "undone") }) {
					t.Errorf("a report %+v, and a journal with %q", r, types)
				}
			})
		}
	}
}

// copies is the text of all copies of journals on the primary.
func (w *world) copies() string {
	var b strings.Builder
	for _, r := range w.hosts["pg1"].runs() {
		text, _ := w.hosts["pg1"].fs.Get(r.Path)
		b.WriteString(r.Path + "\n" + text)
	}
	return b.String()
}

func TestARunThatLostItsLockToNobodyTakesBackWhatItHeldOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	_, err := w.engine(nil, nil).Apply(t.Context(), w.asleep(func(ctx context.Context) error {
		w.loseLock()
		<-ctx.Done()
		return context.Cause(ctx)
	}))
	if err == nil || !strings.Contains(err.Error(), "the lock session was lost") || strings.Contains(err.Error(), "another operator") {
		t.Errorf("%v", err)
	}
	if on := w.made(); len(on) > 0 {
		t.Errorf("left on %q", on)
	}
}

// cutOff is the way to the hosts without the one to pg1.
type cutOff struct {
	*world
	cut *bool
}

func (c cutOff) Host(ctx context.Context, name string) (host.Host, error) {
	if name == "pg1" && *c.cut {
		return nil, &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("no route to host")}
	}
	return c.world.Host(ctx, name)
}

var _ engine.Cluster = cutOff{}

func TestARunThatCannotAskForTheCopyTakesBackWhatItCanReach(t *testing.T) {
	t.Parallel()
	w, cut := newWorld(t, layout{}), false
	e := w.engine(nil, nil)
	e.Cluster = cutOff{w, &cut}
	_, err := e.Apply(t.Context(), w.asleep(func(ctx context.Context) error {
		cut = true
		w.loseLock()
		<-ctx.Done()
		return context.Cause(ctx)
	}))
	if err == nil || strings.Contains(err.Error(), "another operator") {
		t.Errorf("%v", err)
	}
	if on := w.made(); !slices.Equal(on, []string{"pg1"}) {
		t.Errorf("left on %q", on)
	}
}

// The last line of the copy was written, and its answer lost: that is no other operator.
func TestACopyOfWhichTheLastAnswerWasLostIsTheRunsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.unsaidCopy = errors.New("connection lost")
	_, err := w.engine(nil, nil).Apply(t.Context(), w.asleep(func(context.Context) error { return nil }))
	if err == nil || strings.Contains(err.Error(), "another operator") {
		t.Errorf("%v", err)
	}
}
