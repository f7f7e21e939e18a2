package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// poll asks until done, an error, or the context's end, first quickly and then
// every 100 ms: a lock may be held meanwhile.
func poll(ctx context.Context, done func(context.Context) (bool, error)) error {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if ok, err := done(ctx); err != nil || ok {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

// position is how far a standby is.
type position struct {
	Receive *postgres.LSN `json:"receive"`
	Replay  *postgres.LSN `json:"replay"`
	Paused  bool          `json:"paused"`
}

func positionQuery(v postgres.Version) string {
	return "select " + v.LastReceive() + " as receive, " + v.LastReplay() + " as replay, " + v.IsReplayPaused() + " as paused"
}

// reach waits until a standby has replayed (received, when that is enough) what
// stands before lsn. It gives up after limit; with moving only after so long
// without progress.
func reach(ctx context.Context, standby host.SQL, v postgres.Version, lsn postgres.LSN, received, moving bool, limit time.Duration) error {
	deadline, last, first := time.Now().Add(limit), postgres.LSN(0), true
	return poll(ctx, func(ctx context.Context) (bool, error) {
		var at []position
		if err := standby.Query(ctx, &at, positionQuery(v)); err != nil {
			return false, err
		}
		if len(at) != 1 {
			return false, fmt.Errorf("%d positions", len(at))
		}
		pos, did := at[0].Replay, "replay"
		if received {
			pos, did = at[0].Receive, "receive"
		}
		now := postgres.LSN(0)
		if pos != nil {
			now = *pos
		}
		switch {
		case now >= lsn:
			return true, nil
		case at[0].Paused && !received:
			return false, fmt.Errorf("replay is paused at %s, before %s", now, lsn)
		case moving && now > last && !first:
			deadline = time.Now().Add(limit)
		case time.Now().After(deadline):
			return false, fmt.Errorf("it did not %s %s within %s: it is at %s", did, lsn, limit, now)
		}
		last, first = now, false
		return false, nil
	})
}
