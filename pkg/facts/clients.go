package facts

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// ClientCounter is a Source that counts the clients of the server, too. A host that is only
// written down has none.
type ClientCounter interface {
	Clients(ctx context.Context, ignore []string) (int, error)
}

// Clients counts who has a session on the server now, without the roles to ignore. The
// answer is not kept: they come and go.
func (h *Host) Clients(ctx context.Context, ignore []string) (int, error) {
	c, ok := h.source.(ClientCounter)
	if !ok || h.expected {
		return 0, nil
	}
	n, err := c.Clients(ctx, ignore)
	switch {
	case errors.Is(err, host.ErrNoServer):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("count the clients of %s: %w", h.Name, err)
	}
	return n, nil
}
