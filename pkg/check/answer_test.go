package check

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

func TestQuestionsAreAnsweredAsPatroniDoes(t *testing.T) {
	t.Parallel()
	reader := State{Role: inventory.Standby, In: true, Reason: OK, Sync: "async"}
	synced, quorum, potential, unknown, late := reader, reader, reader, reader, reader
	synced.Sync, quorum.Sync, potential.Sync, unknown.Sync = "sync", "quorum", "potential", ""
	late.In, late.Reason, late.Sync = false, LagBytes, "sync"
	writer, dead := State{Role: inventory.Primary, In: true, Reason: OK}, State{Role: inventory.Standby, Reason: Unreachable}
	for path, want := range map[string]string{ // async, sync, quorum, potential, not known, late, primary, unreachable
		"primary": "......y.", "master": "......y.", "leader": "......y.", "read-write": "......y.",
		"replica": "yyyyy...", "read-only": "yyyyy.y.", "readiness": "yyyyy.y.", "health": "yyyyyyy.",
		"synchronous": ".y......", "sync": ".y......", "read-only-sync": ".y....y.", "read-only-synchronous": ".y....y.",
		"quorum": "..y.....", "read-only-quorum": "..y...y.", "asynchronous": "y..y....", "async": "y..y....",
	} {
		q, ok := ParseQuestion(path)
		if !ok {
			t.Errorf("/%s is not known", path)
		}
		got := ""
		for _, s := range []State{reader, synced, quorum, potential, unknown, late, writer, dead} {
			got += map[bool]string{true: "y", false: "."}[q.Answer(s)]
		}
		if got != want {
			t.Errorf("/%s: %s, want %s", path, got, want)
		}
		if limited := strings.Contains(want[:5], "y") && path != "health"; q.Limited() != limited {
			t.Errorf("/%s takes a limit of lag: %t, want %t", path, q.Limited(), limited)
		}
	}
}

func TestLimitsAreBytesOrTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Limit{"1048576": {Bytes: 1 << 20}, "16MB": {Bytes: 16 << 20}, "10kB": {Bytes: 10 << 10}, "10s": {Time: 10 * time.Second}, "2min": {Time: 2 * time.Minute}, "500ms": {Time: 500 * time.Millisecond}} {
		if got, err := ParseLag(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "-10s", "16XB", "16MB; drop", "99999999999999999999", strings.Repeat("9", 1000)} {
		if got, err := ParseLag(text); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

func TestHAProxyIsToldUpDownDrainOrMaintWithAWeight(t *testing.T) {
	t.Parallel()
	p := policy()
	in := func(lag int64) State {
		return State{Role: inventory.Standby, In: true, Reason: OK, LagBytes: &lag, LagSecondsAtLeast: ptr(0.0)}
	}
	old := in(0)
	old.LagSecondsAtLeast = ptr(20.0)
	back := in(0)
	back.Maint = at(30)
	out := func(r Reason, why string) State { return State{Role: inventory.Standby, Reason: r, Why: why} }
	for _, c := range []struct {
		state State
		want  string
	}{
		{in(0), "up 100%"}, {in(16 * mb), "up 100%"}, {in(40 * mb), "up 60%"}, {in(64 * mb), "up 10%"}, {old, "up 60%"},
		{back, "ready up 100%"},
		{out(LagBytes, "70.0 MB behind, 64.0 MB is the most"), "down #70.0 MB behind, 64.0 MB is the most"},
		{out(Drained, "run r1 (by anna) keeps traffic away"), "up 0%"},
		{out(Closed, "the inventory keeps traffic away (traffic: none)"), "maint #the inventory keeps traffic away (traffic: none)"},
		{out(Delayed, "late"), "maint #late"},
		{State{Role: inventory.Primary, In: true}, "down #takes writes, and reads are asked for"},
		{out(NotReady, "a\nup ready 100%\x00\x1b[31m é"), "down #a up ready 100%  [31m ?"},
		{out(NotReady, strings.Repeat("x", 500)), "down #" + strings.Repeat("x", 117) + "..."},
	} {
		got := p.Agent(AskReplica, c.state, at(60))
		if got != c.want+"\n" {
			t.Errorf("%+v: %q, want %q", c.state, got, c.want)
		}
	}
	if got := p.Agent(AskReplica, back, at(90)); got != "up 100%\n" {
		t.Errorf("an operator's own drain is taken back long after ours: %q", got)
	}
	if got := p.Agent(AskPrimary, State{Role: inventory.Primary, In: true}, at(0)); got != "up 100%\n" {
		t.Errorf("asked for the primary: %q", got)
	}
}

// restarted goes on with what a board remembers, at a time.
func restarted(t *testing.T, m []Member, b *Board, seconds float64) *Board {
	t.Helper()
	text, err := b.Memory().Encode()
	if err != nil {
		t.Fatal(err)
	}
	mem, err := Decode(text, "shop", at(seconds))
	if err != nil {
		t.Fatal(err)
	}
	return NewBoard(m, policy(), mem)
}

// TestAMaintThatHasEndedIsTakenBack for a minute from the first look that finds it ended: HAProxy
// keeps it for as long as the check is down, or the host gives no answer.
func TestAMaintThatHasEndedIsTakenBack(t *testing.T) {
	t.Parallel()
	says := func(b *Board, seconds float64) string {
		return policy().Agent(AskReplica, b.State("pg2", at(seconds), 0), at(seconds))
	}
	for name, shut := range map[string]func(*Member){"maint #the inventory keeps traffic away (traffic: none)\n": func(m *Member) { m.Closed = true },
		"maint #it replays 1h late, as the inventory says\n": func(m *Member) { m.Delay = time.Hour }} {
		kept := pair()
		shut(&kept[1])
		b := NewBoard(kept, policy(), NewMemory("shop"))
		b.Take(both(0, 100, 100)...)
		first := says(b, 0)
		b.Take(silent("pg2", 20))
		got := []string{first, says(b, 20)}
		b = restarted(t, pair(), b, 600)
		for _, seconds := range []float64{600, 630} {
			b.Take(both(seconds, 100, 100)...)
			got = append(got, says(b, seconds))
		}
		b = restarted(t, pair(), b, 650) // it goes on to say so
		for _, seconds := range []float64{650, 660} {
			b.Take(both(seconds, 100, 100)...)
			got = append(got, says(b, seconds))
		}
		want := []string{name, "down #connect: no route to host\n", "ready down #nothing to replay; in again in 30s, when it stays so\n",
			"ready up 100%\n", "ready up 100%\n", "up 100%\n"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestNagiosReadsOneLine(t *testing.T) {
	t.Parallel()
	p := policy()
	st := func(host string, r Reason, in bool) State {
		return State{Host: host, Role: inventory.Standby, In: in, Reason: r, Why: "because | of\nthis", LagBytes: ptr(int64(1024)), LagSeconds: ptr(0.25)}
	}
	late := st("pg2", OK, true)
	late.LagBytes = ptr(int64(40 * mb))
	for name, c := range map[string]struct {
		states []State
		code   int
		text   string
	}{
		"ok":                   {[]State{st("pg2", OK, true)}, 0, "REPLICATION OK - 1 of 1 hosts of shop in | 'pg2 in'=1 'pg2 lag'=1024B;16777216;67108864;0 'pg2 age'=0.250s;10;30;0"},
		"planned":              {[]State{st("pg2", Delayed, false)}, 0, "OK - 0 of 1"},
		"on its way":           {[]State{st("pg2", HoldDown, false)}, 1, "WARNING - 0 of 1 hosts of shop in; pg2: because / of this |"},
		"late and in":          {[]State{late}, 1, "WARNING"},
		"out":                  {[]State{st("pg1", OK, true), st("pg2", LagBytes, false)}, 2, "CRITICAL - 1 of 2 hosts of shop in; pg2: because"},
		"no answer":            {[]State{st("pg1", OK, true), st("pg2", Unreachable, false)}, 3, "UNKNOWN"},
		"out and no answer":    {[]State{st("pg1", Down, false), st("pg2", Unreachable, false)}, 2, "CRITICAL"},
		"a warning, no answer": {[]State{late, st("pg3", Unreachable, false)}, 3, "UNKNOWN"},
	} {
		text, code := p.Nagios("shop", c.states)
		if code != c.code || !strings.Contains(text, c.text) || strings.Count(text, "|") != 1 || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: %d %q; want %d %q", name, code, text, c.code, c.text)
		}
	}
}

func TestMetricsAreOfPrometheusTextFormat(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{State: State{Host: "pg1", Role: inventory.Primary, In: true, Reason: OK, Timeline: 3, Since: at(0), Seen: at(60)}, Slots: []facts.Slot{{Name: `a"b\c`, Active: true, RetainedBytes: ptr(int64(7))}, {Name: "x"}}},
		{State: State{Host: "pg2", Role: inventory.Standby, Reason: LagBytes, LagBytes: ptr(int64(5)), LagSeconds: ptr(1.5), Since: at(30), Seen: at(60)}},
		{State: State{Host: "pg3", Role: inventory.Primary, Reason: Unreachable, Timeline: 3, Paused: true, Since: at(0)}},
		{State: State{Host: "pg4", Role: inventory.Standby, Reason: Paused, Timeline: 3, Paused: true, Since: at(0)}},
	}
	text := Metrics("shop", rows, map[string]int{"pg2": 2}, at(61))
	for _, want := range []string{
		"# TYPE pgrepctl_in gauge\npgrepctl_in{cluster=\"shop\",host=\"pg1\"} 1\npgrepctl_in{cluster=\"shop\",host=\"pg2\"} 0\npgrepctl_in{cluster=\"shop\",host=\"pg3\"} 0\npgrepctl_in{cluster=\"shop\",host=\"pg4\"} 0\n# HELP",
		"\npgrepctl_up{cluster=\"shop\",host=\"pg3\"} 0\n",
		"# TYPE pgrepctl_primary gauge\npgrepctl_primary{cluster=\"shop\",host=\"pg1\"} 1\npgrepctl_primary{cluster=\"shop\",host=\"pg2\"} 0\npgrepctl_primary{cluster=\"shop\",host=\"pg3\"} 0\npgrepctl_primary{cluster=\"shop\",host=\"pg4\"} 0\n# HELP",
		"# TYPE pgrepctl_replay_paused gauge\npgrepctl_replay_paused{cluster=\"shop\",host=\"pg1\"} 0\npgrepctl_replay_paused{cluster=\"shop\",host=\"pg2\"} 0\npgrepctl_replay_paused{cluster=\"shop\",host=\"pg4\"} 1\n# HELP",
		"# TYPE pgrepctl_timeline gauge\npgrepctl_timeline{cluster=\"shop\",host=\"pg1\"} 3\npgrepctl_timeline{cluster=\"shop\",host=\"pg4\"} 3\n# HELP",
		"# TYPE pgrepctl_replication_lag_bytes gauge\npgrepctl_replication_lag_bytes{cluster=\"shop\",host=\"pg2\"} 5\n# HELP",
		"pgrepctl_replication_lag_seconds{cluster=\"shop\",host=\"pg2\"} 1.5\n",
		"pgrepctl_slot_retained_bytes{cluster=\"shop\",host=\"pg1\",slot=\"a\\\"b\\\\c\",active=\"true\"} 7\n",
		"# TYPE pgrepctl_changes_total counter\n", "pgrepctl_changes_total{cluster=\"shop\",host=\"pg2\"} 2\n",
		"pgrepctl_written_timestamp_seconds{cluster=\"shop\"} 1.768208461e+09\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "pgrepctl_") {
			t.Errorf("line %q", line)
		}
	}
}

func TestALimitOfOnesOwnHasAMemoryToo(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	b.Take(both(0, 100, 100)...)
	under := func(l Limit, seconds float64) State { return b.Under(l, "pg2", at(seconds), 0) }
	small := Limit{Bytes: 4 * mb}
	if s := under(small, 0); !s.In {
		t.Errorf("at first: %s", s.Why)
	}
	b.Take(both(2, 105, 100)...)
	if s := under(small, 2); s.In || !b.State("pg2", at(2), 0).In {
		t.Errorf("5 MB behind: %+v", s)
	}
	b.Take(both(4, 105, 102)...) // 3 MB: below the limit, above its minimum
	if s := under(small, 4); s.In {
		t.Error("it is in again just below its limit")
	}
	b.Take(both(6, 105, 105)...)
	b.Take(both(36, 105, 105)...)
	if s := under(small, 36); !s.In {
		t.Errorf("after its hold-down: %s", s.Why)
	}
	// Who is out already does not come in by asking for another limit.
	b.Take(both(38, 300, 200)...)
	b.Take(both(40, 300, 290)...)
	if s := under(Limit{Bytes: 80 * mb}, 40); s.In {
		t.Errorf("a new limit lets it in: %s", s.Why)
	}
	for i := range 10 * maxLimits {
		under(Limit{Bytes: int64(1000 + i)}, 40)
	}
	if len(b.limits) > maxLimits {
		t.Errorf("%d limits are remembered", len(b.limits))
	}
}

func TestALookThatIsTooOldCountsForNothing(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	if s := b.State("pg2", at(0), time.Second); s.In || s.Reason != Unseen {
		t.Errorf("before the first look: %+v", s)
	}
	b.Take(both(0, 100, 100)...)
	if s := b.State("pg2", at(6), 6*time.Second); !s.In {
		t.Errorf("%+v", s)
	}
	if s := b.State("pg2", at(6.1), 6*time.Second); s.In || s.Reason != Stale || s.Why != "the last look is 6.1s ago" || AskHealth.Answer(s) {
		t.Errorf("%+v", s)
	}
}

// TestWhatAHostWasIsNotSaidOfAHostThatGivesNoAnswer, and is remembered: what happens to it
// next is judged by it.
func TestWhatAHostWasIsNotSaidOfAHostThatGivesNoAnswer(t *testing.T) {
	t.Parallel()
	fresh := func() *Board {
		b := NewBoard(pair(), policy(), NewMemory("shop"))
		paused := standby(0, 99)
		paused.Server.Replay.Paused = true
		b.Take(primary(0, 100), paused)
		return b
	}
	gone := fresh()
	gone.Take(silent("pg1", 20), silent("pg2", 20))
	for name, c := range map[string]struct {
		b     *Board
		stale time.Duration
		want  Reason
	}{"unreachable": {gone, 0, Unreachable}, "unreachable, and the last look is old": {gone, 6 * time.Second, Unreachable}, "stale": {fresh(), 6 * time.Second, Stale}} {
		var rows []Row
		for _, m := range pair() {
			for _, s := range []State{c.b.State(m.Name, at(20), c.stale), c.b.Under(Limit{Bytes: mb}, m.Name, at(20), c.stale)} {
				want := Said{Host: m.Name, Reason: c.want, Why: s.Why, Since: s.Since, Seen: at(0)}
				if d := cmp.Diff(want, Say(s)); d != "" {
					t.Errorf("%s: %s", name, d)
				}
				rows = append(rows, Row{State: s})
			}
		}
		if text := Metrics("shop", rows, nil, at(20)); strings.Contains(text, "_primary{cluster=\"shop\",host=\"pg1\"} 1") || strings.Contains(text, "_paused") || strings.Contains(text, "_timeline") || strings.Contains(text, "_lag_") {
			t.Errorf("%s:\n%s", name, text)
		}
		if m := c.b.Memory().Hosts; m["pg1"].Role != inventory.Primary || m["pg2"].Role != inventory.Standby {
			t.Errorf("%s: remembered is %+v", name, m)
		}
	}
	// One of the two is the primary of a failover, at every moment that a host may be silent.
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	b.Take(both(0, 100, 100)...)
	promoted := primary(2, 101)
	promoted.Host, promoted.Server.Timeline = "pg2", 2
	b.Take(promoted)
	b.Take(silent("pg1", 3))
	if one, two := b.State("pg1", at(3), 0), b.State("pg2", at(3), 0); one.In || one.Role != "" || !two.In {
		t.Errorf("%+v, %+v", one, two)
	}
}

func TestWhatARunDidIsReadOffItsJournal(t *testing.T) {
	t.Parallel()
	intent := func(seq int, effect, host, inverse string) journal.Record {
		return journal.Record{Seq: seq, Type: journal.Intent, Effect: effect, Host: host, Inverse: []byte(inverse)}
	}
	balance := func(seq int, serve bool) journal.Record {
		return intent(seq, "balance", "lb1", fmt.Sprintf(`{"kind":"balance","effect":{"host":"lb1","server":"pg2","serve":%t}}`, serve))
	}
	replay := func(seq int, host string, pause bool) journal.Record {
		return intent(seq, "replay", host, fmt.Sprintf(`{"kind":"replay","effect":{"host":%q,"pause":%t}}`, host, pause))
	}
	// back lets reads in that the run has kept away itself.
	back := func(seq int, effect, host string) journal.Record {
		return journal.Record{Seq: seq, Type: journal.Intent, Node: "1.9/pg2.3@pg2", Effect: effect, Host: host}
	}
	file := intent(2, "health-file", "pg2", `{"kind":"health-file","effect":{"host":"pg2","serve":true}}`)
	start := journal.Record{Seq: 1, Type: journal.Start, Run: &journal.Run{ID: "r1", Operator: "anna@desk"}}
	plan := Plan{Run: "r1", Operator: "anna@desk", Going: true}
	drained, paused := plan, plan
	drained.Drained, paused.Paused = true, true
	for name, c := range map[string]struct {
		recs []journal.Record
		want map[string]Plan
	}{
		"nothing":           {nil, map[string]Plan{}},
		"drained":           {[]journal.Record{balance(2, true)}, map[string]Plan{"pg2": drained}},
		"and let in again":  {[]journal.Record{balance(2, true), balance(3, false)}, map[string]Plan{}},
		"by its own step":   {[]journal.Record{balance(2, true), back(3, "balance", "lb1")}, map[string]Plan{}},
		"by a file":         {[]journal.Record{file}, map[string]Plan{"pg2": drained}},
		"which is gone":     {[]journal.Record{file, back(3, "health-file", "pg2")}, map[string]Plan{}},
		"drained once more": {[]journal.Record{balance(2, true), back(3, "balance", "lb1"), balance(4, true)}, map[string]Plan{"pg2": drained}},
		"not let in after all": {[]journal.Record{balance(2, true), back(3, "balance", "lb1"), {Seq: 4, Type: journal.Failed, Of: 3, Untouched: true}},
			map[string]Plan{"pg2": drained}},
		"taken back":          {[]journal.Record{balance(2, true), {Seq: 3, Type: journal.Undone, Of: 2}}, map[string]Plan{}},
		"did not happen":      {[]journal.Record{balance(2, true), {Seq: 3, Type: journal.Failed, Of: 2, Untouched: true}}, map[string]Plan{}},
		"perhaps happened":    {[]journal.Record{balance(2, true), {Seq: 3, Type: journal.Failed, Of: 2}}, map[string]Plan{"pg2": drained}},
		"paused":              {[]journal.Record{replay(2, "pg2", false)}, map[string]Plan{"pg2": paused}},
		"and resumed":         {[]journal.Record{replay(2, "pg2", false), replay(3, "pg2", true)}, map[string]Plan{}},
		"ends at its target":  {[]journal.Record{intent(2, "replay", "pg2", "null")}, map[string]Plan{}},
		"of somebody else":    {[]journal.Record{replay(2, "pg9", false), intent(3, "write-file", "pg2", "null")}, map[string]Plan{}},
		"what is not to read": {[]journal.Record{intent(2, "balance", "pg2", `{"effect":[]}`)}, map[string]Plan{}},
	} {
		if d := cmp.Diff(c.want, PlansOf(append([]journal.Record{start}, c.recs...), true, pair())); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if got := PlansOf(nil, true, pair()); len(got) != 0 {
		t.Errorf("of no journal: %v", got)
	}
}

func TestAMemoryIsReadBackOrRefused(t *testing.T) {
	t.Parallel()
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	b.Take(both(0, 100, 100)...)
	b.Take(both(2, 300, 200)...)
	text, err := b.Memory().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(text, "shop", at(3))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.Memory(), m); d != "" {
		t.Error(d)
	}
	// It goes on where it was.
	c := NewBoard(pair(), policy(), m)
	c.Take(both(4, 300, 300)...)
	if s := c.State("pg2", at(4), 0); s.Reason != HoldDown {
		t.Errorf("%+v", s)
	}
	good := string(text)
	for name, text := range map[string]string{
		"empty": "", "cut off": good[:len(good)/2], "another format": strings.Replace(good, "memory/v1", "memory/v2", 1), "another cluster": strings.Replace(good, `"shop"`, `"prod"`, 1),
		"no object": "[]", "wrong types": `{"format":"pgrepctl.check-memory/v1","cluster":"shop","at":"2026-01-12T09:00:00Z","hosts":[1]}`, "too long": strings.Repeat(" ", MaxMemory+1) + good,
	} {
		if _, err := Decode([]byte(text), "shop", at(3)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if _, err := Decode(text, "shop", at(3).Add(25*time.Hour)); err == nil {
		t.Error("one of the day before yesterday is read")
	}
	for name, change := range map[string][2]string{
		"of the future":         {"09:00:02Z", "23:00:02Z"},
		"more strikes than are": {`"strikes": 1`, `"strikes": 4000000`},
		"less":                  {`"strikes": 1`, `"strikes": -1`},
		"of another name":       {`"host": "pg2"`, `"host": "pg1"`},
	} {
		if !strings.Contains(good, change[0]) {
			t.Fatalf("%s: no %q in %s", name, change[0], good)
		}
		m, err := Decode([]byte(strings.ReplaceAll(good, change[0], change[1])), "shop", at(3))
		if _, ok := m.Hosts["pg2"]; err != nil || ok {
			t.Errorf("%s: it is believed (%v)", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b := NewBoard(pair(), policy(), NewMemory("shop"))
	b.Take(both(0, 100, 100)...)
	text, _ := b.Memory().Encode()
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Decode(text, "shop", at(10))
		if err != nil {
			return
		}
		b := NewBoard(pair(), policy(), m)
		b.Take(both(12, 300, 200)...)
		if s := b.State("pg2", at(12), 0); s.In {
			t.Errorf("100 MB behind and in: %+v", s)
		}
		if _, err := b.Memory().Encode(); err != nil {
			t.Error(err)
		}
	})
}
