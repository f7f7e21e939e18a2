package replay

import (
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func at(state string, lsn postgres.LSN, waits string, ms int) Progress {
	p := Progress{InRecovery: true, State: &state, Replay: &lsn, Now: time.UnixMilli(int64(ms))}
	if waits != "" {
		p.Waits = &waits
	}
	return p
}

func version(t *testing.T, s string) postgres.Version {
	t.Helper()
	v, err := postgres.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAPauseHoldsWhenNothingMoreCanBeReplayed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what, version string
		reads         []Progress
		holds         bool // at the last of them, and not before
	}{
		{"14: the server says so", "14", []Progress{at(Requested, 1, "", 0), at(Paused, 1, "RecoveryPause", 10)}, true},
		{"14: a request alone never", "14", []Progress{at(Requested, 1, "", 0), at(Requested, 1, "", 2000), at(Requested, 1, "", 4000), at(Requested, 1, "", 6000), at(Requested, 1, "", 8000), at(Requested, 1, "", 9000)}, false},
		{"15: it waits out its delay", "15", []Progress{at(Requested, 1, "RecoveryApplyDelay", 0)}, true},
		{"11: it waits out its delay", "11", []Progress{at(Paused, 1, "RecoveryApplyDelay", 0)}, true},
		{"11: it stands still for a second", "11", []Progress{at(Paused, 1, "", 0), at(Paused, 1, "", 300), at(Paused, 1, "", 600), at(Paused, 1, "", 900), at(Paused, 1, "", 1200)}, true},
		{"11: read once, and a second later", "11", []Progress{at(Paused, 1, "", 0), at(Paused, 1, "", 1200)}, false},
		{"11: it moved meanwhile", "11", []Progress{at(Paused, 1, "", 0), at(Paused, 1, "", 300), at(Paused, 1, "", 600), at(Paused, 2, "", 900), at(Paused, 2, "", 1200)}, false},
		{"11: somebody resumed it", "11", []Progress{at(Paused, 1, "", 0), at(NotPaused, 1, "", 500), at(Paused, 1, "", 600), at(Paused, 1, "", 700), at(Paused, 1, "", 800), at(Paused, 1, "", 900), at(Paused, 1, "", 1100)}, false},
	} {
		s := Stillness{Version: version(t, c.version)}
		for i, p := range c.reads {
			last := i == len(c.reads)-1
			if got := s.Holds(p); got != (c.holds && last) {
				t.Errorf("%s: reading %d: %t", c.what, i, got)
			}
		}
	}
}

func TestAPauseForWhatIsWrittenLaterIsSeenInAFifthOfASecond(t *testing.T) {
	t.Parallel()
	s := Stillness{Version: version(t, "11"), Brief: true}
	for i, p := range []Progress{at(Paused, 1, "", 0), at(Paused, 2, "", 50), at(Paused, 2, "", 90), at(Paused, 2, "", 150), at(Paused, 2, "", 200), at(Paused, 2, "", 240), at(Paused, 2, "", 250)} {
		if got := s.Holds(p); got != (i == 6) {
			t.Errorf("reading %d: %t", i, got)
		}
	}
}

func TestLatenessIsGivenOnlyWhereItIsTrue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 7, 10, 0, 0, time.UTC)
	commit := now.Add(-90 * time.Second)
	lsn := func(l postgres.LSN) *postgres.LSN { return &l }
	for _, c := range []struct {
		what string
		p    Progress
		want float64 // -1: not known
	}{
		{"all is replayed, and it streams", Progress{Receive: lsn(9), Replay: lsn(9), ReplayedAt: &commit, Now: now, Receiver: "streaming"}, 0},
		{"all is replayed, and nothing comes in", Progress{Receive: lsn(9), Replay: lsn(9), ReplayedAt: &commit, Now: now}, -1},
		{"something is left", Progress{Receive: lsn(9), Replay: lsn(5), ReplayedAt: &commit, Now: now, Receiver: "streaming"}, 90},
		{"something is left, of unknown age", Progress{Receive: lsn(9), Replay: lsn(5), Now: now}, -1},
		{"it replays what is on its disk, and has not streamed yet", Progress{Replay: lsn(5), ReplayedAt: &commit, Now: now}, -1},
	} {
		got := -1.0
		if s := c.p.Seconds(); s != nil {
			got = *s
		}
		if got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

func TestTheDiskIsFullAtTheRateOfWhatComesIn(t *testing.T) {
	t.Parallel()
	lsn := func(l postgres.LSN) *postgres.LSN { return &l }
	first := Progress{Receive: lsn(1 << 20), Now: time.Unix(0, 0)}
	second := Progress{Receive: lsn(3 << 20), Now: time.Unix(2, 0)}
	rate := Rate(first, second)
	if rate == nil || *rate != 1<<20 {
		t.Fatalf("rate %v", rate)
	}
	if d := UntilFull(90<<20, rate); d == nil || *d != 90*time.Second {
		t.Errorf("full in %v", d)
	}
	still := 0.0
	for what, d := range map[string]*time.Duration{"nothing comes in": UntilFull(1, &still), "not known": UntilFull(1, nil), "for ever": UntilFull(1<<60, rate)} {
		if d != nil {
			t.Errorf("%s: %s", what, d)
		}
	}
	if Rate(first, first) != nil || Rate(Progress{}, second) != nil {
		t.Error("a rate of nothing")
	}
}

func TestARowSaysNothingOfWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	lsn := func(l postgres.LSN) *postgres.LSN { return &l }
	state := NotPaused
	p := Progress{InRecovery: true, State: &state, Receive: lsn(9), Replay: lsn(9), Receiver: "streaming", Now: time.Unix(1, 0)}
	if row := NewRow("pg2", Reading{First: p, Second: p, Upstream: 9}); row.BehindSeconds == nil || *row.BehindSeconds != 0 || *row.BehindBytes != 0 {
		t.Errorf("caught up: %+v", row)
	}
	if row := NewRow("pg2", Reading{First: p, Second: p, Upstream: 12}); row.BehindSeconds != nil || *row.BehindBytes != 3 {
		t.Errorf("with more on its way: %+v", row)
	}
	if row := NewRow("pg2", Reading{}); row.Error == "" {
		t.Errorf("a primary: %+v", row)
	}
}
