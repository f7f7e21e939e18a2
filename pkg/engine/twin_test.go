package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// leavesRecovery has pg2 come up as a standby, and open read-write a moment later, as a
// recovery target makes it.
func (w *world) leavesRecovery() {
	w.hook = func(_ context.Context, name, do string) error {
		pg2 := w.hosts["pg2"]
		w.mu.Lock()
		defer w.mu.Unlock()
		if name == "pg1" && strings.Contains(do, "from pg_stat_replication where application_name") && pg2.running {
			pg2.recovery = false
			w.slots["pg2"] = ""
		}
		return nil
	}
}

func TestANewStandbyThatOpensReadWriteWhileItIsWaitedForIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.deaf = true
	w.leavesRecovery()
	_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
	if fault.ClassOf(err) != fault.Failed || !strings.Contains(err.Error(), "it takes writes") {
		t.Errorf("class %d: %v", fault.ClassOf(err), err)
	}
	if pg2 := w.hosts["pg2"]; pg2.running {
		t.Error("it runs still")
	}
}

// The tool died after the start, and somebody promoted the server before the run was
// resumed: it is theirs.
func TestAServerThatAnEarlierProcessStartedIsNotStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	w.deaf = true
	stop, once := make(chan struct{}), sync.Once{}
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" && strings.Contains(do, "from pg_stat_replication where application_name") {
			once.Do(func() { close(stop) })
		}
		return nil
	}
	r, err := w.engine(nil, stop).Apply(t.Context(), w.plan())
	if fault.ClassOf(err) != fault.Interrupted || !w.hosts["pg2"].running {
		t.Fatalf("got %v", err)
	}
	w.leavesRecovery()
	var f *engine.Found
	if f, err = w.engine(nil, nil).Find(t.Context(), r.Run); err != nil {
		t.Fatal(err)
	}
	_, err = w.engine(nil, nil).Resume(t.Context(), f)
	if err == nil || !strings.Contains(err.Error(), "it takes writes") {
		t.Errorf("the resume ended with %v", err)
	}
	if !w.hosts["pg2"].running {
		t.Errorf("it was stopped: %v", err)
	}
}
