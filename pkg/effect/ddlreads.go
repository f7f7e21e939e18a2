package effect

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// readsGrace is how long reads that come back wait for a standby that was let replay a
// moment ago, and nobody reads from.
const readsGrace = 10 * time.Second

// Behind names the standby that an inverse waits for, empty for none.
func (e *Balance) Behind() string { return e.After.behind(e.Serve) }

// Behind is as in Balance.
func (e *HealthFile) Behind() string { return e.After.behind(e.Serve) }

func (s *Replaying) behind(serve bool) string {
	if s == nil || !serve {
		return ""
	}
	return s.Host
}

// wait is before reads come back to a standby that this run has kept them from, however it
// came to its end. While the run's schema change is on its way there replay would lock
// them out. Of a change that is not committed, or of a server that cannot be asked whether
// it is, nothing more comes that it does not have. One that is committed comes also to a
// standby that does not stream now: its walreceiver connects again whenever it can.
func (s *Replaying) wait(ctx context.Context, env Env) error {
	if s == nil {
		return nil
	}
	text, committed := env.Known(DDLPosition)
	if xid, begun := env.Known(DDLXid); !committed && (!begun || xid == "") {
		return nil
	}
	var lsn postgres.LSN
	if committed {
		var err error
		if lsn, err = postgres.ParseLSN(text); err != nil {
			return err
		}
	}
	grace := readsGrace
	if why, _ := env.Known(DDLLate + s.Host); why != "" {
		grace = 0 // it was waited for
	}
	var now replay.Progress
	err := poll(ctx, grace, func(ctx context.Context) (bool, error) {
		sql, err := env.SQL(ctx, s.Host)
		if err == nil {
			now, err = replay.Read(ctx, sql, s.Version)
		}
		switch {
		case err != nil:
			return false, err
		case !now.InRecovery:
			return true, nil
		case committed:
			return now.Replayed() >= lsn, nil
		}
		return now.Held() == 0, nil
	}, func() error { return fmt.Errorf("it is at %s", now.Replayed()) })
	switch {
	case err == nil, !committed:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	env.Warn(s.Host, "it has not replayed the DDL, and gets no reads until it has: "+err.Error())
	return ErrNotYet
}
