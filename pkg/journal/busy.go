package journal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrBusy says that a live process writes the journal: its run goes on.
var ErrBusy = errors.New("another process is writing it")

// lookTime is far more than Busy needs to look.
const lookTime = time.Second

// own makes this process the only writer, until it closes the file or dies. Two
// would number their records alike, and nobody could read the file any more. Who
// asks whether the file is busy has it locked for a moment, too.
func own(f *os.File) error {
	for end := time.Now().Add(lookTime); ; time.Sleep(lookTime / 100) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(end) {
			return ErrBusy
		}
	}
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
