package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ErrPaused says that a replay that is waited for stands still.
var ErrPaused = errors.New("replay is paused")

// Await waits until a standby has replayed what stands before lsn, and returns how far
// it came, also with an error. A replay that is paused, or asked to, is not waited for.
func Await(ctx context.Context, s host.SQL, v postgres.Version, lsn postgres.LSN) (Progress, error) {
	var last Progress
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		now, err := Read(ctx, s, v)
		if err != nil {
			return last, err
		}
		last = now
		switch {
		case !now.InRecovery:
			return now, errors.New("it is not in recovery: it replays nothing")
		case now.Replayed() >= lsn:
			return now, nil
		case now.PauseState() != NotPaused:
			return now, fmt.Errorf("%w (%s) at %s, %d bytes before %s", ErrPaused, now.PauseState(), now.Replayed(), lsn.Sub(now.Replayed()), lsn)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return now, context.Cause(ctx)
		case <-t.C:
		}
	}
}
