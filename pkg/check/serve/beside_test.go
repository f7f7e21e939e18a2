package serve

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// hanging runs a server of pg1 (primary) and pg2 (standby, with a health file) until the test
// ends. A question may take an hour.
func hanging(t *testing.T, hosts ...*fake) *Server {
	t.Helper()
	members := []check.Member{{Name: "pg1", Role: inventory.Primary, Server: "pg1"}, {Name: "pg2", Role: inventory.Standby, Server: "pg2", Upstream: "pg1", Files: []string{"/run/drained"}}}
	p := check.Policy{MaxBytes: 100, MinBytes: 10, Grace: time.Minute}
	o := Options{Cluster: "shop", Interval: 5 * time.Millisecond, Timeout: time.Hour, Stale: 10000, Now: time.Now, Say: func(time.Time, string, string) {}}
	for _, h := range hosts {
		o.Lookers = append(o.Lookers, h)
	}
	s := New(check.NewBoard(members, p, check.NewMemory("shop")), p, o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// more waits until a host was looked at some times more.
func (f *fake) more(t *testing.T, s *Server, times int) {
	t.Helper()
	looks := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.n
	}
	was, began := looks(), time.Now()
	await(t, f.name+" is looked at", func() bool { return looks() > was+times && s.State(f.name, check.Limit{}).Seen.After(began) })
}

func (f *fake) hangs(hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hang = hang
}

// TestFilesThatHangKeepNoLookBack: a directory of NFS hangs, and PostgreSQL answers at once.
func TestFilesThatHangKeepNoLookBack(t *testing.T) {
	pg1, pg2 := &fake{name: "pg1", do: runs(primary())}, &fake{name: "pg2", do: runs(standby(1000))}
	s := hanging(t, pg1, pg2)
	await(t, "both are in", func() bool { return s.State("pg1", check.Limit{}).In && s.State("pg2", check.Limit{}).In })
	for _, h := range []*fake{pg1, pg2} {
		h.hangs(true)
		h.more(t, s, 20)
		if st := s.State(h.name, check.Limit{}); !st.In || st.Reason != check.OK {
			t.Errorf("%+v", st)
		}
	}
	// A host that is lost meanwhile is asked again when it is back.
	pg2.set(func(context.Context) (facts.Server, error) { return facts.Server{}, errors.New("connection lost") })
	await(t, "the question is given up", func() bool {
		pg2.mu.Lock()
		defer pg2.mu.Unlock()
		return pg2.ended == 1
	})
	pg2.hangs(false)
	pg2.mu.Lock()
	pg2.keptOut = true
	pg2.mu.Unlock()
	pg2.set(runs(standby(1000)))
	drained := func() bool { return s.State("pg2", check.Limit{}).Reason == check.Drained }
	await(t, "its file is seen", drained)
	// It is as it was.
	pg2.hangs(true)
	pg2.more(t, s, 20)
	if !drained() {
		t.Errorf("%+v", s.State("pg2", check.Limit{}))
	}
}

// TestFilesThatHangFromTheStart: nobody can say that it is in.
func TestFilesThatHangFromTheStart(t *testing.T) {
	pg2 := &fake{name: "pg2", do: runs(standby(1000)), hang: true}
	s := hanging(t, pg2)
	pg2.more(t, s, 20)
	if st := s.State("pg2", check.Limit{}); st.In || st.Reason != check.FilesUnknown {
		t.Errorf("%+v", st)
	}
}

func TestPlansGrowOld(t *testing.T) {
	t.Parallel()
	t0 := time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)
	const grace = 6 * time.Second
	heard := func(after time.Duration, run string) check.Observation {
		o := check.Observation{Host: "pg1", At: t0.Add(after), Server: primary()}
		o.Server.Lock = &facts.LockHolder{Application: "pgrepctl " + run + " "}
		return o
	}
	kept := map[string]check.Plan{"pg2": {Run: "r1", Drained: true}}
	going := map[string]check.Plan{"pg2": {Run: "r1", Drained: true, Going: true}}
	for name, c := range map[string]struct {
		heard check.Observation
		after time.Duration
		want  map[string]check.Plan
	}{
		"at first":                              {heard(0, "r1"), 0, going},
		"one lost answer":                       {heard(0, "r1"), grace, going},
		"the primary gives no answer":           {heard(0, "r1"), grace + 1, kept},
		"for long":                              {heard(0, "r1"), plansLast, kept},
		"for too long":                          {heard(0, "r1"), plansLast + 1, map[string]check.Plan{}},
		"its files do not, and the run goes on": {heard(time.Hour, "r1"), time.Hour, going},
		"nor does the run":                      {heard(time.Hour, "r2"), time.Hour, map[string]check.Plan{}},
		"the run was interrupted since":         {heard(time.Minute, "r2"), time.Minute, kept},
	} {
		p := planned{plans: going, read: t0, heard: c.heard}
		if d := cmp.Diff(c.want, p.at(t0.Add(c.after), grace)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestAPrimaryThatIsGoneHasNoPlans for ever: what a run did to a standby is known from it
// alone, and counts at the looks at the others.
func TestAPrimaryThatIsGoneHasNoPlans(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)
	members := []check.Member{{Name: "pg1", Role: inventory.Primary, Server: "pg1"}, {Name: "pg2", Role: inventory.Standby, Server: "pg2", Upstream: "pg1"}, {Name: "pg3", Role: inventory.Standby, Server: "pg3", Upstream: "pg1"}}
	p := check.Policy{MaxBytes: 100, MinBytes: 10, Grace: 6 * time.Second}
	s := New(check.NewBoard(members, p, check.NewMemory("shop")), p, Options{Interval: 2 * time.Second, Timeout: 10 * time.Second, Stale: 3, Now: func() time.Time { return now }, Say: func(time.Time, string, string) {}})
	look := func(pg2, pg3 check.Reason) {
		t.Helper()
		paused := standby(1000)
		paused.Replay.Paused = true
		s.take(check.Observe("pg2", now, standby(1000), nil), &found{})
		s.take(check.Observe("pg3", now, paused, nil), &found{})
		for host, want := range map[string]check.Reason{"pg2": pg2, "pg3": pg3} {
			if st := s.State(host, check.Limit{}); st.Reason != want {
				t.Errorf("%s: %s (%s), want %s", host, st.Reason, st.Why, want)
			}
		}
	}
	holds := primary()
	holds.Lock = &facts.LockHolder{Application: "pgrepctl r1 "}
	s.take(check.Observe("pg1", now, holds, nil), &found{plans: map[string]check.Plan{"pg2": {Run: "r1", Drained: true}, "pg3": {Run: "r1", Paused: true}}})
	look(check.Drained, check.Held)
	// The copies of the journals cannot be read, and the run goes on.
	now = now.Add(time.Minute)
	s.take(check.Observe("pg1", now, holds, nil), &found{plansErr: errors.New("permission denied")})
	look(check.Drained, check.Held)
	for _, step := range []struct {
		after    time.Duration
		pg2, pg3 check.Reason
	}{{4 * time.Second, check.Drained, check.Held}, {4 * time.Second, check.Drained, check.Paused}, {plansLast, check.OK, check.Paused}} {
		now = now.Add(step.after)
		s.take(check.Observe("pg1", now, facts.Server{}, errors.New("no route to host")), nil)
		look(step.pg2, step.pg3)
	}
}
