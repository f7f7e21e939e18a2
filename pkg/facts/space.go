package facts

import (
	"context"
	"fmt"
)

// Space is a directory and the file system that it is on, or will be on.
type Space struct {
	Path   string `json:"path"`
	Exists bool   `json:"exists"`
	// Device tells file systems apart; empty when it is not known.
	Device     string `json:"device"`
	FreeBytes  int64  `json:"free_bytes"`
	TotalBytes int64  `json:"total_bytes"` // 0 when not known
}

// Space looks at directories, one answer each, in their order.
func (h *Host) Space(ctx context.Context, as string, dirs []string) ([]Space, error) {
	if h.source == nil || len(dirs) == 0 {
		return nil, nil
	}
	s, err := h.source.Space(ctx, as, dirs)
	if err != nil {
		return nil, fmt.Errorf("look at the file systems of %s: %w", h.Name, err)
	}
	return s, nil
}
