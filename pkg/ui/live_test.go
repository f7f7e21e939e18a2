package ui

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

// play emits events at the times that they name, relative to the first, and
// calls after each pause of at least a second.
func play(s Sink, events []event.Event, pause func(at time.Duration)) {
	start := time.Now()
	for _, e := range events {
		at := e.At.Sub(events[0].At)
		if wait := at - time.Since(start); wait > 0 {
			time.Sleep(wait - 1) // fake time, within a synctest bubble
			if pause != nil && wait >= time.Second {
				synctest.Wait()
				pause(at)
			}
			time.Sleep(1)
		}
		e.At = time.Time{}
		s.Emit(e)
	}
}

func TestLiveTerminalOverTime(t *testing.T) {
	t.Parallel()
	for _, width := range []int{100, 40} {
		synctest.Test(t, func(t *testing.T) {
			term := newScreen(t, width, 24)
			s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
			var frames strings.Builder
			play(s, bootstrap(), func(at time.Duration) {
				fmt.Fprintf(&frames, "---- before %s\n%s", Span(at), term.text())
			})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&frames, "---- closed\n%s", term.text())
			golden(t, fmt.Sprintf("live-%d.golden", width), frames.String())
		})
	}
}

// What stays on the terminal is what a log has, but for the progress lines.
func TestClosedLiveTerminalShowsThePlainLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term, plain := newScreen(t, 200, 5), newScreen(t, 200, 5)
		live := NewSink(term, SinkOptions{Mode: ModeLive, Color: true, Verbose: 2, Size: term.size})
		log := NewSink(plain, SinkOptions{Mode: ModePlain, Verbose: 2})
		play(live, bootstrap(), nil)
		if err := live.Close(); err != nil {
			t.Fatal(err)
		}
		play(log, bootstrap(), nil)
		var want []string
		for _, l := range lines(plain.text()) {
			if !strings.Contains(l, "  progress  ") {
				want = append(want, l)
			}
		}
		if d := cmp.Diff(want, lines(term.text())); d != "" {
			t.Error(d)
		}
	})
}

func copying(hosts int) []event.Event {
	var all []event.Event
	for i := range hosts {
		host := fmt.Sprintf("pg%d", i+1)
		e := event.Event{Node: "3", Host: host, Step: "rsync", Type: event.EffectStart, Text: "copy"}
		all = append(all, e)
	}
	return all
}

func TestLiveTerminalIsDrawnTenTimesASecondAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 100, 24)
		s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
		for i := range 3000 { // a thousand a second
			e := copying(3)[i%3]
			e.Type, e.Progress = event.Progressed, &event.Progress{Bytes: int64(i) << 20, Total: 4 << 30}
			s.Emit(e)
			time.Sleep(time.Millisecond)
		}
		if n := term.busiestSecond(); n > 11 || n < 8 {
			t.Errorf("%d writes in a second", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := term.text(); got != "" {
			t.Errorf("left behind: %q", got)
		}
	})
}

func TestIdleLiveTerminalIsWrittenOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 100, 24)
		s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
		emit(s, copying(2))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := term.count(); n < 29 || n > 33 {
			t.Errorf("%d writes in 30 seconds", n)
		}
		if want := "pg1       rsync            30s       copy\npg2       rsync            30s       copy\n"; term.text() != want {
			t.Error(cmp.Diff(want, term.text()))
		}
		s.Close()
	})
}

func TestLastEventOfABurstIsDrawnSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 100, 24)
		s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
		emit(s, copying(1))
		s.Emit(event.Event{Type: event.Warning, Host: "pg1", Step: "rsync", Text: "slow link"})
		time.Sleep(2 * redrawEvery)
		synctest.Wait()
		if !strings.Contains(term.text(), "slow link") {
			t.Errorf("%q", term.text())
		}
		s.Close()
	})
}

func TestLiveLinesNeverFillTheTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 80, 6)
		s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
		defer s.Close()
		emit(s, copying(40))
		for i := range 20 {
			time.Sleep(time.Second)
			s.Emit(event.Event{Type: event.NodeNoop, Node: fmt.Sprint("slot", i), Host: "pg0", Step: "slot", Text: fmt.Sprint("slot ", i)})
		}
		synctest.Wait()
		time.Sleep(redrawEvery)
		synctest.Wait()
		got := lines(term.text())
		if n := len(got); n != 20+5 {
			t.Fatalf("%d lines:\n%s", n, term.text())
		}
		if last := got[24]; last != "… and 36 more hosts\n" {
			t.Errorf("%q", last)
		}
		s.Close()
		if n := len(lines(term.text())); n != 20 {
			t.Errorf("%d lines left", n)
		}
	})
}

func TestResizedTerminalIsDrawnRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 100, 24)
		s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
		s.Emit(event.Event{Type: event.Warning, Host: "pg1", Step: "doctor", Text: "kept"})
		all := copying(4)
		for i := range all {
			all[i].Text = strings.Repeat("long text ", 12)
		}
		emit(s, all)
		time.Sleep(3 * time.Second)
		for _, width := range []int{50, 70, 20, 120} {
			synctest.Wait()
			term.resize(width, 24)
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		// The finished line stays as the narrowest window wrapped it.
		rows := lines(term.text())
		if n := strings.Count(term.text(), "rsync"); n != 4 || strings.Contains(strings.Join(rows[:len(rows)-4], ""), "long") {
			t.Errorf("not four live lines, last:\n%s", term.text())
		}
		s.Close()
		if got := strings.ReplaceAll(term.text(), "\n", ""); !strings.HasSuffix(got, "kept") || strings.Contains(got, "long") {
			t.Errorf("%q", got)
		}
	})
}

func TestPanicLeavesAnOrderlyTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 100, 24) // fails the test when a write leaves the cursor hidden
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
			defer s.Close()
			emit(s, copying(2))
			s.Emit(event.Event{Type: event.Warning, Host: "pg1", Step: "rsync", Text: "last words"})
			panic("bug")
		}()
		if want := "pg1       rsync            warning   last words\n"; term.text() != want {
			t.Error(cmp.Diff(want, term.text()))
		}
	})
}

func TestEventAfterCloseIsNotLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 100, 24)
		s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
		s.Close()
		s.Emit(event.Event{Type: event.Failed, Host: "pg1", Step: "backup", Text: "stop it"})
		emit(s, copying(1))
		if want := "pg1       backup           FAILED    stop it\n"; term.text() != want {
			t.Error(cmp.Diff(want, term.text()))
		}
	})
}

func TestLiveLineShowsTheInnermostWorkOfAHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		term := newScreen(t, 80, 24)
		s := NewSink(term, SinkOptions{Mode: ModeLive, Size: term.size})
		at := func(want string, e event.Event) {
			t.Helper()
			s.Emit(e)
			time.Sleep(redrawEvery)
			synctest.Wait()
			rows := lines(term.text())
			got := ""
			if len(rows) > 0 {
				got = strings.Join(strings.Fields(rows[len(rows)-1]), " ")
			}
			if got != want {
				t.Errorf("after %s of %s: %q, want %q", e.Type, e.Step, got, want)
			}
		}
		lock := event.Event{Node: "1", Host: "pg1", Step: "lock", Type: event.NodeStart}
		at("pg1 lock reading facts", lock)
		lock.Type, lock.Text = event.EffectStart, "take the lock"
		at("pg1 lock take the lock", lock)
		lock.Type = event.EffectDone
		at("pg1 lock open", lock)
		role := event.Event{Node: "1.1", Host: "pg1", Step: "role", Type: event.EffectStart, Text: "create role"}
		at("pg1 role create role", role)
		at("pg2 slot reading facts", event.Event{Node: "1.2", Host: "pg2", Step: "slot", Type: event.NodeStart})
		at("pg1 role create role", event.Event{Node: "1.2", Host: "pg2", Step: "slot", Type: event.NodeDone}) // pg1's line is the last again
		role.Type = event.EffectDone
		at("pg1 role open", role)
		// A step that only begins does not hide the one at work.
		lock.Type = event.EffectStart
		at("pg1 lock take the lock", lock)
		at("pg1 lock take the lock", event.Event{Node: "1.3", Host: "pg1", Step: "slot", Type: event.NodeStart})
		// A node that failed is not at work, on a host of its own or another's.
		other := event.Event{Node: "1.4", Host: "pg2", Step: "slot", Type: event.EffectStart, Text: "create slot"}
		at("pg2 slot create slot", other)
		other.Type = event.Failed
		at("pg1 lock take the lock", other)
		other.Type = event.EffectStart
		at("pg2 slot create slot", other)
		other.Type, other.Host = event.NodeDone, "pg1"
		at("pg1 lock take the lock", other)
		at("run 7f3a failed", event.Event{Type: event.RunEnd, Run: "7f3a", Text: "failed"}) // and nothing live is left
		s.Close()
	})
}
