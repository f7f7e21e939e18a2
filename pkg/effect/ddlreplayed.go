package effect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// AwaitDDL waits until a standby has replayed the run's schema change. One that has not in
// time is told of, and left behind: the others must not wait for it, and what proves
// the change at the end fails.
type AwaitDDL struct {
	Host    string           `json:"host"`
	Version postgres.Version `json:"-"`
	Timeout time.Duration    `json:"timeout"`
}

func (e *AwaitDDL) Kind() string    { return "await-ddl" }
func (e *AwaitDDL) On() string      { return e.Host }
func (e *AwaitDDL) Inverse() Effect { return nil }
func (e *AwaitDDL) Predict(World)   {}

// Interruptible: waiting changes nothing.
func (e *AwaitDDL) Interruptible() bool { return true }

// Inert: no step asks for anything that it changes.
func (e *AwaitDDL) Inert() bool { return true }

func (e *AwaitDDL) Describe() Description {
	return Description{Verb: "wait until", Subject: "it has replayed the DDL", Detail: "(at most " + e.Timeout.String() + ")"}
}

func (e *AwaitDDL) Do(ctx context.Context, env Env) (Output, error) {
	lsn, err := ddlPosition(env)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	waiting, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	err = e.await(waiting, env, lsn)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil {
		return Output{DDLLate + e.Host: "", DDLReplayed + e.Host: fmt.Sprintf("%.3f", time.Since(begin).Seconds())}, nil
	}
	why := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		why = "not within " + e.Timeout.String()
	}
	env.Warn(e.Host, "it has not replayed the DDL, and gets no reads until it has: "+why)
	return Output{DDLLate + e.Host: why}, nil
}

// reachTime is for how long a standby whose connection was lost is asked again: it may be the
// connection alone that is gone, and one that is left behind gets no reads.
const reachTime = 10 * time.Second

func (e *AwaitDDL) await(ctx context.Context, env Env, lsn postgres.LSN) error {
	var lost time.Time
	for {
		err := e.ask(ctx, env, lsn)
		if fault.ClassOf(err) != fault.Unreachable {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > reachTime || sleep(ctx, 250*time.Millisecond) != nil {
			return err
		}
	}
}

func (e *AwaitDDL) ask(ctx context.Context, env Env, lsn postgres.LSN) error {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return err
	}
	at, err := replay.Await(ctx, s, e.Version, lsn)
	if err != nil && at.Replay != nil {
		return fmt.Errorf("%w; it is at %s, the DDL at %s", err, at.Replayed(), lsn)
	}
	return err
}

func ddlPosition(env Env) (postgres.LSN, error) {
	text, ok := env.Known(DDLPosition)
	if !ok {
		return 0, errors.New("where the DDL is in the WAL is not known")
	}
	return postgres.ParseLSN(text)
}

// ProveDDL compares what each standby says of the relations that were changed with what
// the primary says, and sees that none stands still.
type ProveDDL struct {
	Host     string
	Database string
	Standbys []Replaying
	Timeout  time.Duration
	// Reads: a standby that was left behind gets no reads. That it has the change by now
	// does not bring them back.
	Reads bool
}

// Replaying is a standby with its version.
type Replaying struct {
	Host    string           `json:"host"`
	Version postgres.Version `json:"version"`
}

func (e *ProveDDL) Kind() string    { return "prove-ddl" }
func (e *ProveDDL) On() string      { return e.Host }
func (e *ProveDDL) Inverse() Effect { return nil }
func (e *ProveDDL) Predict(World)   {}

// Interruptible: it changes nothing.
func (e *ProveDDL) Interruptible() bool { return true }

// Inert: no step asks for anything that it changes.
func (e *ProveDDL) Inert() bool { return true }

func (e *ProveDDL) Describe() Description {
	names := make([]string, len(e.Standbys))
	for i, s := range e.Standbys {
		names[i] = s.Host
	}
	return Description{Verb: "prove", Subject: "the DDL", Detail: "(replayed, with the same columns as here, and replay not paused, on " + strings.Join(names, ", ") + ")"}
}

// DDLProven is noted when all standbys have the schema change.
const DDLProven = "ddl.proven"

func (e *ProveDDL) Do(ctx context.Context, env Env) (Output, error) {
	lsn, err := ddlPosition(env)
	if err != nil {
		return nil, err
	}
	relations, err := ddlRelations(env)
	if err != nil {
		return nil, err
	}
	primary := e.session(env, e.Host)
	defer primary.done(ctx)
	errs := make([]error, len(e.Standbys))
	var wg sync.WaitGroup
	if len(relations) > 0 {
		wg.Go(func() { _ = primary.open(ctx) }) // beside those of the standbys; who asks opens it else, and says why not
	}
	for i, s := range e.Standbys {
		wg.Go(func() {
			err := e.prove(ctx, env, s, lsn, relations, primary)
			if late, _ := env.Known(DDLLate + s.Host); err == nil && e.Reads && late != "" {
				err = errors.New("it was left behind, and has it only now: it gets no reads yet")
			}
			if err != nil {
				errs[i] = &fault.Error{Class: fault.ClassOf(err), Host: s.Host, Err: err}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "prove the DDL", Err: err, State: "it is committed on " + e.Host + ", and every standby that has it serves",
			Hint: "when the standby follows again: pgrepctl ddl resume " + env.Run().ID}
	}
	return Output{DDLProven: "true"}, nil
}

func (e *ProveDDL) prove(ctx context.Context, env Env, s Replaying, lsn postgres.LSN, relations []int64, primary *changed) error {
	sql, err := env.SQL(ctx, s.Host)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, e.Timeout, errors.New("it has not replayed the DDL"))
	defer cancel()
	if _, err := replay.Await(waiting, sql, s.Version, lsn); err != nil {
		return err
	}
	now, err := replay.Read(ctx, sql, s.Version)
	if err != nil {
		return err
	}
	if now.PauseState() != replay.NotPaused {
		return errors.New("replay is paused")
	}
	if len(relations) == 0 {
		return nil
	}
	standby := e.session(env, s.Host)
	defer standby.done(ctx)
	// Somebody else may change the same relations meanwhile: that has to arrive, too.
	return poll(ctx, e.Timeout, func(ctx context.Context) (bool, error) {
		have, err := standby.columns(ctx, relations)
		if err != nil {
			return false, err
		}
		want, err := primary.columns(ctx, relations)
		return have == want, err
	}, func() error { return fmt.Errorf("the columns of what was changed are not those of %s", e.Host) })
}

// changed is a session in the database that was changed, opened at the first question.
type changed struct {
	env            Env
	host, database string
	mu             sync.Mutex
	sql            host.SQL
}

func (e *ProveDDL) session(env Env, name string) *changed {
	return &changed{env: env, host: name, database: e.Database}
}

// columns is a digest of what the catalogs of a server say of relations.
func (c *changed) columns(ctx context.Context, relations []int64) (string, error) {
	if err := c.open(ctx); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return digest(ctx, c.sql, relations)
}

func (c *changed) open(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sql != nil {
		return nil
	}
	s, err := c.env.Session(ctx, c.host, c.database)
	if err == nil {
		c.sql = s
	}
	return err
}

func (c *changed) done(ctx context.Context) {
	if c.sql != nil {
		c.env.Spare(ctx, c.host, c.database, c.sql)
	}
}

func digest(ctx context.Context, s host.SQL, relations []int64) (string, error) {
	var rows []struct {
		Line string `json:"line"`
	}
	if err := s.Query(ctx, &rows, postgres.ColumnsOf(relations)); err != nil {
		return "", fmt.Errorf("read the columns: %w", err)
	}
	sum := sha256.New()
	for _, r := range rows {
		sum.Write([]byte(r.Line + "\n"))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
