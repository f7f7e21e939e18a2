package engine

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// connectAhead has the connections made meanwhile that brackets of the plan hold a session
// on.
func (r *run) connectAhead(ctx context.Context) {
	names := map[string]bool{}
	holders(r.plan.Nodes, names)
	for name := range names {
		h, err := r.Host(ctx, name)
		if err != nil {
			continue // the bracket says it
		}
		if c, ok := h.(interface{ ConnectAhead(context.Context) }); ok {
			c.ConnectAhead(ctx)
		}
	}
}

func holders(nodes []plan.Node, names map[string]bool) {
	for _, n := range nodes {
		if b, ok := n.Bracket.(interface{ HoldsOwn() bool }); ok && b.HoldsOwn() {
			names[n.Host.Name] = true
		}
		holders(n.Body, names)
	}
}
