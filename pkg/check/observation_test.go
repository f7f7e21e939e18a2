package check

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// TestTheTimeThatAnAnswerTakesIsNoLag: to connect to a primary far away takes seconds. So much
// was written when it had answered, and no more when it was asked.
func TestTheTimeThatAnAnswerTakesIsNoLag(t *testing.T) {
	t.Parallel()
	history := Positions{}.Add(at(0), at(2.5), 100*mb).Add(at(10), at(12.5), 200*mb).Add(at(15), at(15.1), 200*mb)
	for name, c := range map[string]struct {
		replayed     int
		least, most  float64
		primary      Positions
		at, answered float64
	}{
		"what it lacks was there at the answer":       {150, 7.5, 21, history, 20, 21},
		"and not before, however long the other took": {150, 0, 12, history, 11, 12},
		"what it has was all at the question":         {200, 0, 6, history, 20, 21},
		"remembered before answers were":              {150, 10, 21, Positions{{LSN: 100 * mb, First: at(0), Last: at(0)}, {LSN: 200 * mb, First: at(10), Last: at(15)}}, 20, 21},
	} {
		o := standby(c.at, c.replayed)
		o.Answered, o.Server.Replay.Receive = at(c.answered), ptr(postgres.LSN(250*mb))
		lag := LagOf(o, c.primary, true)
		if lag.AtLeast == nil || lag.AtMost == nil {
			t.Errorf("%s: %+v", name, lag)
			continue
		}
		if d := cmp.Diff([]float64{c.least, c.most}, []float64{lag.AtLeast.Seconds(), lag.AtMost.Seconds()}); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	// A clock that is set back while somebody answers.
	o := standby(20, 150)
	o.Answered = at(-3600)
	if lag := LagOf(o, history, true); *lag.AtMost != 20*time.Second {
		t.Errorf("%s", *lag.AtMost)
	}
}

// TestABoardRemembersWhenThePrimaryHadAnswered, over a restart as well.
func TestABoardRemembersWhenThePrimaryHadAnswered(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	slow := primary(0, 101)
	slow.Answered = at(9)
	b.Take(slow, standby(0, 100))
	text, err := b.Memory().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(text, "shop", at(10))
	if err != nil {
		t.Fatal(err)
	}
	b = NewBoard(pair(), policy(), m)
	b.Take(both(10, 101, 100)...)
	if s := b.State("pg2", at(10), 0); s.LagSecondsAtLeast == nil || *s.LagSecondsAtLeast != 1 {
		t.Errorf("%+v", s)
	}
}

// TestOneLongTransactionIsNoLag: CREATE INDEX writes for minutes before it commits, and a
// standby replays it as it comes. Who looks for the first time knows no older position.
func TestOneLongTransactionIsNoLag(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	for i := range 3 {
		obs := both(float64(2*i), 1000+100*i, 980+100*i)
		obs[1].Server.Replay.LastReplayAge = ptr(float64(300 + 2*i))
		look{obs, true, OK}.check(t, i, b)
	}
}

func TestAMemberIsKnownByItsServerAtTheBalancers(t *testing.T) {
	t.Parallel()
	cl := &inventory.Cluster{Hosts: []*inventory.Host{{Name: "pg1", Role: inventory.Primary}, {Name: "pg2", Role: inventory.Standby, Traffic: "reads/db-2"},
		{Name: "pg3", Role: inventory.Standby, Traffic: "db-3"}, {Name: "pg4", Role: inventory.Standby, Traffic: inventory.NoTraffic}}}
	var got [][2]string
	for _, m := range Members(cl) {
		got = append(got, [2]string{m.Balanced, m.Server})
	}
	if d := cmp.Diff([][2]string{{"pg1", "pg1"}, {"reads/db-2", "db-2"}, {"db-3", "db-3"}, {"pg4", "pg4"}}, got); d != "" {
		t.Error(d)
	}
	// The journal of a run names the server as HAProxy does.
	recs := []journal.Record{{Seq: 1, Type: journal.Start, Run: &journal.Run{ID: "r1"}},
		{Seq: 2, Type: journal.Intent, Effect: "balance", Host: "lb1", Inverse: []byte(`{"effect":{"host":"lb1","backend":"reads","server":"db-2","serve":true}}`)}}
	if plans := PlansOf(recs, true, Members(cl)); !plans["pg2"].Drained {
		t.Errorf("%+v", plans)
	}
}

// TestWhoDoesNotFollowThePromotedIsOut, when it is looked at as well: what the old primary has
// written last is all that is known without it.
func TestWhoDoesNotFollowThePromotedIsOut(t *testing.T) {
	t.Parallel()
	frozen := reads("pg2", "7", 1, 20)
	frozen.Server.Replay.ReceiverStatus = ""
	promoted := writes("pg3", "7", 2, 20)
	promoted.Server.LSN = 300 * mb
	for want, obs := range map[string][]Observation{"unreachable +ok +ok": {silent("pg1", 20), frozen}, "unreachable lag-bytes +ok": {silent("pg1", 20), frozen, promoted}} {
		b := NewBoard(trio(), policy(), NewMemory("shop"))
		play(t, b, 0, saw("+ok +ok +ok", "w7.1", "r7.1", "r7.1"))
		b.Take(obs...)
		if got := words(b, 20); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
}
