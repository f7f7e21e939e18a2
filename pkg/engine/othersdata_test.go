package engine_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// Another machine has retired the standby since, and made it anew: its own journal is not
// known here.
func TestAnUndoLeavesAStandbyThatWasMadeAnewElsewhere(t *testing.T) {
	t.Parallel()
	for _, l := range []layout{{}, {exclusive: true}} {
		w := newWorld(t, l)
		w.apply(t)
		back := w.elsewhere(t)
		old := w.hosts["pg2"].data("backup_label.old")
		w.hosts["pg2"].fs.Put(old, "postgres", 0o600, "START WAL LOCATION: 0/5000028\nLABEL: pgrepctl\nSTART TIME: 2027-01-01 04:00:00 UTC\n")
		back()
		start := w.state()
		for name, undo := range map[string]func() error{
			"undo":    func() error { _, err := w.engine(nil, nil).Undo(t.Context(), w.found(t)); return err },
			"preview": func() error { return w.engine(nil, nil).RefuseUndoNow(t.Context(), w.found(t)) },
		} {
			err := undo()
			var f *fault.Error
			if !errors.As(err, &f) || f.Class != fault.Refused || f.Host != "pg2" || !strings.Contains(err.Error(), old+" is of another backup (LABEL: pgrepctl, START TIME: 2027-01-01 04:00:00 UTC)") {
				t.Errorf("%s: %v", name, err)
			}
		}
		differ(t, "-as the other one left it +now", start, w.state())
		if types := w.types(t); types[len(types)-1] != "end done" {
			t.Errorf("the undo was begun: %q", types)
		}
	}
}

// cutOnce is the way to the hosts without the first one to pg2.
type cutOnce struct {
	*world
	asked int
}

func (c *cutOnce) Host(ctx context.Context, name string) (host.Host, error) {
	if name == "pg2" {
		if c.asked++; c.asked == 1 {
			return nil, &fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("no route to host")}
		}
	}
	return c.world.Host(ctx, name)
}

// A host that does not answer when it is asked whose copy it has is left alone, also when it
// answers a moment later.
func TestAnUndoLeavesAHostAloneThatCouldNotSayWhoseCopyItHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	w.slots["pg2"] = "" // it does not stream
	e := w.engine(nil, nil)
	e.Cluster = &cutOnce{world: w}
	if _, err := e.Undo(t.Context(), w.found(t)); fault.ClassOf(err) != fault.Unreachable {
		t.Errorf("got %v", err)
	}
	if !w.hosts["pg2"].running || !w.hosts["pg2"].fs.Has(w.hosts["pg2"].data("PG_VERSION")) {
		t.Error("it was taken back")
	}
}

func TestNothingIsUndoneUnderAnOpenRunOfAnotherMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.apply(t)
	back := w.elsewhere(t)
	e := w.engine(nil, nil)
	e.NewID = func() string { return "run7" }
	if _, err := e.Apply(t.Context(), w.list(does(failing()))); err == nil {
		t.Fatal("no error")
	}
	back()
	start := w.state()
	for name, undo := range map[string]func() error{
		"undo":    func() error { _, err := w.engine(nil, nil).Undo(t.Context(), w.finds(t, "run1")); return err },
		"preview": func() error { return w.engine(nil, nil).RefuseUndoNow(t.Context(), w.finds(t, "run1")) },
	} {
		if err := undo(); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "run run7 (test, by anna@desk") {
			t.Errorf("%s: %v", name, err)
		}
	}
	differ(t, "-as the other one left it +now", start, w.state())
}

func TestNothingIsUndoneUnderALaterRunThatIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	finished(t, w.dir, "run1", journal.Succeeded)
	finished(t, w.dir, "run2", journal.FailedRun)
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.finds(t, "run1")); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "run run2 (bootstrap-standby) came later, and is not finished") {
		t.Errorf("got %v", err)
	}
}

// hints are all that an error's tree has.
func hints(err error) string {
	out := ""
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // each by itself
		out = f.Hint
	}
	switch x := err.(type) { //nolint:errorlint // each by itself
	case interface{ Unwrap() error }:
		return out + hints(x.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			out += hints(e)
		}
	}
	return out
}

// The primary could not be reached when the run was abandoned, so its copy stayed; and
// another machine went on with that.
func TestACopyThatAnotherMachineWentOnWithIsNotRemovedAsLeftBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("a"), failing()))); err == nil {
		t.Fatal("no error")
	}
	w.stuckCopy = errors.New("no route to host")
	if err := w.engine(nil, nil).Abandon(t.Context(), w.found(t)); err != nil {
		t.Fatal(err)
	}
	w.stuckCopy = nil
	w.goesOnElsewhere(t)
	theirs := w.copies()
	if theirs == "" {
		t.Fatal("there is no copy")
	}
	refused := func(what string, err error) {
		t.Helper()
		hint := hints(err)
		if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "run run1 (test, by anna@desk") || !strings.Contains(hint, "pgrepctl runs resume run1") {
			t.Errorf("%s: %v, %q", what, err, hint)
		}
		if got := w.copies(); got != theirs {
			t.Errorf("%s: the copy was\n%s\nand is\n%s", what, theirs, got)
		}
	}
	other := w.list(does(&act{name: "y"}))
	other.Name = "other"
	_, err := w.engine(nil, nil).Preview(t.Context(), other)
	refused("preview", err)
	// It comes to the host only while the lock is waited for.
	b, err := os.ReadFile(w.runFile())
	if err != nil {
		t.Fatal(err)
	}
	lock := bracket{open: []effect.Effect{&effect.TakeLock{Host: "pg1"}}, close: []effect.Effect{&effect.ReleaseLock{Host: "pg1"}}}
	late := w.list(inside{lock, []any{does(&act{name: "y"})}})
	late.Name = "other"
	file := w.hosts["pg1"].runs()[0].Path
	var put string
	put, _ = w.hosts["pg1"].fs.Get(file)
	w.hosts["pg1"].fs.Put(file, "postgres", 0o600, string(b[:bytes.IndexByte(b, '\n')+1]))
	w.hook = func(_ context.Context, on, what string) error {
		if on == "pg1" && strings.Contains(what, "pg_try_advisory_lock") {
			w.hosts["pg1"].fs.Put(file, "postgres", 0o600, put)
		}
		return nil
	}
	_, err = w.engine(nil, nil).Apply(t.Context(), late)
	w.hook = nil
	refused("apply", err)
	if runs, err := w.engine(nil, nil).List(t.Context()); err != nil || len(runs) == 0 || runs[0].ID != "run1" || !runs[0].Open() || runs[0].On != "pg1" {
		t.Errorf("list: %+v, %v", runs, err)
	}
	if _, err := w.engine(nil, nil).Undo(t.Context(), w.finds(t, "run1")); err != nil {
		t.Error(err)
	}
	if _, ok := w.roles["r"]; ok || w.copies() != "" {
		t.Errorf("what the other machine did is left: role %t, copies %q", ok, w.copies())
	}
}
