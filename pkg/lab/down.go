package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Down ends a lab, and removes everything of it: processes, and with them
// namespaces and mounts, and files. It does so as well for what a killed Up
// left. A lab that is not there is no error.
func Down(ctx context.Context, state, name string) error {
	if err := supported(); err != nil {
		return err
	}
	dir, err := labDir(state, name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	release, err := lock(dir)
	if err != nil {
		return err
	}
	defer release()
	l, err := load(state, name)
	var absent *fault.Error
	if errors.As(err, &absent) {
		// Killed before it wrote anything: lab.json comes before any process
		// or disk.
		l, err = &Lab{dir: dir, config: config{Name: name, Disks: dir, Rootless: mayRootless()}}, nil
	}
	if err != nil {
		return err
	}
	return l.remove(ctx)
}

// Down is the function of the same name for this lab.
func (l *Lab) Down(ctx context.Context) error {
	release, err := lock(l.dir)
	if err != nil {
		return err
	}
	defer release()
	return l.remove(ctx)
}

func (l *Lab) remove(ctx context.Context) error {
	if err := kill(ctx, l.dir); err != nil {
		return fmt.Errorf("take lab %s down: %w", l.Name, err)
	}
	if err := removeCgroup(ctx, l.Cgroup); err != nil {
		return fmt.Errorf("take lab %s down: %w", l.Name, err)
	}
	if l.Disks != l.dir {
		if err := removeTree(ctx, l.Disks, l.Rootless); err != nil {
			return fmt.Errorf("take lab %s down: %w", l.Name, err)
		}
	}
	if err := removeTree(ctx, l.dir, l.Rootless); err != nil {
		return fmt.Errorf("take lab %s down: %w", l.Name, err)
	}
	return nil
}
