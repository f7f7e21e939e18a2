package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

// bootstrap is a run as the engine tells it, from its start, seconds apart.
func bootstrap() []event.Event {
	const run = "20260102T120000Z-7f3a"
	var all []event.Event
	at := func(seconds float64, e event.Event) {
		e.At = noon().Add(time.Duration(seconds * float64(time.Second)))
		e.Run = run
		all = append(all, e)
	}
	node := func(id, host, step string, typ event.Type, text string) event.Event {
		return event.Event{Node: id, Host: host, Step: step, Type: typ, Text: text}
	}
	at(0, event.Event{Type: event.RunStart, Text: "bootstrap-standby pg2"})
	at(0, node("1", "pg1", "role", event.NodeStart, ""))
	at(0.1, node("1", "pg1", "role", event.NodeNoop, "role replicator exists with this password"))
	hba := node("2", "pg1", "pg_hba.conf", event.NodeStart, "")
	at(0.2, hba)
	hba.Type, hba.Text = event.EffectStart, "edit /etc/postgresql/15/main/pg_hba.conf (+1 rule)"
	at(0.3, hba)
	hba.Type, hba.Diff = event.EffectDone, "--- pg_hba.conf\n+++ pg_hba.conf\n@@ -1,2 +1,3 @@\n local all all peer\n+hostssl replication replicator 10.0.0.12/32 scram-sha-256\n-host all all all trust\n"
	at(0.4, hba)
	hba.Type, hba.Text, hba.Diff = event.NodeDone, "", ""
	at(0.4, hba)
	at(1, node("3", "pg1", "backup", event.NodeStart, ""))
	at(1, node("3", "pg1", "backup", event.EffectStart, "start a base backup"))
	at(4, node("3", "pg1", "backup", event.EffectDone, "start a base backup"))
	at(4, node("3.1", "pg2", "rsync", event.NodeStart, ""))
	at(4, node("3.1", "pg2", "rsync", event.EffectStart, "copy the data directory from pg1"))
	for s := 0; s <= 24; s += 2 {
		e := node("3.1", "pg2", "rsync", event.Progressed, "")
		e.Progress = &event.Progress{Bytes: int64(s) << 30, Total: 40 << 30}
		at(4+float64(s), e)
	}
	at(29, event.Event{Type: event.Warning, Host: "pg2", Text: "clock is 3s ahead of pg1"})
	failed := node("3.1", "pg2", "rsync", event.Failed, "copy the data directory from pg1")
	failed.Error = "rsync: exit status 12: error in rsync protocol data stream (code 12)"
	at(30, failed)
	at(30.5, node("3", "pg1", "backup", event.EffectUndo, "stop the base backup"))
	at(31, node("2", "pg1", "pg_hba.conf", event.EffectUndo, "restore /etc/postgresql/15/main/pg_hba.conf as it was before the run"))
	at(31.5, event.Event{Type: event.RunEnd, Text: "failed, and undone"})
	return all
}

func emit(s event.Sink, events []event.Event) {
	for _, e := range events {
		s.Emit(e)
	}
}

func TestPlainIsOneLineAnEvent(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]SinkOptions{
		"plain.golden":       {Mode: ModePlain},
		"plain-color.golden": {Mode: ModePlain, Color: true, Verbose: 1},
		"plain-vv.golden":    {Mode: ModePlain, Verbose: 2},
		"plain-quiet.golden": {Mode: ModePlain, Quiet: true},
		"json.golden":        {Mode: ModeJSON},
		"json-quiet.golden":  {Mode: ModeJSON, Quiet: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			s := NewSink(&b, o)
			emit(s, bootstrap())
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.String())
		})
	}
}

func TestColorsSayNothingThatTextDoesNot(t *testing.T) {
	t.Parallel()
	shown := func(color bool) string {
		var b bytes.Buffer
		s := NewSink(&b, SinkOptions{Mode: ModePlain, Color: color, Verbose: 2})
		emit(s, bootstrap())
		return b.String()
	}
	plain, colored := shown(false), shown(true)
	if plain == colored {
		t.Error("no colours")
	}
	if d := cmp.Diff(plain, uncolored(colored)); d != "" {
		t.Error(d)
	}
}

// uncolored removes SGR sequences.
func uncolored(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, s, _ = strings.Cut(rest, "m")
	}
}

func TestEventsOfQuietLiveModeAreLines(t *testing.T) {
	t.Parallel()
	var live, plain bytes.Buffer
	emit(NewSink(&live, SinkOptions{Mode: ModeLive, Quiet: true}), bootstrap())
	emit(NewSink(&plain, SinkOptions{Mode: ModePlain, Quiet: true}), bootstrap())
	if d := cmp.Diff(plain.String(), live.String()); d != "" {
		t.Error(d)
	}
}

func TestLongNamesWidenTheirColumn(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := NewSink(&b, SinkOptions{Mode: ModePlain, Hosts: []string{"db-east-17"}})
	for _, h := range []string{"pg1", "db-east-17", "db-north-east-0001", "pg1"} {
		s.Emit(event.Event{Type: event.NodeNoop, Host: h, Step: "slot", Text: "there"})
	}
	s.Emit(event.Event{Type: event.Warning, Step: "a-very-long-step-name", Text: "odd"})
	s.Emit(event.Event{Type: event.NodeNoop, Host: "pg1", Step: "slot", Text: ""})
	want := `pg1         slot             ok        there
db-east-17  slot             ok        there
db-north-east-0001  slot             ok        there
pg1                 slot             ok        there
-                   a-very-long-step-name  warning   odd
pg1                 slot                   ok
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestClockOfTheSinkServesEventsWithoutOne(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	now := noon()
	s := NewSink(&b, SinkOptions{Mode: ModePlain, Now: func() time.Time { return now }})
	e := event.Event{Node: "1", Host: "pg1", Step: "server", Type: event.EffectStart, Text: "start the server"}
	s.Emit(e)
	now = now.Add(5 * time.Second)
	e.Type = event.EffectDone
	s.Emit(e)
	if want := "pg1       server           change    start the server  (5s)\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	j := NewSink(&b, SinkOptions{Mode: ModeJSON, Now: func() time.Time { return now }})
	j.Emit(e)
	var back event.Event
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || !back.At.Equal(now) {
		t.Errorf("%v %v", back.At, err)
	}
}

func TestHostTextCannotBreakALine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := NewSink(&b, SinkOptions{Mode: ModePlain, Verbose: 1})
	s.Emit(event.Event{Type: event.EffectDone, Host: "p\ng", Step: "s\x1b[A", Text: "a\r\nb", Diff: "+\x1b[2J\n+\tx"})
	want := "p g       s�[A             change    a  b\n    +�[2J\n    +    x\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

type broken struct{ writes int }

var errBroken = errors.New("broken pipe")

func (b *broken) Write([]byte) (int, error) { b.writes++; return 0, errBroken }

func TestFirstWriteErrorIsKeptAndEndsWriting(t *testing.T) {
	t.Parallel()
	for _, m := range []Mode{ModeLive, ModePlain, ModeJSON} {
		w := &broken{}
		s := NewSink(w, SinkOptions{Mode: m})
		emit(s, bootstrap())
		if err := s.Close(); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", m, err)
		}
		if w.writes != 1 {
			t.Errorf("%s: %d writes", m, w.writes)
		}
	}
}

func TestSinksAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	for _, m := range []Mode{ModeLive, ModePlain, ModeJSON} {
		var b bytes.Buffer
		s := NewSink(&b, SinkOptions{Mode: m})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { emit(Tee{s, event.Discard{}}, bootstrap()) })
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Count(b.String(), "exists with this password"); got != 4 {
			t.Errorf("%s: %d of 4 runs", m, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestJSONKeepsTextAsItIs(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	NewSink(&b, SinkOptions{Mode: ModeJSON}).Emit(event.Event{At: noon(), Type: event.Warning, Text: "a <b> & \"c\"\n\x1b[2J"})
	if want := `{"at":"2026-01-02T12:00:00Z","type":"warning","text":"a <b> & \"c\"\n\u001b[2J"}` + "\n"; b.String() != want {
		t.Errorf("%s", b.String())
	}
}

func TestFailureIsSaidOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, problem, want string }{
		{"start the server", "timeout", "start the server: timeout"},
		{"start the server: timeout", "timeout", "start the server: timeout"},
		{"timeout", "start the server: timeout", "start the server: timeout"},
		{"", "timeout", "timeout"},
		{"timeout", "", "timeout"},
	} {
		var b bytes.Buffer
		NewSink(&b, SinkOptions{Mode: ModePlain}).Emit(event.Event{Type: event.Failed, Host: "pg1", Step: "server", Text: c.text, Error: c.problem})
		if want := "pg1       server           FAILED    " + c.want + "\n"; b.String() != want {
			t.Errorf("%q", b.String())
		}
	}
}

func TestEachCopyHasARateOfItsOwn(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	now := noon()
	s := NewSink(&b, SinkOptions{Mode: ModePlain, Now: func() time.Time { return now }})
	e := event.Event{Node: "1", Host: "pg1", Step: "rsync"}
	for _, bytes := range []int64{100, 5000} {
		e.Type, e.Progress, e.Text = event.EffectStart, nil, "copy"
		s.Emit(e)
		now = now.Add(plainEvery)
		e.Type, e.Progress = event.Progressed, &event.Progress{Bytes: bytes}
		e.Host = "pg2" // the node's host, while the effect acts on another
		s.Emit(e)
		e.Host = "pg1"
		e.Type, e.Progress = event.EffectDone, nil
		s.Emit(e)
	}
	want := `pg1       rsync            progress  100 B
pg1       rsync            change    copy  (10s, 100 B, 10 B/s)
pg1       rsync            progress  4.88 kB
pg1       rsync            change    copy  (10s, 4.88 kB, 500 B/s)
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// What a step that failed did is undone; what a bracket opened is closed.
func TestUndoAndCloseAreToldApart(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := NewSink(&b, SinkOptions{Mode: ModePlain})
	for _, typ := range []event.Type{event.NodeStart, event.EffectStart, event.Failed, event.EffectUndo} {
		s.Emit(event.Event{Node: "1", Host: "pg1", Step: "slot", Type: typ, Text: "create slot"})
	}
	for _, typ := range []event.Type{event.NodeStart, event.EffectStart, event.EffectDone, event.EffectUndo, event.NodeDone, event.EffectUndo} {
		s.Emit(event.Event{Node: "2", Host: "pg1", Step: "lock", Type: typ, Text: "lock"})
	}
	want := `pg1       slot             FAILED    create slot
pg1       slot             undo      create slot
pg1       lock             change    lock
pg1       lock             close     lock
pg1       lock             undo      lock
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}
