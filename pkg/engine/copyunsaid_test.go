package engine_test

import (
	"errors"
	"testing"
)

// The first copy of the journal comes to its place, and who has put it there is lost
// before that can be said: nothing was done, and the copy must not keep others from
// beginning.
func TestACopyWhoseWritingFailedKeepsNobodyFromBeginning(t *testing.T) {
	t.Parallel()
	for _, stuck := range []error{nil, errors.New("no route to host")} {
		w := newWorld(t, layout{})
		w.unsaidCopy, w.stuckCopy = errors.New("connection lost"), stuck
		if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("a")))); err == nil {
			t.Fatal("no error")
		}
		w.stuckCopy = nil
		if stuck != nil { // then it is owed, also by a run that finds nothing to do any more
			runs, err := w.engine(nil, nil).List(t.Context())
			if err != nil || len(runs) != 1 || !runs[0].CopyLeft || !runs[0].Open() {
				t.Fatalf("a copy that cannot be removed is not owed: %+v, %v", runs, err)
			}
			if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(nothing("done by hand"))); err != nil {
				t.Errorf("it cannot be resumed: %v", err)
			}
		}
		if left := w.hosts["pg1"].runs(); len(left) > 0 {
			t.Errorf("a copy is left: %+v", left)
		}
		w.elsewhere(t)
		if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(dir("b")))); err != nil {
			t.Errorf("another machine: %v", err)
		}
	}
}
