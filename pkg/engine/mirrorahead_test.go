package engine_test

import (
	"strings"
	"testing"
)

// It was started when the lock was taken, and has ended by the time that there is
// something to keep.
func TestAMirrorThatDiedBeforeItWasAskedIsStartedOnceMore(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		w := newWorld(t, layout{})
		w.mirrorDies = map[int]bool{1: true, 2: again}
		_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
		switch {
		case !again && err != nil:
			t.Errorf("the run failed: %v", err)
		case again && (err == nil || !strings.Contains(err.Error(), "no route to host")):
			t.Errorf("there was none, and the run ended with %v", err)
		}
	}
}
