package engine_test

import (
	"strings"
	"testing"
)

// newDelayed is a standby that replays two hours late, streams, and has received an
// accident that it has not replayed.
func newDelayed(t *testing.T) *world {
	t.Helper()
	w := newStandby(t, layout{late: true})
	w.hosts["pg2"].replay.at = replayedAt
	return w
}

func newHeld(t *testing.T) *world {
	t.Helper()
	w := newDelayed(t)
	w.hosts["pg2"].replay.paused = true
	return w
}

// newHeldTooLong is one that only the pause keeps from the accident.
func newHeldTooLong(t *testing.T) *world {
	t.Helper()
	w := newHeld(t)
	w.ofAge = true
	return w
}

// newAtTarget is one that stands at a recovery target, which nobody knows a run of.
func newAtTarget(t *testing.T) *world {
	t.Helper()
	w := newDelayed(t)
	pg2 := w.hosts["pg2"]
	text, _ := pg2.fs.Get(pg2.data("postgresql.auto.conf"))
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "recovery_min_apply_delay") {
			text = strings.Replace(text, line, "recovery_target_lsn = '"+targetAt.String()+"'\nrecovery_target_action = 'pause'\nrecovery_min_apply_delay = '0'", 1)
		}
	}
	pg2.fs.Put(pg2.data("postgresql.auto.conf"), "postgres", 0o600, text)
	pg2.load()
	pg2.startReplay()
	if pg2.replay.at != targetAt || !pg2.replay.paused {
		t.Fatalf("it stands at %s", pg2.replay.at)
	}
	return w
}

// keptFrom: pg2 has not replayed the accident, and is a standby.
func keptFrom(t *testing.T, w *world) {
	t.Helper()
	if pg2 := w.hosts["pg2"]; pg2.replay.at >= accidentAt || pg2.running && !pg2.recovery {
		t.Errorf("pg2 has replayed up to %s, in recovery: %v", pg2.replay.at, pg2.recovery)
	}
}

// pause leaves out of a state whether replay is paused: an undo that restarts the
// server does not bring a pause back, as docs/replay.md says.
func pause(state string) string { return strings.ReplaceAll(state, "paused=true", "paused=false") }

func replayCases() []crashCase {
	pg2 := map[string]string{"standby": "pg2"}
	until := map[string]string{"standby": "pg2", "target": "lsn " + targetAt.String()}
	return []crashCase{
		{name: "pause-replay", plan: "pause-replay", vars: pg2, world: newDelayed, always: keptFrom},
		{name: "resume-replay", plan: "resume-replay", vars: pg2, world: newHeld, always: keptFrom},
		{name: "resume-replay, to promote at a target", plan: "resume-replay", vars: map[string]string{"standby": "pg2", "at-target": "promote"}, world: newAtTarget,
			noReturn: "pg2 becomes a primary of its own"},
		{name: "replay-until", plan: "replay-until", vars: until, world: newDelayed, always: keptFrom},
		{name: "replay-until, of one that is held", plan: "replay-until", vars: until, world: newHeld, always: keptFrom,
			loses: pause, every: 3},
		{name: "replay-until, of one that is held and whose delay is over", plan: "replay-until", vars: until, world: newHeldTooLong, onwards: keptFrom,
			loses: pause, every: 3},
		{name: "follow-again", plan: "follow-again", vars: pg2, world: newAtTarget, always: keptFrom},
		{name: "hold-replay", plan: "hold-replay", vars: pg2, world: newDelayed, always: keptFrom, atOnce: true},
		{name: "release-replay", plan: "release-replay", vars: pg2, world: newHeld, always: keptFrom, atOnce: true},
	}
}
