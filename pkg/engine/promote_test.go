package engine_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

func control(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("../postgres/testdata/control/" + name + ".control")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// startAgain starts pg1, which was a primary, as what its files make it.
func (m *machine) startAgain(fail func(int, string) error) error {
	if m.running {
		return fail(1, "another server might be running")
	}
	return m.w.change(m.name+": start", func() {
		m.running, m.recovery = true, m.fs.Has(m.data("standby.signal"))
		m.load()
		m.fs.Put(m.data("postmaster.pid"), "postgres", 0o600, pidFile(100))
		m.fs.Put(m.data("global/pg_control"), "postgres", 0o600, control(m.w.t, "15-running"))
		if m.w.hosts["pg2"].running {
			m.w.slots["pg2"] = "pg2"
		}
	})
}

func (m *machine) timeline() int {
	if m.name == "pg2" && m.running && !m.recovery {
		return 2
	}
	return 1
}

// promoting is newStandby, and the plan that makes pg2 the primary.
func promoting(t *testing.T, l layout) *world {
	t.Helper()
	l.late = false // one that stays behind on purpose is not promoted
	w := newStandby(t, l)
	w.plans, w.vars, w.accept = "promote-standby", map[string]string{"standby": "pg2", "primary": "stop"}, []string{steps.SyncQuorum}
	return w
}

func (w *world) writable() []string {
	var out []string
	for _, name := range []string{"pg1", "pg2"} {
		if m := w.hosts[name]; m.running && !m.recovery {
			out = append(out, name)
		}
	}
	return out
}

func TestPromotionAfterEveryCrashHasOnePrimaryAndEndsAsACleanRun(t *testing.T) {
	t.Parallel()
	matrixOf(t, 1, promoting, func(t *testing.T, w *world, _ int, _, end string) {
		if len(w.writable()) > 1 {
			t.Errorf("two primaries: %v", w.writable())
		}
		pre, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
		if err != nil {
			t.Fatal(err)
		}
		done := w.apply(t)
		differ(t, "-clean +resumed", end, w.state())
		if diff := cmp.Diff(effects(pre), done); diff != "" {
			t.Errorf("-preview +resumed:\n%s", diff)
		}
		if diff := cmp.Diff([]string{"pg2"}, w.writable()); diff != "" {
			t.Error(diff)
		}
		if pg1 := w.hosts["pg1"]; !pg1.fs.Has(pg1.data("standby.signal")) {
			t.Error("the old primary is not fenced")
		}
		again, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
		if err != nil || again.Effects() != 0 {
			t.Errorf("a second run: %v, %v", again, err)
		}
	})
}

func TestUndoOfAPromotionAfterEveryCrashStartsTheOldPrimaryUnlessItIsTooLate(t *testing.T) {
	t.Parallel()
	matrixOf(t, 1, promoting, func(t *testing.T, w *world, _ int, start, end string) {
		w.plans = "promote-standby" // whose lock is on pg2
		f, err := w.engine(nil, nil).Find(t.Context(), "run1")
		if fault.ClassOf(err) == fault.Usage || err == nil && !f.Open() {
			return // it had not begun, or had ended
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.engine(nil, nil).Undo(t.Context(), f)
		switch {
		case err == nil:
			differ(t, "-start +undone", start, w.state())
		case fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "cannot be undone"):
			t.Errorf("got %v", err)
		default:
			w.apply(t)
			differ(t, "-clean +resumed", end, w.state())
		}
		if len(w.writable()) != 1 {
			t.Errorf("primaries: %v", w.writable())
		}
	})
}

func TestPromotionBesideARunningPrimaryIsRefused(t *testing.T) {
	t.Parallel()
	w := promoting(t, layout{})
	w.vars["primary"] = "refuse"
	before := w.state()
	_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "two primaries") {
		t.Errorf("got %v", err)
	}
	w.plans, w.vars = "promote-standby-alone", map[string]string{"standby": "pg2"}
	if _, err = w.engine(nil, nil).Apply(t.Context(), w.plan()); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "that one may live") {
		t.Errorf("while it streams: got %v", err)
	}
	w.deaf = true
	if _, err = w.engine(nil, nil).Apply(t.Context(), w.plan()); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "it is not gone") {
		t.Errorf("got %v", err)
	}
	w.deaf = false
	differ(t, "-before +after", before, w.state())
}

// The lock and the copy of the journal are on pg2: pg1 answers nobody.
func TestPromotionWithoutThePrimaryNeedsNothingOfIt(t *testing.T) {
	t.Parallel()
	w := promoting(t, layout{})
	w.plans, w.vars = "promote-standby-alone", map[string]string{"standby": "pg2"}
	w.hosts["pg1"].running = false
	w.hook = func(_ context.Context, host, do string) error {
		if host == "pg1" {
			return &fault.Error{Class: fault.Unreachable, Host: "pg1"}
		}
		return nil
	}
	done := w.apply(t)
	if len(done) == 0 || w.hosts["pg2"].recovery {
		t.Errorf("did %v", done)
	}
	again, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
	if err != nil || again.Effects() != 0 {
		t.Errorf("a second run: %v, %v", again, err)
	}
}

// While nobody could write, somebody has promoted the standby by hand.
func TestUndoOfAPromotionDoesNotStartTheOldPrimaryBesideAnother(t *testing.T) {
	t.Parallel()
	w := promoting(t, layout{})
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg2" && !w.hosts["pg1"].running && strings.HasPrefix(do, "sql ") {
			return errors.New("cut off")
		}
		return nil
	}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.plan()); err == nil || len(w.writable()) > 0 {
		t.Fatalf("%v is writable: %v", w.writable(), err)
	}
	w.hook = nil
	w.hosts["pg2"].recovery = false
	f := w.found(t)
	before := w.state()
	_, err := w.engine(nil, nil).Undo(t.Context(), f)
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "a second primary") {
		t.Errorf("got %v", err)
	}
	if err := w.engine(nil, nil).RefuseUndoNow(t.Context(), f); fault.ClassOf(err) != fault.Refused {
		t.Errorf("a dry run says %v", err)
	}
	differ(t, "-before +after", before, w.state())
	w.apply(t)
	if diff := cmp.Diff([]string{"pg2"}, w.writable()); diff != "" {
		t.Error(diff)
	}
}

// Its lock and its journal are on the standby, and whoever comes meets it there too.
func TestARunBesideAnOpenPromotionOfAnotherMachineIsRefused(t *testing.T) {
	t.Parallel()
	w := promoting(t, layout{})
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg1" && strings.Contains(do, "pg_ctlcluster") {
			return errors.New("cut off")
		}
		return nil
	}
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.plan()); err == nil {
		t.Fatal("no error")
	}
	w.hook = nil
	w.elsewhere(t)
	before := w.state()
	w.plans, w.vars = "retire-standby", map[string]string{"standby": "pg2", "to": "pg1"}
	_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "run1 (promote-standby") {
		t.Errorf("got %v", err)
	}
	differ(t, "-before +after", before, w.state())
}

// A primary that died with the journal of a run, and comes back as a standby, has that still.
func TestAJournalThatIsLeftOnAFormerPrimaryIsInNobodysWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.list(does(failing()))); err == nil {
		t.Fatal("no error")
	}
	w.elsewhere(t)
	const copied = "/var/lib/postgresql/.pgrepctl/run1/journal.jsonl"
	pg1, pg2 := w.hosts["pg1"], w.hosts["pg2"]
	text, _ := pg1.fs.Get(copied)
	pg1.fs.Delete(copied)
	for _, dir := range []string{"/var/lib/postgresql/.pgrepctl", "/var/lib/postgresql/.pgrepctl/run1"} {
		pg2.fs.Dir(dir, "postgres", 0o700)
	}
	pg2.fs.Put(copied, "postgres", 0o600, text)
	w.apply(t)
}
