package check

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func ptr[T any](v T) *T { return &v }

// t0 is when tests begin.
var t0 = time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }

const mb = 1 << 20

// standby observes a standby that has replayed some megabytes of WAL, and received
// no more.
func standby(seconds float64, replayed int) Observation {
	l := postgres.LSN(replayed * mb)
	return Observation{Host: "pg2", At: at(seconds), Server: facts.Server{Running: true, InRecovery: true, SystemID: "7", Timeline: 1,
		Replay: facts.Replay{ReceiverStatus: "streaming", Receive: &l, Replay: &l}}}
}

func primary(seconds float64, written int) Observation {
	return Observation{Host: "pg1", At: at(seconds), Server: facts.Server{Running: true, SystemID: "7", Timeline: 1, LSN: postgres.LSN(written * mb),
		Senders: []facts.Sender{{Application: "pg2", SyncState: "async"}}}}
}

func silent(host string, seconds float64) Observation {
	return Observation{Host: host, At: at(seconds), Err: "connect: no route to host"}
}

func pair() []Member {
	return []Member{{Name: "pg1", Role: inventory.Primary, Server: "pg1"}, {Name: "pg2", Role: inventory.Standby, Server: "pg2", Upstream: "pg1", Slot: "pg2"}}
}

// policy has limits in whole megabytes.
func policy() Policy {
	return Policy{MaxBytes: 64 * mb, MinBytes: 16 * mb, MaxTime: 30 * time.Second, MinTime: 10 * time.Second, HoldDown: 30 * time.Second, Stall: time.Minute, Grace: 6 * time.Second}
}

// look is a step of a story: what was observed, and what is to be said of pg2.
type look struct {
	obs    []Observation
	in     bool
	reason Reason
}

func (l look) check(t *testing.T, i int, b *Board) {
	t.Helper()
	b.Take(l.obs...)
	s := b.State("pg2", l.obs[len(l.obs)-1].At, 0)
	if s.In != l.in || s.Reason != l.reason {
		t.Errorf("look %d: in %t, %s (%s); want in %t, %s", i, s.In, s.Reason, s.Why, l.in, l.reason)
	}
}

func both(seconds float64, written, replayed int) []Observation {
	return []Observation{primary(seconds, written), standby(seconds, replayed)}
}

func TestAStandbyIsJudgedByWhatItWasBefore(t *testing.T) {
	t.Parallel()
	paused := func(seconds float64, written, replayed int) []Observation {
		o := both(seconds, written, replayed)
		o[1].Server.Replay.Paused = true
		return o
	}
	cut := func(seconds float64, written, replayed int) []Observation {
		o := both(seconds, written, replayed)
		o[1].Server.Replay.ReceiverStatus = ""
		return o
	}
	// alone is a standby beside a primary that says nothing.
	alone := func(how func(float64, int, int) []Observation, seconds float64, replayed int) Observation {
		return how(seconds, 0, replayed)[1]
	}
	behind := func(seconds float64) Observation {
		o := alone(cut, seconds, 99)
		o.Server.Replay.Receive = ptr(postgres.LSN(100 * mb))
		return o
	}
	for name, c := range map[string]struct {
		policy  func(*Policy)
		members func([]Member)
		looks   []look
	}{
		"caught up": {looks: []look{{both(0, 100, 100), true, OK}, {both(2, 200, 200), true, OK}}},
		"between the limits it stays what it is": {looks: []look{
			{both(0, 100, 100), true, OK},
			{both(2, 140, 100), true, OK},          // 40 MB: not out yet
			{both(4, 170, 101), false, LagBytes},   // 69 MB
			{both(6, 171, 131), false, CatchingUp}, // 40 MB: not in yet
		}},
		"at the minimum it is good, at the maximum not bad": {policy: func(p *Policy) { p.MaxTime = 0 }, looks: []look{
			{both(0, 164, 100), true, OK},
			{both(1, 165, 100), false, LagBytes},
			{both(2, 166, 150), false, HoldDown},
			{both(31.9, 166, 150), false, HoldDown},
			{both(32, 166, 166), true, OK},
		}},
		"the hold-down counts from the last time that it was not good": {looks: []look{
			{both(0, 100, 100), true, OK},
			{both(2, 200, 100), false, LagBytes},
			{both(4, 200, 200), false, HoldDown},
			{both(20, 220, 203), false, CatchingUp}, // 17 MB
			{both(22, 220, 220), false, HoldDown},
			{both(34, 220, 220), false, HoldDown},
			{both(52, 220, 220), true, OK},
		}},
		"the first look has nothing to hold against it": {looks: []look{{both(0, 130, 100), true, OK}}},
		"the first look finds it too late":              {looks: []look{{both(0, 200, 100), false, LagBytes}}},
		"a hold-down doubles each time, and is forgiven": {looks: []look{
			{both(0, 100, 100), true, OK},
			{both(2, 200, 100), false, LagBytes}, {both(4, 200, 200), false, HoldDown}, {both(33, 200, 200), false, HoldDown}, {both(34, 200, 200), true, OK},
			{both(66, 300, 200), false, LagBytes}, {both(68, 300, 300), false, HoldDown}, {both(127, 300, 300), false, HoldDown}, {both(128, 300, 300), true, OK},
			{both(728, 300, 300), true, OK},
			{both(790, 400, 300), false, LagBytes}, {both(792, 400, 400), false, HoldDown}, {both(822, 400, 400), true, OK},
		}},
		"an idle primary makes no lag": {looks: []look{{both(0, 100, 100), true, OK}, {both(600, 100, 100), true, OK}, {both(7200, 100, 100), true, OK}}},
		"its data grows old while a receiver seems to live": {looks: []look{
			{both(0, 100, 100), true, OK}, {both(2, 101, 100), true, OK}, {both(20, 101, 100), true, OK}, {both(33, 101, 100), false, LagTime}}},
		"it has received what it does not replay": {policy: func(p *Policy) { p.MaxTime = 0 }, looks: []look{
			{both(0, 100, 100), true, OK}, {both(2, 101, 100), true, OK}, {both(60, 102, 100), true, OK}, {both(61, 102, 101), true, OK}, {both(120, 102, 101), true, OK}, {both(121, 102, 101), false, Stuck}}},
		"a rest is no stall":           {looks: []look{{both(0, 100, 100), true, OK}, {both(600, 100, 100), true, OK}, {both(660, 101, 100), true, OK}, {both(661, 101, 101), true, OK}}},
		"no receiver, nothing written": {looks: []look{{both(0, 100, 100), true, OK}, {cut(60, 100, 100), true, OK}}},
		"no receiver, and it falls behind": {looks: []look{
			{both(0, 100, 100), true, OK}, {cut(2, 101, 100), true, OK}, {cut(33, 102, 100), false, LagTime}, {cut(35, 102, 102), false, NoReceiver}, {both(37, 102, 102), false, HoldDown}}},
		"no receiver at the first look": {looks: []look{{cut(0, 100, 100), false, NoReceiver}}},
		"the primary is gone: who has all that is known stays in": {looks: []look{
			{both(0, 100, 100), true, OK},
			{[]Observation{silent("pg1", 600), {Host: "pg2", At: at(600), Server: cut(600, 0, 100)[1].Server}}, true, OK}}},
		"the primary is gone: what nobody will send makes it no older": {looks: []look{
			{both(0, 100, 99), true, OK},
			{[]Observation{silent("pg1", 10), alone(cut, 10, 99)}, true, OK},
			{[]Observation{silent("pg1", 3600), alone(cut, 3600, 99)}, true, OK}}},
		"the primary is gone: what it has received it has to replay": {looks: []look{
			{both(0, 100, 99), true, OK},
			{[]Observation{silent("pg1", 10), behind(10)}, true, OK},
			{[]Observation{silent("pg1", 59), behind(59)}, true, OK},
			{[]Observation{silent("pg1", 60), behind(60)}, false, Stuck}}},
		"the primary is gone: who is out stays out": {looks: []look{
			{both(0, 200, 100), false, LagBytes},
			{[]Observation{silent("pg1", 10), alone(cut, 10, 190)}, false, NoReceiver},
			{[]Observation{silent("pg1", 3600), alone(cut, 3600, 190)}, false, NoReceiver}}},
		"the server of the primary is stopped": {looks: []look{
			{both(0, 100, 99), true, OK}, {[]Observation{{Host: "pg1", At: at(2)}, alone(cut, 600, 99)}, true, OK}}},
		"one lost answer is no news, three are": {looks: []look{
			{both(0, 100, 100), true, OK}, {[]Observation{silent("pg2", 2)}, true, OK}, {[]Observation{silent("pg2", 6)}, true, OK}, {[]Observation{silent("pg2", 6.1)}, false, Unreachable},
			{both(8, 100, 100), false, HoldDown}, {both(37, 100, 100), false, HoldDown}, {both(38, 100, 100), true, OK}}},
		"a refused login is no lost packet":         {looks: []look{{both(0, 100, 100), true, OK}, {[]Observation{{Host: "pg2", At: at(1), Err: "no", Refused: true}}, false, Unreachable}}},
		"a server that does not run is out at once": {looks: []look{{both(0, 100, 100), true, OK}, {[]Observation{{Host: "pg2", At: at(1)}}, false, Down}}},
		"a server that starts":                      {looks: []look{{[]Observation{{Host: "pg2", At: at(1), Server: facts.Server{NotReady: "the database system is starting up"}}}, false, NotReady}}},
		"a pause is out at once": {looks: []look{
			{both(0, 100, 100), true, OK}, {paused(2, 100, 100), false, Paused}, {both(4, 100, 100), false, HoldDown}, {both(33, 100, 100), false, HoldDown}, {both(34, 100, 100), true, OK}}},
		"a delayed standby is never in":     {members: func(m []Member) { m[1].Delay = time.Hour }, looks: []look{{both(0, 100, 100), false, Delayed}, {both(600, 100, 100), false, Delayed}}},
		"traffic: none is never in":         {members: func(m []Member) { m[1].Closed = true }, looks: []look{{both(0, 100, 100), false, Closed}, {both(600, 100, 100), false, Closed}}},
		"another system":                    {looks: []look{{[]Observation{primary(0, 100), func() Observation { o := standby(0, 100); o.Server.SystemID = "8"; return o }()}, false, OtherSystem}}},
		"a second server that takes writes": {looks: []look{{[]Observation{primary(0, 100), func() Observation { o := primary(0, 100); o.Host = "pg2"; return o }()}, false, Twin}}},
		"a look an hour: two good ones in a row, and it comes in": {looks: []look{
			{both(0, 100, 100), true, OK}, {both(3600, 200, 100), false, LagBytes}, {both(7200, 200, 200), false, HoldDown}, {both(10800, 200, 200), true, OK}}},
		"a look an hour: what comes between counts": {looks: []look{
			{both(0, 100, 100), true, OK}, {both(3600, 200, 100), false, LagBytes}, {both(7200, 200, 200), false, HoldDown}, {[]Observation{silent("pg2", 10800)}, false, Unreachable},
			{both(14400, 200, 200), false, HoldDown}, {both(18000, 200, 200), true, OK}}},
		"a look in twenty minutes, and a longer hold-down": {policy: func(p *Policy) { p.HoldDown = time.Hour }, looks: []look{
			{both(0, 200, 100), false, LagBytes}, {both(1200, 200, 200), false, HoldDown}, {both(2400, 200, 200), false, HoldDown}, {both(3600, 200, 200), false, HoldDown}, {both(4800, 200, 200), true, OK}}},
		"its data must be new to come in": {policy: func(p *Policy) { p.MaxBytes = 0 }, looks: []look{
			{both(0, 100, 100), true, OK}, {both(2, 101, 100), true, OK}, {both(33, 101, 100), false, LagTime}, {both(45, 110, 101), false, CatchingUp}, {both(48, 120, 110), false, HoldDown}}},
		"the primary dies, and it is promoted": {looks: []look{
			{both(0, 100, 100), true, OK}, {[]Observation{silent("pg1", 10)}, true, OK},
			{[]Observation{func() Observation { o := primary(12, 101); o.Host = "pg2"; return o }()}, true, OK}}},
		"promoted while the primary is gone": {looks: []look{{[]Observation{silent("pg1", 0), func() Observation { o := primary(0, 100); o.Host = "pg2"; return o }()}, true, OK}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, m := policy(), pair()
			if c.policy != nil {
				c.policy(&p)
			}
			if c.members != nil {
				c.members(m)
			}
			b := NewBoard(m, p, NewMemory("shop"))
			for i, l := range c.looks {
				l.check(t, i, b)
			}
		})
	}
}

func TestWhatARunDidIsPlanned(t *testing.T) {
	t.Parallel()
	paused := both(4, 300, 100)
	paused[1].Server.Replay.Paused = true
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	look{both(0, 100, 100), true, OK}.check(t, 0, b)
	// The run moves the traffic itself: a paused standby serves until it does.
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Operator: "anna@desk", Going: true, Paused: true}})
	look{paused, true, Held}.check(t, 1, b)
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Operator: "anna@desk", Going: true, Paused: true, Drained: true}})
	look{paused, false, Drained}.check(t, 2, b)
	if s := b.State("pg2", at(4), 0); s.Run != "r1" || !strings.Contains(s.Why, "run r1 (by anna@desk)") || !s.Fine() {
		t.Errorf("%+v", s)
	}
	// When that is over there is no hold-down, but no lag either.
	b.Plan(nil)
	look{both(6, 300, 150), false, CatchingUp}.check(t, 3, b)
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Drained: true}})
	look{both(8, 300, 200), false, Drained}.check(t, 4, b)
	b.Plan(nil)
	look{both(10, 300, 270), false, CatchingUp}.check(t, 5, b)
	look{both(12, 300, 300), true, OK}.check(t, 6, b)
	// What went wrong meanwhile was not planned.
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Drained: true}})
	look{both(14, 300, 300), false, Drained}.check(t, 7, b)
	look{[]Observation{{Host: "pg2", At: at(16)}}, false, Down}.check(t, 8, b)
	b.Plan(nil)
	look{both(18, 300, 300), false, HoldDown}.check(t, 9, b)
	// A run that was interrupted sees to nothing any more.
	b.Plan(map[string]Plan{"pg2": {Run: "r1", Paused: true}})
	look{paused, false, Paused}.check(t, 10, b)
}

// The lag of a standby in archive recovery beside a busy primary: a file is
// replayed, then the next has to be fetched, so the lag swings around any limit on
// its way down. Without memory a check changes its mind at each swing.
func TestACatchUpThatSwingsAroundTheLimitMakesTwoChangesAtMost(t *testing.T) {
	t.Parallel()
	// The limits hold-down or not, of bytes alone, and of both.
	for name, p := range map[string]Policy{"usual": policy(), "bytes": {MaxBytes: 64 * mb, MinBytes: 16 * mb, HoldDown: 30 * time.Second}, "close": {MaxBytes: 64 * mb, MinBytes: 60 * mb, HoldDown: 30 * time.Second}} {
		for _, streams := range []bool{false, true} {
			b := NewBoard(pair(), p, NewMemory("shop"))
			b.Take(both(-10, 1000, 1000)...)
			naive, changes, wrong := 0, 0, 0
			was := true
			written := 1000
			const minutes = 22
			for i := range minutes * 60 / 2 {
				written += 8 // 4 MB a second
				lag := 64 + (i%4-2)*20
				if i > minutes*28 {
					lag = 0 // it has arrived
				}
				o := both(float64(2*i), written, written-lag)
				if !streams && lag > 0 {
					o[1].Server.Replay.ReceiverStatus = ""
				}
				changes += len(b.Take(o...))
				in := b.State("pg2", at(float64(2*i)), 0).In
				if in && lag > 64 {
					wrong++
				}
				if now := lag <= 64; now != was {
					was = now
					naive++
				}
			}
			// pg1 and pg2 are new to the board at the first look, before the trace.
			if changes > 2 || wrong > 0 || naive < 300 {
				t.Errorf("%s, streaming %t: %d changes (without memory %d), %d looks in and above the limit", name, streams, changes, naive, wrong)
			}
			if s := b.State("pg2", at(minutes*60), 0); !s.In {
				t.Errorf("%s, streaming %t: at the end it is not in: %s", name, streams, s.Why)
			}
		}
	}
}

func TestCatchingUpIsNamedWithItsSpeed(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	b.Take(both(0, 1000, 100)...)
	for i := 1; i <= 8; i++ {
		b.Take(both(float64(2*i), 1000, 100+50*i)...)
	}
	s := b.State("pg2", at(16), 0)
	if s.Reason != CatchingUp || !strings.Contains(s.Why, "it catches up by 24.9 MB a second, for about 19s") {
		t.Errorf("%s: %s", s.Reason, s.Why)
	}
	var got []string
	for _, o := range [][]Observation{both(18, 1000, 500), both(20, 1000, 1000)} {
		b.Take(o...)
		s := b.State("pg2", at(20), 0)
		got = append(got, string(s.Reason)+": "+s.Why)
	}
	want := []string{"catching-up: its data is more than 18s old", "hold-down: nothing to replay; in again in 30s, when it stays so"}
	got[0] = got[0][:min(len(got[0]), len(want[0]))]
	if d := cmp.Diff(want[1], got[1]); d != "" {
		t.Error(d)
	}
}

func TestLagIsHonest(t *testing.T) {
	t.Parallel()
	history := Positions{}.Add(at(0), at(0), 100*mb).Add(at(10), at(10), 200*mb).Add(at(20), at(20), 200*mb).Add(at(30), at(30), 300*mb)
	sec := func(s float64) *time.Duration { return ptr(time.Duration(s * float64(time.Second))) }
	r := func(status string, receive, replay int, age *float64) facts.Replay {
		return facts.Replay{ReceiverStatus: status, Receive: ptr(postgres.LSN(receive * mb)), Replay: ptr(postgres.LSN(replay * mb)), LastReplayAge: age}
	}
	for name, c := range map[string]struct {
		replay  facts.Replay
		primary Positions
		want    Lag
	}{
		"nothing known":                         {facts.Replay{}, history, Lag{}},
		"idle":                                  {r("streaming", 300, 300, ptr(4711.0)), history, Lag{ptr(int64(0)), sec(0), sec(0)}},
		"idle, and the primary is not known":    {r("streaming", 300, 300, ptr(4711.0)), nil, Lag{ptr(int64(0)), sec(0), sec(0)}},
		"equal without a receiver":              {r("", 300, 300, ptr(4711.0)), nil, Lag{ptr(int64(0)), sec(0), sec(4711)}},
		"all but the last":                      {r("streaming", 200, 200, nil), history, Lag{ptr(int64(100 * mb)), sec(10), sec(20)}},
		"between two positions":                 {r("streaming", 150, 150, nil), history, Lag{ptr(int64(150 * mb)), sec(30), sec(40)}},
		"before all positions":                  {r("streaming", 50, 50, nil), history, Lag{ptr(int64(250 * mb)), sec(40), nil}},
		"the server knows it better":            {r("streaming", 200, 200, ptr(12.5)), history, Lag{ptr(int64(100 * mb)), sec(10), sec(12.5)}},
		"a record of this moment, after a rest": {r("streaming", 299, 299, ptr(3600.0)), Positions{}.Add(at(38), at(38), 299*mb).Add(at(40), at(40), 300*mb), Lag{ptr(int64(mb)), sec(0), sec(2)}},
		"far behind, and no history":            {r("streaming", 100, 100, ptr(90.0)), Positions{}.Add(at(40), at(40), 300*mb), Lag{ptr(int64(200 * mb)), sec(0), sec(90)}},
		"received and not replayed":             {r("streaming", 300, 299, ptr(0.5)), nil, Lag{ptr(int64(mb)), sec(0), sec(0.5)}},
		"its clock is ahead":                    {r("streaming", 200, 200, ptr(-5.0)), history, Lag{ptr(int64(100 * mb)), sec(10), sec(10)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := LagOf(Observation{At: at(40), Server: facts.Server{Replay: c.replay}}, c.primary, true)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPositionsAreFewAndOfOneHistory(t *testing.T) {
	t.Parallel()
	var p Positions
	for i := range 10000 {
		p = p.Add(at(float64(i)), at(float64(i)), postgres.LSN(i+1))
	}
	if len(p) > maxPositions || p[0].LSN != 1 || p.last() != 10000 || p[len(p)-2].LSN != 9999 {
		t.Errorf("%d positions from %v to %v", len(p), p[0].LSN, p.last())
	}
	if q := p.Add(at(10000), at(10000), 5); len(q) != 1 || q.last() != 5 {
		t.Errorf("after a failover: %v", q)
	}
	if q := p.Add(at(9990), at(9990), 9991); q.last() != 10000 {
		t.Errorf("an older look: %v", q.last())
	}
	if q := p.Add(at(-10000), at(-10000), 10001); len(q) != 1 {
		t.Errorf("after the clock was set back: %d", len(q))
	}
}

// TestAHealthFileKeepsTrafficAway, also when the run that has made it has ended: the file
// says so, and no hold-down follows when it is gone.
func TestAHealthFileKeepsTrafficAway(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	both := func(seconds float64, file bool) []Observation {
		o := standby(seconds, 100)
		o.KeptOut = file
		return []Observation{primary(seconds, 100), o}
	}
	look{both(0, false), true, OK}.check(t, 0, b)
	look{both(2, true), false, Drained}.check(t, 1, b)
	if s := b.State("pg2", at(2), 0); policy().Agent(AskReplica, s, at(2)) != "up 0%\n" || !strings.Contains(s.Why, "pgrepctl traffic restore pg2") {
		t.Errorf("the agent says %q, for %s", policy().Agent(AskReplica, s, at(2)), s.Why)
	}
	look{both(4, false), true, OK}.check(t, 2, b)
}

// TestAHealthFileThatCannotBeLookedForIsAsItWas for a while, and then, or when nothing is
// known of it, nobody may say that the host is in.
func TestAHealthFileThatCannotBeLookedForIsAsItWas(t *testing.T) {
	t.Parallel()
	see := func(seconds float64, out, unknown bool) []Observation {
		o := standby(seconds, 100)
		o.KeptOut, o.FilesUnknown = out, unknown
		return []Observation{primary(seconds, 100), o}
	}
	seen := func(seconds float64, out bool) []Observation { return see(seconds, out, false) }
	blind := func(seconds float64) []Observation { return see(seconds, false, true) }
	late := blind(4)
	late[0] = primary(4, 300)
	for name, looks := range map[string][]look{
		"in stays in, for a while": {{seen(0, false), true, OK}, {blind(2), true, OK}, {blind(900), true, OK}, {blind(902), false, FilesUnknown}, {blind(904), false, FilesUnknown}, {seen(906, false), true, OK}},
		"out stays out":            {{seen(0, true), false, Drained}, {blind(2), false, Drained}, {blind(902), false, Drained}, {seen(904, false), true, OK}},
		"at the start":             {{blind(0), false, FilesUnknown}, {blind(2), false, FilesUnknown}, {seen(4, false), true, OK}},
		"at the start, and kept":   {{blind(0), false, FilesUnknown}, {seen(2, true), false, Drained}},
		"known while it was away":  {{seen(0, false), true, OK}, {[]Observation{silent("pg2", 2)}, true, OK}, {blind(4), true, OK}},
		"one lost answer":          {{blind(0), false, FilesUnknown}, {[]Observation{silent("pg2", 2)}, false, FilesUnknown}, {seen(4, false), true, OK}},
		"its lag counts as well":   {{blind(0), false, FilesUnknown}, {late, false, LagBytes}, {blind(6), false, HoldDown}, {seen(8, false), false, HoldDown}, {seen(36, false), true, OK}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := NewBoard(pair(), policy(), NewMemory("shop"))
			for i, l := range looks {
				l.check(t, i, b)
			}
		})
	}
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	b.Take(blind(0)...)
	s := b.State("pg2", at(0), 0)
	if a := policy().Agent(AskReplica, s, at(0)); a != "up 0%\n" || s.Fine() || !AskHealth.Answer(s) {
		t.Errorf("the agent says %q, for %+v", a, s)
	}
	if line, code := policy().Nagios("shop", []State{s}); code != NagiosUnknown {
		t.Errorf("%d: %s", code, line)
	}
	// One call remembers for the next.
	b = NewBoard(pair(), policy(), NewMemory("shop"))
	b.Take(seen(0, false)...)
	look{blind(60), true, OK}.check(t, 1, NewBoard(pair(), policy(), b.Memory()))
}

func TestHealthFilesAreThoseOfStandbysThatServe(t *testing.T) {
	t.Parallel()
	cl := &inventory.Cluster{
		Hosts: []*inventory.Host{{Name: "pg1", Role: inventory.Primary}, {Name: "pg2", Role: inventory.Standby}, {Name: "pg3", Role: inventory.Standby, Traffic: inventory.NoTraffic}},
		Traffic: inventory.Traffic{Balancers: []*inventory.Balancer{{Name: "lb", Kind: inventory.BalancerHAProxy}, {Name: "a", Kind: inventory.BalancerFile, Path: "/run/a"},
			{Name: "b", Kind: inventory.BalancerFile, Path: "/run/b"}}},
	}
	got := map[string][]string{}
	for _, m := range Members(cl) {
		got[m.Name] = m.Files
	}
	if d := cmp.Diff(map[string][]string{"pg1": nil, "pg2": {"/run/a", "/run/b"}, "pg3": nil}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
