package facts

import (
	"context"
	"errors"
	"io/fs"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

type lister interface {
	List(ctx context.Context, as, dir string) ([]host.Entry, error)
}

// ConfigNames are the files of a directory of configuration files, for conf.Load; none if
// there is no such directory.
func ConfigNames(ctx context.Context, l lister, as, dir string) ([]string, error) {
	entries, err := l.List(ctx, as, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if !e.Mode.IsDir() {
			names = append(names, e.Name)
		}
	}
	return names, err
}
