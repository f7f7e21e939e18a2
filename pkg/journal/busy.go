package journal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrBusy says that a live process writes the journal: its run goes on.
var ErrBusy = errors.New("another process is writing it")

// own makes this process the only writer, until it closes the file or dies. Two
// would number their records alike, and nobody could read the file any more.
func own(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrBusy
	}
	return err
}

// Busy reports whether a live process writes a journal.
func Busy(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("look at journal: %w", err)
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at journal: %w", err)
	}
	return false, nil
}
