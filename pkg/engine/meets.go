package engine

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// Operators meet on one host: there is the cluster lock, and there are the copies of
// journals. That is the primary, but for a run that replaces the primary: then it is
// the standby that will be one, where the plan has its lock.

// meets is the host of a run. One that the inventory does not know any more is gone,
// and with it what was there.
func (e *Engine) meets(r journal.Run) string { return e.meeting(r.Meets) }

func (e *Engine) meeting(name string) string {
	if _, ok := e.Inventory.Host(name); ok {
		return name
	}
	return e.Inventory.Primary().Name
}

// search looks for the copy of a run that this machine knows nothing of: on the
// primary, and then on the standbys, of which those that do not answer have none. It
// returns nil when nobody knows the run.
func (e *Engine) search(ctx context.Context, w *world, id string) (*Found, error) {
	f, err := e.copyOn(ctx, w, e.Inventory.Primary().Name, id, nil)
	if err == nil && f != nil {
		return f, nil
	}
	for _, h := range e.Inventory.Standbys() {
		if other, _ := e.copyOn(ctx, w, h.Name, id, nil); other != nil {
			return other, nil
		}
	}
	return f, err
}
