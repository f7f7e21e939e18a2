package journal

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestAJournalThatIsLookedAtIsNotTakenForBusy(t *testing.T) {
	t.Parallel()
	j, err := Create(t.TempDir(), Run{ID: "run1"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Reopen(j.Path(), time.Now); !errors.Is(err, ErrBusy) {
		t.Errorf("a second writer: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	look, err := os.Open(filepath.Clean(j.Path())) // as Busy does
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(look.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = look.Close() })
	again, _, err := Reopen(j.Path(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
