package effect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// errWritable is a server that is no standby.
var errWritable = errors.New("it is not in recovery: it takes writes")

// Starter is an Env that remembers which servers were started through it.
type Starter interface {
	// Started is the start of that host's server as a standby, by this process, and
	// not one that the journal tells of: whatever became of that one since is
	// somebody's will.
	Started(name string) (*Service, bool)
}

// writes asks a server whether it takes writes.
func writes(ctx context.Context, env Env, name string) (bool, error) {
	s, err := env.SQL(ctx, name)
	if err != nil {
		return false, err
	}
	var rec []inRecovery
	err = s.Query(ctx, &rec, "select pg_is_in_recovery() as in_recovery")
	return writable(rec), err
}

// twin is about a server that takes writes where a standby was just made: a recovery
// target ended its recovery after it had come up in it, say. One that this run has started
// is stopped at once, as one that comes up so is; but not while its upstream does not
// answer, for then somebody may have promoted it on purpose.
func twin(ctx context.Context, env Env, name, upstream string, f *fault.Error) error {
	if !errors.Is(f.Err, errWritable) {
		f.Err = fmt.Errorf("%w: %w", errWritable, f.Err)
	}
	left := func(why string) error {
		f.State = "IT IS STILL RUNNING, AND WRITABLE: " + why
		f.Hint = "unless it was promoted on purpose, stop it now: " + stopByHand(ctx, env, name)
		return f
	}
	st, ok := env.(Starter)
	if !ok {
		return left("this run did not start it, and does not stop it")
	}
	start, ok := st.Started(name)
	if !ok {
		return left("this run did not start it, and does not stop it")
	}
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	up, err := env.SQL(asking, upstream)
	if err == nil {
		err = up.Exec(asking, "select 1")
	}
	if err != nil {
		return left(upstream + " does not answer, and somebody may have promoted it")
	}
	h, err := env.Host(ctx, name)
	if err != nil {
		return left("stopping it failed: " + err.Error())
	}
	f.State = "it was stopped at once"
	f.Hint = "do not start it by hand; its server log says what ended recovery: when that is mended, move its data directory away, then: pgrepctl runs resume " + env.Run().ID
	return start.halt(ctx, h, f)
}

// stopByHand is what stops a server of which only a session is there.
func stopByHand(ctx context.Context, env Env, name string) string {
	var rows []struct {
		Dir string `json:"dir"`
	}
	s, err := env.SQL(ctx, name)
	if err == nil {
		err = s.Query(ctx, &rows, "select current_setting('data_directory') as dir")
	}
	if err != nil || len(rows) != 1 {
		return "its service on " + name
	}
	dir, err := shell.Quote(rows[0].Dir)
	if err != nil {
		return "its service on " + name
	}
	return fmt.Sprintf("pg_ctl stop -m fast -D %s, on %s, as the owner of that directory", dir, name)
}
