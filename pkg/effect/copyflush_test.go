package effect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// lasts is a stream that takes so long, or is cancelled.
func lasts(d time.Duration) func(context.Context, []string, int, func(int64)) error {
	return func(ctx context.Context, _ []string, _ int, _ func(int64)) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func wantUnsynced(t *testing.T, in *env, err error) {
	t.Helper()
	wantFault(t, err, "pg1: copy the data directory from pg0: not all of it could be written to disk: sh: exit status 1: sync: error syncing '/data': Input/output error", fault.Failed)
	var f *fault.Error
	if !errors.As(err, &f) || !strings.Contains(f.State, "may read its page cache and not the disk, so only a fresh copy is safe") || !strings.Contains(f.Hint, "pgrepctl standby reseed pg1 --wipe") {
		t.Errorf("%+v", f)
	}
	if boot, ok := in.known[effect.CopyUnsynced("pg1")]; !ok || boot != "boot1" {
		t.Errorf("noted: %v", in.known)
	}
}

// The kernel tells of a lost write once: what the flush is told the fsync at the end of
// the run is not.
func TestACopyIsGivenUpWhenWhatHasComeCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]int{"while it goes on": 3, "in the last flush, when all has come": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := &pulls{of: lasts(10*time.Second + 950*time.Millisecond), flushed: func(n int) error {
					if n == fails {
						return exit(1, "sync: error syncing '/data': Input/output error")
					}
					return nil
				}}
				_, in, err := pull(t, p, func(e *effect.Copy, _ *server) { e.Boot = "boot1" })
				wantUnsynced(t, in, err)
				if took := time.Since(began); took > time.Duration(fails)*1100*time.Millisecond {
					t.Errorf("it was given up after %s", took)
				}
			})
		})
	}
}

func TestACopyGoesOnWhenItCannotBeFlushed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pulls{of: lasts(10 * time.Second), flushed: func(int) error { return errors.New("the connection was lost") }}
		_, in, err := pull(t, p, nil)
		if err != nil || len(in.known) > 0 {
			t.Errorf("%v, noted: %v", err, in.known)
		}
	})
}

// A sync on a disk that fails may hang for long.
func TestACopyThatIsGivenUpDoesNotWaitForItsFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &pulls{flushed: func(int) error { time.Sleep(time.Hour); return nil },
			of: func(context.Context, []string, int, func(int64)) error {
				time.Sleep(5 * time.Second)
				return exit(11, "No space left on device")
			}}
		_, _, err := pull(t, p, nil)
		wantFault(t, err, "pg1: copy the data directory from pg0: rsync: exit status 11: No space left on device", fault.Failed)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		time.Sleep(2 * time.Hour) // until it has ended by itself
	})
}
