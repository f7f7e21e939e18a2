package facts

import (
	"context"
	"fmt"
	"io/fs"
)

// Access is what an OS user may do with a directory, or with a file, as the host's kernel says: on a
// network file system the mode tells little.
type Access struct {
	Path   string `json:"path"`
	Exists bool   `json:"exists"`
	Read   bool   `json:"read"`  // list it, and open files in it
	Write  bool   `json:"write"` // make and remove files in it
	// Make: it does not exist, its parent does, and the user may make it there.
	Make bool `json:"make"`
	// File: it is a plain file. Exists is then false, Read tells whether the user may.
	File bool `json:"file"`
	// Owner is the user that it belongs to, empty when it does not exist. Mode is
	// that of a file.
	Owner string      `json:"owner"`
	Mode  fs.FileMode `json:"mode"`
}

// Access asks about directories and files, one answer each, in their order.
func (h *Host) Access(ctx context.Context, as string, dirs []string) ([]Access, error) {
	if h.source == nil || len(dirs) == 0 {
		return nil, nil
	}
	a, err := h.source.Access(ctx, as, dirs)
	if err != nil {
		return nil, fmt.Errorf("look at directories and files of %s: %w", h.Name, err)
	}
	return a, nil
}
