package steps

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

// TrafficRestored answers for the drains of its body: where they keep reads away at its
// end, and the body has not let them in again, they come back. So a run that fails leaves
// nobody drained, also when its undo has to wait: for the host that has its lock, say.
type TrafficRestored struct{}

var (
	_ Bracket = (*TrafficRestored)(nil)
	_ Keeper  = (*TrafficRestored)(nil)
)

// Open does nothing: it is the body that drains.
func (*TrafficRestored) Open(context.Context, In) (Planned, error) {
	return noop("reads that are kept away below come back, however it ends"), nil
}

// Close has nothing to add to the inverses.
func (*TrafficRestored) Close(context.Context, In) (Planned, error) { return Planned{}, nil }

// Keeps every drain.
func (*TrafficRestored) Keeps(e effect.Effect) bool {
	switch e := e.(type) {
	case *effect.Balance:
		return !e.Serve
	case *effect.HealthFile:
		return !e.Serve
	}
	return false
}
