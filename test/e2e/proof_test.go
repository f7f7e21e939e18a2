package e2e

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

// proof counts what must never be, however a run was broken off.
type proof struct {
	startable, writable, residue, unequal atomic.Int64
}

func (p *proof) report(r *figures.Report) {
	r.AtMost("startable partial copies", float64(p.startable.Load()), "count", 0)
	r.AtMost("writable twins", float64(p.writable.Load()), "count", 0)
	r.AtMost("residue", float64(p.residue.Load()), "count", 0)
	r.AtMost("unequal hashes", float64(p.unequal.Load()), "count", 0)
}

// none counts a check that failed.
func none(t *testing.T, n *atomic.Int64, check func()) {
	t.Helper()
	was := t.Failed()
	defer func() {
		if !was && t.Failed() {
			n.Add(1)
		}
	}()
	check()
}

// fenced asserts that whatever is on the standby now can neither start as a
// server of its own nor be written to.
func (p *proof) fenced(t *testing.T, s *site) {
	t.Helper()
	out := s.at(t, "h2", `
if [ -e $data/global/pg_control ] && [ ! -e $data/`+s.recoveryFile()+` ]; then echo startable; fi
if [ -e $data/postmaster.pid ] && [ "$(as psql -XAtqc 'select pg_is_in_recovery()' postgres 2>/dev/null)" = f ]; then echo writable; fi`)
	switch out {
	case "":
	case "startable":
		p.startable.Add(1)
		t.Error("the copy on h2 can start as a server of its own")
	default:
		p.writable.Add(1)
		t.Errorf("h2 can be written to: %s", out)
	}
}

// insist calls until nobody holds the cluster lock: the session of a tool whose
// connection nobody closed lives until the server has missed its heartbeats.
func (o *operator) insist(args ...string) *answer {
	o.t.Helper()
	for deadline := time.Now().Add(200 * time.Second); ; pause(time.Second) {
		a := o.call(args...)
		if a.code != 7 || time.Now().After(deadline) {
			return a
		}
	}
}
