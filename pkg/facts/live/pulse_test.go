package live

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

func pulse(t *testing.T, g *Gatherer) facts.Server {
	t.Helper()
	s, err := g.Pulse(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is asked every two seconds, for years, starts no program on the host.
func TestPulseIsOneQueryOfASessionThatIsKept(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, h := s.gatherer()
	pulse(t, g)
	h.runs.Store(0)
	h.sessions.Store(0)
	h.queries.Store(0)
	for range 10 {
		pulse(t, g)
	}
	if h.runs.Load() != 0 || h.sessions.Load() != 0 || h.queries.Load() != 10 || h.files.Load() != 0 {
		t.Errorf("ten of them: %d programs, %d sessions, %d queries", h.runs.Load(), h.sessions.Load(), h.queries.Load())
	}
}

func TestPulseSaysWhatGatherSays(t *testing.T) {
	t.Parallel()
	p := newServer(t)
	p.start()
	s := p.standby("pg2")
	s.start()
	g, _ := s.gatherer()
	for s := pulse(t, g); s.Replay.ReceiverStatus != "streaming"; s = pulse(t, g) {
		if contextOf(t).Err() != nil {
			t.Fatal("never streamed")
		}
	}
	for _, s := range []*server{p, s} {
		g, _ := s.gatherer()
		got, want, after := pulse(t, g), gather(t, g).Server, pulse(t, g)
		// What the server logs by itself (its running transactions, every 15 s) moves its positions.
		for cmp.Diff(lasting(got), lasting(after)) != "" && contextOf(t).Err() == nil {
			got, want, after = after, gather(t, g).Server, pulse(t, g)
		}
		if !got.Running || got.SystemID == "" || got.Timeline != 1 {
			t.Errorf("%+v", got)
		}
		if d := cmp.Diff(lasting(want), lasting(got)); d != "" {
			t.Error(d)
		}
	}
}

// lasting leaves out what a pulse does, and what a moment changes.
func lasting(x facts.Server) facts.Server {
	x = facts.Server{Running: x.Running, Version: x.Version, InRecovery: x.InRecovery, SystemID: x.SystemID, Timeline: x.Timeline, LSN: x.LSN, Slots: slices.Clone(x.Slots),
		Replay: facts.Replay{ReceiverStatus: x.Replay.ReceiverStatus, Receive: x.Replay.Receive, Replay: x.Replay.Replay, SlotName: x.Replay.SlotName}}
	for i := range x.Slots {
		x.Slots[i].RetainedBytes, x.Slots[i].RestartLSN = nil, nil
	}
	return x
}

func TestPulseFollowsStopAndRestart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	pulse(t, g)
	s.stop("fast")
	if got := pulse(t, g); got.Running {
		t.Errorf("stopped: %+v", got)
	}
	if d := cmp.Diff(facts.Server{}, pulse(t, g)); d != "" {
		t.Errorf("stopped, once more: %s", d)
	}
	s.start()
	if got := pulse(t, g); !got.Running {
		t.Errorf("started: %+v", got)
	}
	s.stop("immediate")
	s.start()
	if got := pulse(t, g); !got.Running {
		t.Errorf("restarted unseen: %+v", got)
	}
	// What a pulse has left out is there when all is asked for.
	if f := gather(t, g); !f.Server.Running || f.Server.SizeBytes == 0 {
		t.Errorf("gathered after a pulse: size %d", f.Server.SizeBytes)
	}
}
