package effect

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// stillness is a wait that ended because nothing moved.
type stillness struct{ error }

func (s stillness) Unwrap() error { return s.error }

// walGone says so if the upstream has removed the WAL that a standby asks for next, which no
// waiting brings back. The servers are asked, for the words in the log are of lc_messages.
// A delayed standby and a paused one may have that WAL themselves, and have not read it.
func (e *AwaitStreaming) walGone(ctx context.Context, env Env, err error) string {
	if !errors.As(err, &stillness{}) || e.Delayed {
		return ""
	}
	up, err := env.SQL(ctx, e.Upstream)
	if err != nil {
		return "" // it is an addition to what is known otherwise
	}
	sb, err := env.SQL(ctx, e.Host)
	if err != nil {
		return ""
	}
	var at []struct {
		LSN *postgres.LSN `json:"lsn"`
	}
	q := "select greatest(" + e.Version.LastReceive() + ", " + e.Version.LastReplay() + ") as lsn where not " + e.Version.IsReplayPaused()
	if err := sb.Query(ctx, &at, q); err != nil || len(at) != 1 || at[0].LSN == nil {
		return ""
	}
	if need, oldest, err := removed(ctx, up, e.Version, *at[0].LSN); err == nil && need != "" {
		return fmt.Sprintf("%s has removed the WAL that it needs next: it ends at %s, and the oldest file there is %s", e.Upstream, *at[0].LSN, oldest)
	}
	return ""
}

// removed is the WAL file that holds a position, if a server has it no more, and the oldest
// one that it has; empty when it has it. Both are without their timelines.
func removed(ctx context.Context, up host.SQL, v postgres.Version, at postgres.LSN) (need, oldest string, err error) {
	var has []struct {
		Name string `json:"name"`
		Size uint64 `json:"size"`
	}
	// Names sort by timeline first; only the part behind it says how old a file is.
	q := `select f.name, ` + segmentBytes + ` as size from pg_ls_dir('` + v.WALDir() + `') as f(name)
		where f.name ~ '^[0-9A-F]{24}$' order by substr(f.name, 9) limit 1`
	if err := up.Query(ctx, &has, q); err != nil || len(has) != 1 {
		return "", "", err
	}
	file, err := postgres.SegmentName(1, at, has[0].Size)
	if err != nil {
		return "", "", err
	}
	if file[8:] >= has[0].Name[8:] {
		return "", "", nil
	}
	return file[8:], has[0].Name[8:], nil
}

// segmentBytes is wal_segment_size in bytes: pg_settings gives 8kB blocks before 11.
const segmentBytes = `(select setting::int8 * case unit when '8kB' then 8192 else 1 end from pg_settings where name = 'wal_segment_size')`
