package effect

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// still fails unless the pause holds. A standby that goes on, for somebody resumed it or its
// server was started anew, would replay the change under its readers.
func (e *SetReplay) still(ctx context.Context, env Env) error {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return err
	}
	now, err := replay.Read(ctx, s, e.Version)
	if err != nil {
		return e.notPaused(err)
	}
	switch {
	case !now.InRecovery:
		return e.notPaused(errors.New("it was promoted meanwhile"))
	case e.Waited && now.Receiver != "streaming":
		return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "look at it before the COMMIT", Hint: "pgrepctl replay status " + e.Host,
			Err: fmt.Errorf("commits wait for it (synchronous_standby_names), and its walreceiver is %s: none is started while replay is paused, so the COMMIT would wait for ever, with its locks", cmp.Or(now.Receiver, "gone"))}
	case !e.holds(now):
		return e.notPaused(fmt.Errorf("its state is %q: somebody resumed it, or the server was started anew", now.PauseState()))
	}
	// Who resumed it and paused it again may have stopped it behind a lock of the change.
	var locks []struct {
		Relation int64 `json:"relation"`
	}
	if err := s.Query(ctx, &locks, e.Version.ReplayLocks()); err != nil {
		return e.notPaused(fmt.Errorf("ask what replay has locked: %w", err))
	}
	if len(locks) > 0 {
		return e.notPaused(errors.New("somebody resumed it and paused it again: it has locked a relation against readers"))
	}
	return nil
}

// holds: one that was seen to stand still. Before 14 a request is not told from a pause.
func (e *SetReplay) holds(now replay.Progress) bool {
	if !e.Version.AtLeast(14) {
		return now.PauseState() == replay.Paused
	}
	return (&replay.Stillness{Version: e.Version}).Holds(now)
}

func (e *SetReplay) notPaused(err error) error {
	return &fault.Error{Class: fault.ClassOf(err), Host: e.Host, Op: "see that replay is still paused", Err: err,
		Hint: "pgrepctl replay status " + e.Host + "; when nobody else resumes it, type the same command again"}
}
