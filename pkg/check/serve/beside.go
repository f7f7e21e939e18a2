package serve

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// found is what is asked beside the looks at a host. It is read from files, so it may take
// long while its server answers at once, and says nothing of its server.
type found struct {
	plans    map[string]check.Plan // of the primary
	plansErr error
	keptOut  bool // one of its health files is there
	filesErr error
}

// asking is a question beside the looks that is not answered yet.
type asking struct {
	answer <-chan found // exactly one comes
	cancel context.CancelFunc
}

// askBeside begins to ask for what a look that saw a server does not tell.
func (s *Server) askBeside(ctx context.Context, l Looker, seen facts.Server) *asking {
	answer := make(chan found, 1)
	ctx, cancel := context.WithTimeoutCause(ctx, s.o.Timeout, fmt.Errorf("no answer within %s", s.o.Timeout))
	go func() {
		m := s.memberOf(l.Name())
		var f found
		if m.Role == inventory.Primary {
			f.plans, f.plansErr = l.Plans(ctx, seen, s.board.Members())
		}
		f.keptOut, f.filesErr = l.KeptOut(ctx, m)
		answer <- f
	}()
	return &asking{answer, cancel}
}

// within is the answer, if it comes within a time; nil if it does not.
func (a *asking) within(d time.Duration) *found {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case f := <-a.answer:
		return a.done(f)
	case <-late.C:
	}
	select {
	case f := <-a.answer:
		return a.done(f)
	default:
		return nil
	}
}

func (a *asking) done(f found) *found {
	a.cancel()
	return &f
}

// drop ends a question whose answer is of before something else that happened.
func (a *asking) drop() {
	a.cancel()
	<-a.answer
}

// plansLast is how long plans count that could not be read again. Nobody can say any more
// whether the run still keeps traffic away, and a run that goes on without its primary fails.
const plansLast = 15 * time.Minute

// planned is what runs did to hosts, as the primary said last.
type planned struct {
	plans map[string]check.Plan
	read  time.Time // when
	// heard is the last answer of the primary: it says who holds the cluster lock.
	heard check.Observation
}

// at is what counts at a time. A run is known to go on for as long as the primary answers and
// it holds the lock; so long its plans count, however old they are.
func (p planned) at(now time.Time, grace time.Duration) map[string]check.Plan {
	answers := now.Sub(p.heard.At) <= grace
	out := map[string]check.Plan{}
	for host, plan := range p.plans {
		plan.Going = answers && p.heard.Server.Holds(plan.Run)
		if plan.Going || now.Sub(p.read) <= plansLast {
			out[host] = plan
		}
	}
	return out
}
