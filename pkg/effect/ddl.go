package effect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Keys of what is known of a schema change.
const (
	DDLXid       = "ddl.xid"       // its transaction, noted before the COMMIT
	DDLRelations = "ddl.relations" // oids that it locks against readers, with commas, noted before the COMMIT
	DDLPosition  = "ddl.lsn"       // where it is in the WAL, or before that: committed
	DDLAttempts  = "ddl.attempts"
	DDLSeconds   = "ddl.seconds"   // of the transaction that committed
	DDLLate      = "ddl.late."     // and a standby: why it has not replayed it
	DDLPaused    = "ddl.paused."   // and a standby: since when its pause held that the COMMIT was in
	DDLDrained   = "ddl.drained."  // and a standby: since when nobody reads from it
	DDLReplayed  = "ddl.replayed." // and a standby: for how many seconds it was waited for
)

// DDL runs a schema change on the primary, in one transaction, again and again until
// each lock is obtained within LockTimeout: who waits for a lock holds up everybody who
// comes after. Between two attempts the standbys that were paused for it replay.
type DDL struct {
	Host     string
	Database string
	Role     string // to run it as; empty is the user that connects
	Version  postgres.Version
	// Statements run in order.
	Statements []string
	// System and Timeline are what the primary was when it was planned.
	System   string
	Timeline int

	LockTimeout time.Duration // of one lock, in one attempt
	LockWait    time.Duration // of all attempts
	Timeout     time.Duration // of one statement; where standbys are paused, of all of an attempt together
	// NoRewrite: a rewrite of a table fails before it begins.
	NoRewrite bool
	// NoLock: nothing that was there before may be locked against readers.
	NoLock bool
	// Drained are the standbys that replay it without readers. That nobody reads from
	// them is looked at again before the COMMIT: a balancer that is reloaded forgets.
	Drained []*AwaitDrained
	// Paused are the standbys that are paused for it. That they still are is looked at
	// before the COMMIT, too.
	Paused []*SetReplay
	// Apart are the others at HAProxy, which had no readers when the groups were made. One
	// that serves by now would replay the change under them.
	Apart []Balance
}

func (e *DDL) Kind() string { return "ddl" }
func (e *DDL) On() string   { return e.Host }

// Interruptible: what is not committed is rolled back, and of a COMMIT the primary is asked.
func (e *DDL) Interruptible() bool { return true }

// Inert: no step asks for anything that it changes.
func (e *DDL) Inert() bool   { return true }
func (e *DDL) Predict(World) {}

// Inverse finds out what became of it.
func (e *DDL) Inverse() Effect {
	return &DDLFate{Host: e.Host, Version: e.Version}
}

func (e *DDL) Describe() Description {
	count := "1 statement"
	if len(e.Statements) != 1 {
		count = strconv.Itoa(len(e.Statements)) + " statements"
	}
	d := Description{Verb: "run", Subject: "the DDL", NoReturn: "from its COMMIT on it only goes forward, to all standbys"}
	d.Detail = fmt.Sprintf("(%s in one transaction in database %s; each lock is waited for at most %s; then it is rolled back and tried again, for at most %s",
		count, e.Database, e.LockTimeout, e.LockWait)
	if len(e.Paused) > 0 {
		d.Detail += "; between attempts replay is resumed"
	}
	if e.NoRewrite {
		d.Detail += "; a rewrite of a table is refused"
	}
	d.Detail += ")"
	var b strings.Builder
	for _, s := range e.Statements {
		for line := range strings.Lines(s) {
			b.WriteString("+" + strings.TrimRight(line, "\n") + "\n")
		}
	}
	d.Diff = b.String()
	return d
}

func (e *DDL) Do(ctx context.Context, env Env) (Output, error) {
	if out, err := e.before(ctx, env); out != nil || err != nil {
		return out, err
	}
	end, paused := time.Now().Add(e.LockWait), Output{}
	var s host.SQL
	defer func() {
		if s != nil {
			_ = s.Close(context.WithoutCancel(ctx))
		}
	}()
	for n := 1; ; n++ {
		// One session is for all attempts: to open one takes longer than the change.
		if s == nil || host.Lost(s) {
			var err error
			if s, err = e.session(ctx, env); err != nil {
				return nil, e.explain(untouched{err})
			}
		}
		out, err := e.attempt(ctx, env, s)
		if err == nil {
			maps.Copy(out, paused)
			out[DDLAttempts] = strconv.Itoa(n)
			return out, nil
		}
		if !lockNotObtained(err) {
			return nil, e.explain(err)
		}
		if time.Now().After(end) {
			f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "run the DDL", State: "the last attempt is rolled back",
				Err:  fmt.Errorf("a lock was not obtained in %d attempts during %s: %w", n, e.LockWait, err),
				Hint: "who holds it is in pg_locks of " + e.Host + "; or give it more time: --lock-wait"}
			return nil, untouched{f}
		}
		if n == 1 {
			env.Warn(e.Host, "a lock was not obtained within "+e.LockTimeout.String()+"; it is tried again for at most "+e.LockWait.String())
		}
		if paused, err = e.between(ctx, env); err != nil {
			return nil, untouched{err}
		}
	}
}

// before finds out what an attempt came to whose end nobody saw. Nothing: it is run.
func (e *DDL) before(ctx context.Context, env Env) (Output, error) {
	xid, ok := env.Known(DDLXid)
	if !ok || xid == "" {
		return nil, nil
	}
	happened, err := ddlHappened(ctx, env, e.Host, e.Version, xid)
	if err != nil || !happened {
		return nil, err
	}
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	lsn, err := flushed(ctx, s, e.Version)
	return Output{DDLXid: xid, DDLPosition: lsn, DDLAttempts: "0"}, err
}

// between lets the paused standbys replay while the holder of the lock goes on.
func (e *DDL) between(ctx context.Context, env Env) (Output, error) {
	for _, p := range e.Paused {
		if _, err := p.Inverse().Do(ctx, env); err != nil {
			return nil, err
		}
	}
	if err := sleep(ctx, 500*time.Millisecond+rand.N(1500*time.Millisecond)); err != nil { //nolint:gosec // a jitter
		return nil, err
	}
	paused := Output{}
	for _, p := range e.Paused {
		out, err := p.Do(ctx, env)
		if err != nil {
			return nil, err
		}
		paused[DDLPaused+p.Host] = out[DDLPaused+p.Host]
	}
	return paused, nil
}

func lockNotObtained(err error) bool {
	code := host.SQLState(err)
	return errors.Is(err, errShortOfTime) || code == postgres.LockNotAvailable || code == postgres.DeadlockDetected
}

// explain says of an attempt that failed what is known of it.
func (e *DDL) explain(err error) error {
	f := &fault.Error{Class: fault.ClassOf(err), Host: e.Host, Op: "run the DDL", Err: err}
	if errors.Is(err, ErrUntouched) {
		f.State = "the transaction is rolled back"
	}
	if host.SQLState(err) == postgres.RewriteRefused {
		f.Class, f.Hint = fault.Refused, "--allow-rewrite, if the standbys may be as late as that takes"
	}
	return f
}

func (e *DDL) attempt(ctx context.Context, env Env, s host.SQL) (Output, error) {
	if err := e.nobodyReads(ctx, env); err != nil {
		return nil, untouched{err}
	}
	begin, logs := time.Now(), &logged{}
	note, err := e.prepare(ctx, env, s, logs)
	forget := func() {}
	if err == nil {
		forget, err = e.look(ctx, env)
	}
	if err == nil {
		err = env.Note(ctx, note)
	}
	if err != nil {
		_ = s.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		forget()
		return nil, untouched{errors.Join(err, logs.note(context.WithoutCancel(ctx), env, note))}
	}
	if err := s.Exec(ctx, "COMMIT"); err != nil {
		if err := e.unanswered(ctx, env, note[DDLXid], err); err != nil {
			return nil, err
		}
	}
	took := time.Since(begin)
	ordinary, err := env.SQL(ctx, e.Host) // the other session may be lost
	if err != nil {
		return nil, err
	}
	lsn, err := flushed(ctx, ordinary, e.Version)
	if err != nil {
		return nil, err
	}
	return Output{DDLXid: note[DDLXid], DDLRelations: note[DDLRelations], DDLPosition: lsn, DDLSeconds: fmt.Sprintf("%.3f", took.Seconds())}, nil
}

// unanswered is a COMMIT that gave an error. What the server refused, a deferred
// constraint say, did not happen; of a lost connection the server has to be asked.
func (e *DDL) unanswered(ctx context.Context, env Env, xid string, err error) error {
	var sqlErr *host.SQLError
	if errors.As(err, &sqlErr) && !strings.HasPrefix(sqlErr.Code, "57P") {
		return untouched{err}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fateTimeout)
	defer cancel()
	happened, ferr := ddlHappened(ctx, env, e.Host, e.Version, xid)
	switch {
	case ferr != nil:
		return errors.Join(err, ferr)
	case !happened:
		return untouched{err}
	}
	return nil
}
