// Package store keeps the memory of the check in a file: whole or not at all, and
// by one process at a time.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// File is one memory, of one cluster and one use of it. Its lock is a file beside
// it, for the file itself is replaced at each writing.
type File struct {
	path string
	lock *os.File
}

// Open takes the memory at path for this process, and waits for another until ctx
// ends. Close gives it free; so does the end of the process.
func Open(ctx context.Context, path string) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open the memory of the check: %w", err)
	}
	l, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the memory of the check: %w", err)
	}
	for {
		err := syscall.Flock(int(l.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return &File{path: path, lock: l}, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock the memory of the check: %w", err), l.Close())
		}
		wait := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, errors.Join(&fault.Error{Class: fault.Locked, Op: "lock " + path, Err: errors.New("another process uses it"),
				Hint: "only one check at a time remembers there: wait for the other, or give this one --memory NAME"}, l.Close())
		case <-wait.C:
		}
	}
}

// Read returns what is remembered of a cluster. A memory that cannot be used is an
// empty one, and the error says why: it is no reason to fail.
func (f *File) Read(cluster string, now time.Time) (check.Memory, error) {
	empty := check.NewMemory(cluster)
	// A pipe in its place would keep us waiting for ever.
	in, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, fmt.Errorf("read memory: %w", err)
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil || !st.Mode().IsRegular() {
		return empty, fmt.Errorf("read memory %s: it is no regular file", f.path)
	}
	b, err := io.ReadAll(io.LimitReader(in, check.MaxMemory+1))
	if err != nil {
		return empty, fmt.Errorf("read memory: %w", err)
	}
	m, err := check.Decode(b, cluster, now)
	if err != nil {
		return empty, fmt.Errorf("read memory %s: %w", f.path, err)
	}
	return m, nil
}

// Write replaces what is remembered.
func (f *File) Write(m check.Memory) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	return Replace(f.path, b, 0o600)
}

// Replace writes a file in one step: who reads it sees all of the old bytes or all
// of the new.
func Replace(path string, b []byte, mode fs.FileMode) error {
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = t.Write(b)
	if err == nil {
		err = t.Chmod(mode)
	}
	if err == nil {
		err = t.Sync()
	}
	err = errors.Join(err, t.Close())
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(t.Name()))
	}
	return nil
}

// Close gives the memory free.
func (f *File) Close() error { return f.lock.Close() }
