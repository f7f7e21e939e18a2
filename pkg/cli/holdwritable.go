package cli

import (
	"context"
	"errors"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// errTakesWrites is why replay is held nowhere on a host that was promoted, and that the
// inventory still has as a standby.
var errTakesWrites = errors.New("it is not in recovery: it takes writes, and replays nothing")

// findWritable looks again at hosts that refused to be held: to stop the server of one
// that takes writes would stop the primary.
func (a *app) findWritable(ctx context.Context, s *session, list []engine.Outcome) {
	var refused []*inventory.Host
	for _, o := range list {
		if fault.ClassOf(o.Err) == fault.Refused {
			refused = append(refused, o.Plan.Standby)
		}
	}
	if len(refused) == 0 {
		return
	}
	seen := a.read(ctx, s, refused, (*live.Gatherer).Glance)
	for i, o := range list {
		h := o.Plan.Standby
		if f := seen[h.Name].Facts; f != nil && f.Server.Running && !f.Server.InRecovery {
			list[i].Err = takesWrites(h)
		}
	}
}

func takesWrites(h *inventory.Host) error {
	return fault.Refuse(h.Name, "if it was promoted: say so in the inventory ("+h.Pos.String()+"); who is what now: pgrepctl status", errTakesWrites)
}
