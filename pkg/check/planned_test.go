package check

import "testing"

// TestAPauseIsSeenBeforeItsPlan: that is read from the primary. A run that goes on finds the
// standby as it was, and no strike is left.
func TestAPauseIsSeenBeforeItsPlan(t *testing.T) {
	t.Parallel()
	paused := func(seconds float64) []Observation {
		o := both(seconds, 300, 100)
		o[1].Server.Replay.Paused = true
		return o
	}
	run := func(going bool) map[string]Plan {
		return map[string]Plan{"pg2": {Run: "r1", Going: going, Paused: true}}
	}
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	look{both(0, 100, 100), true, OK}.check(t, 0, b)
	look{paused(2), false, Paused}.check(t, 1, b)
	look{paused(4), false, Paused}.check(t, 2, b)
	b = restarted(t, pair(), b, 5)
	b.Plan(run(true))
	look{paused(6), true, Held}.check(t, 3, b)
	look{paused(8), true, Held}.check(t, 4, b)
	if s := b.State("pg2", at(8), 0); s.Strikes != 0 || s.Run != "r1" {
		t.Errorf("%+v", s)
	}
	// A run that was interrupted sees to nothing. When it goes on, reads stay away.
	b.Plan(run(false))
	look{paused(10), false, Paused}.check(t, 5, b)
	look{paused(12), false, Paused}.check(t, 6, b)
	b.Plan(run(true))
	look{paused(14), false, Held}.check(t, 7, b)
	// So they do from one that was out before the pause.
	b = NewBoard(pair(), policy(), NewMemory("shop"))
	look{both(0, 200, 100), false, LagBytes}.check(t, 8, b)
	look{paused(2), false, Paused}.check(t, 9, b)
	b.Plan(run(true))
	look{paused(4), false, Held}.check(t, 10, b)
	// And from one that went out for another cause meanwhile.
	b = NewBoard(pair(), policy(), NewMemory("shop"))
	look{both(0, 100, 100), true, OK}.check(t, 11, b)
	look{paused(2), false, Paused}.check(t, 12, b)
	look{[]Observation{silent("pg2", 20)}, false, Unreachable}.check(t, 13, b)
	b.Plan(run(true))
	look{paused(22), false, Held}.check(t, 14, b)
}

// TestOneLostAnswerOfAHostThatIsOutAsPlannedIsNoNews: what was planned is so still, and no
// hold-down follows.
func TestOneLostAnswerOfAHostThatIsOutAsPlannedIsNoNews(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	look{both(0, 100, 100), true, OK}.check(t, 0, b)
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Operator: "anna@desk", Going: true, Drained: true}})
	look{both(2, 100, 100), false, Drained}.check(t, 1, b)
	look{[]Observation{silent("pg2", 8)}, false, Drained}.check(t, 2, b)
	if s := b.State("pg2", at(8), 0); !s.Fine() || s.Run != "r1" || policy().Agent(AskReplica, s, at(8)) != "up 0%\n" {
		t.Errorf("%+v", s)
	}
	b.Plan(nil)
	look{both(10, 200, 150), false, CatchingUp}.check(t, 3, b)
	look{[]Observation{silent("pg2", 12)}, false, CatchingUp}.check(t, 4, b)
	look{both(14, 200, 200), true, OK}.check(t, 5, b)
	// When it stays away, something else went wrong.
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Drained: true}})
	look{both(16, 200, 200), false, Drained}.check(t, 6, b)
	look{[]Observation{silent("pg2", 22.1)}, false, Unreachable}.check(t, 7, b)
	b.Plan(nil)
	look{both(24, 200, 200), false, HoldDown}.check(t, 8, b)
	// Who has the writes does not matter to one that may not have them.
	kept := pair()
	kept[0].Closed = true
	b = NewBoard(kept, policy(), NewMemory("shop"))
	b.Take(both(0, 100, 100)...)
	b.Take(writes("pg2", "7", 2, 2))
	b.Take(silent("pg1", 4))
	if got := words(b, 4); got != "closed +ok" {
		t.Error(got)
	}
}
