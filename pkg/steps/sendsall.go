package steps

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// stopLag is how much WAL a walsender may have to send yet when its server is stopped:
// some seconds of work. A clean shutdown sends all of it first, to each standby
// (WalSndDone), and nobody can write meanwhile.
const stopLag = 256 << 20

// sendsAll refuses to stop a primary whose last WAL would come to the candidate late, or
// never: on each server between the two a walsender has to stream already.
func (s *Promotable) sendsAll(ctx context.Context, in In, p *facts.Host) error {
	old := in.Cluster.Primary()
	for x := in.Self; x != old; {
		up, h := in.Cluster.Upstream(x), p
		if up != old {
			var err error
			if h, err = in.Facts.Of(ctx, up.Name); err != nil || !h.Server.Running {
				return fault.Refuse(in.Self.Name, "start "+up.Name+"; or write upstream: "+old.Name+" for "+x.Name+" in the inventory, then: pgrepctl apply; then type the same command again",
					fmt.Errorf("what %s writes last comes to it by %s, which cannot be asked", old.Name, up.Name))
			}
		}
		w, streams := h.Server.SenderOf(applicationName(x), x.Slot)
		switch {
		case !streams:
			return fault.Refuse(x.Name, "see why: pgrepctl status", fmt.Errorf("it does not stream from %s: it would not get what is written last", up.Name))
		case w.State == "catchup" || w.State == "startup":
			return fault.Refuse(x.Name, "wait until it streams: pgrepctl status --watch; then type the same command again",
				fmt.Errorf("it is still catching up with %s: nobody could write until it has", up.Name))
		}
		x = up
	}
	return s.sendsRest(in, p)
}

// sendsRest refuses while another standby of the old primary lacks much.
func (s *Promotable) sendsRest(in In, p *facts.Host) error {
	for _, w := range p.Server.Senders {
		if w.Sent == nil || w.State == "backup" || p.Server.LSN == 0 {
			continue // a backup is ended by a shutdown, and not waited for
		}
		if lacks := p.Server.LSN.Sub(*w.Sent); lacks > stopLag {
			return fault.Refuse(in.Cluster.Primary().Name, "wait until it has: pgrepctl status --watch; or end that walsender, and see that it does not come back; then type the same command again",
				fmt.Errorf("its walsender for %s (server process %d) has %s to send yet: a shutdown waits for that, and nobody could write meanwhile", w.Application, w.PID, postgres.PrettyBytes(lacks)))
		}
	}
	return nil
}

// unrecognized refuses when another standby streams under a name that is not its own: once
// it is to follow, nobody could see that it does.
func (s *Promotable) unrecognized(in In, p *facts.Host) error {
	apply := "pgrepctl apply"
	if !p.Server.Version.PrimaryConninfoReloads() {
		apply += " --restart=rolling"
	}
	for _, x := range s.followers(in) {
		if _, ok := p.Server.Sender(applicationName(x)); ok {
			continue
		}
		if w, ok := p.Server.SenderOf(applicationName(x), x.Slot); ok {
			return fault.Refuse(x.Name, apply+", which writes it; then type the same command again",
				fmt.Errorf("its walreceiver calls itself %q: application_name in its primary_conninfo is not %s", w.Application, x.Name))
		}
	}
	return nil
}
