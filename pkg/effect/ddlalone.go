package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// DDLInvalid are the oids of the indexes that were invalid before a statement that can
// be in no transaction, noted before it.
const DDLInvalid = "ddl.invalid"

// LoneDDL runs a statement that can be in no transaction: CREATE INDEX CONCURRENTLY and
// its kin. It waits for no lock that others wait behind. When it fails it leaves an
// invalid index, which is dropped. What is taken away by half, an index or a partition,
// cannot be brought back: the rest is done by who goes on.
type LoneDDL struct {
	Host      string
	Database  string
	Role      string
	Version   postgres.Version
	Statement string
}

func (e *LoneDDL) Kind() string { return "lone-ddl" }
func (e *LoneDDL) On() string   { return e.Host }

// Inert: no step asks for anything that it changes.
func (e *LoneDDL) Inert() bool   { return true }
func (e *LoneDDL) Predict(World) {}

// Interruptible: it may last for hours, and is cancelled with its session.
func (e *LoneDDL) Interruptible() bool { return true }

// Inverse takes away what is half made.
func (e *LoneDDL) Inverse() Effect { return e.back() }

func (e *LoneDDL) back() *DropInvalid {
	return &DropInvalid{Host: e.Host, Database: e.Database, Version: e.Version, Taken: e.takes()}
}

// takes reports whether the statement takes something away.
func (e *LoneDDL) takes() bool {
	t, err := ddl.TraceOf(e.Statement, e.Version)
	return err == nil && t.Kind.Takes()
}

func (e *LoneDDL) Describe() Description {
	var b strings.Builder
	for line := range strings.Lines(e.Statement) {
		b.WriteString("+" + strings.TrimRight(line, "\n") + "\n")
	}
	d := Description{Verb: "run", Subject: "the DDL", Detail: "(1 statement in database " + e.Database + ", in no transaction; an invalid index that a failure leaves is dropped)",
		NoReturn: "when it has ended it is there", Diff: b.String()}
	if e.takes() {
		d.Detail = "(1 statement in database " + e.Database + ", in no transaction; done by half it can only be ended)"
		d.NoReturn = "what it has taken away does not come back"
	}
	return d
}

func (e *LoneDDL) Do(ctx context.Context, env Env) (Output, error) {
	was := e.back()
	_, again := env.Known(DDLInvalid)
	s, err := was.session(ctx, env)
	switch {
	case err != nil && again:
		return nil, err // what an earlier try came to is not known
	case err != nil:
		return nil, untouched{err}
	}
	defer func() { _ = s.Close(context.WithoutCancel(ctx)) }()
	// The rest may read as the statement does, so its text does not tell.
	statement, finishing := e.Statement, false
	if again {
		t, f, err := was.goOn(ctx, env, s)
		if err != nil {
			return nil, err
		}
		switch {
		case f == hasHappened:
			return e.ended(ctx, env)
		case f == halfHappened && t.Kind.Takes():
			statement, finishing = t.rest(), true
		}
	}
	if err := e.begin(ctx, s); err != nil {
		if finishing {
			return nil, err // what an earlier try has done by half is still there
		}
		return nil, untouched{err}
	}
	// What was there before is known already when only the rest is to be done.
	if !finishing {
		if err := e.note(ctx, env, s); err != nil {
			return nil, untouched{err}
		}
	}
	stop := e.watch(ctx, env)
	err = s.Exec(ctx, statement)
	stop()
	if err != nil {
		return e.failed(ctx, env, was, err)
	}
	return e.ended(ctx, env)
}

// begin makes the session one for the statement, and for what it means by a name.
func (e *LoneDDL) begin(ctx context.Context, s host.SQL) error {
	run := []string{"SET lock_timeout = 0", "SET statement_timeout = 0", "SET standard_conforming_strings = on"}
	if e.Role != "" {
		role, err := postgres.QuoteIdent(e.Role)
		if err != nil {
			return err
		}
		run = append(run, "SET ROLE "+role)
	}
	for _, q := range run {
		if err := s.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// note is of what is there before the statement.
func (e *LoneDDL) note(ctx context.Context, env Env, s host.SQL) error {
	t, err := traceOf(ctx, s, e.Version, e.Statement)
	var traceless *ddl.Traceless
	if errors.As(err, &traceless) {
		return fault.Refuse(e.Host, traceless.Hint, err)
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	rows, err := e.back().invalid(ctx, s)
	if err != nil {
		return err
	}
	oids := make([]string, len(rows))
	for i, r := range rows {
		oids[i] = strconv.FormatInt(r.OID, 10)
	}
	return env.Note(ctx, Output{DDLInvalid: strings.Join(oids, ","), DDLTrace: string(text)})
}

// ended is what is known of a statement that has happened.
func (e *LoneDDL) ended(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	lsn, err := flushed(ctx, s, e.Version)
	return Output{DDLPosition: lsn, DDLAttempts: "1"}, err
}

// failed finds out what the statement came to, and drops an index that it left, in a
// session of its own: that of the statement may be lost.
func (e *LoneDDL) failed(ctx context.Context, env Env, was *DropInvalid, cause error) (Output, error) {
	out := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "run the DDL", Err: cause, State: "an invalid index may be left"}
	if was.Taken {
		out.State = "it may be done by half"
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fateTimeout)
	defer cancel()
	s, err := was.session(ctx, env)
	if err != nil {
		return nil, errors.Join(out, err)
	}
	defer func() { _ = s.Close(ctx) }()
	if err := was.others(ctx, env, s, true); err != nil {
		return nil, errors.Join(out, err)
	}
	t, f, err := was.became(ctx, env, s)
	switch {
	case err != nil:
		return nil, errors.Join(out, err)
	case f == hasHappened:
		return e.ended(ctx, env) // and the answer was lost
	case f == halfHappened && t.Kind.Takes():
		out.State, out.Hint = t.tells(f), t.onward(f, env.Run().ID, e.Database)
		return nil, out
	}
	dropped, err := was.drop(ctx, env, s)
	if err != nil {
		return nil, errors.Join(out, err)
	}
	if out.State = "it left nothing"; len(dropped) > 0 {
		out.State = "what it left half made is dropped: " + strings.Join(dropped, ", ")
	}
	if t.Kind == ddl.PartitionDetached && t.Before != nil && !t.Before.Whole {
		out.Hint = "it was about to be detached before; the rest is, as the statement: " + t.rest()
	}
	return nil, untouched{out}
}

// watch tells how far an index is, until stop.
func (e *LoneDDL) watch(ctx context.Context, env Env) (stop func()) {
	if !e.Version.AtLeast(12) || e.takes() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, err := session(ctx, env, e.Host, false)
		if err != nil {
			return
		}
		defer func() { _ = s.Close(context.WithoutCancel(ctx)) }()
		for sleep(ctx, time.Second) == nil {
			var rows []struct {
				Done  int64 `json:"done"`
				Total int64 `json:"total"`
			}
			const q = "select coalesce(blocks_done, 0) as done, coalesce(blocks_total, 0) as total from pg_stat_progress_create_index where datname = $1 limit 1"
			if err := s.Query(ctx, &rows, q, e.Database); err != nil {
				return
			}
			for _, r := range rows {
				env.Progress(event.Progress{Bytes: r.Done * 8192, Total: r.Total * 8192})
			}
		}
	}()
	return func() { cancel(); <-done }
}

// DropInvalid is the inverse of a LoneDDL that did not come to its end: its statement is
// ended, if it goes on, and the indexes that are invalid since are dropped. It refuses when
// the statement has happened all the same, or has taken something away by half.
type DropInvalid struct {
	Host     string           `json:"host"`
	Database string           `json:"database"`
	Version  postgres.Version `json:"version"`
	// Taken: the statement takes something away.
	Taken bool `json:"taken,omitempty"`
}

func (e *DropInvalid) Kind() string    { return "drop-invalid" }
func (e *DropInvalid) On() string      { return e.Host }
func (e *DropInvalid) Inverse() Effect { return nil }
func (e *DropInvalid) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *DropInvalid) Inert() bool { return true }

func (e *DropInvalid) Describe() Description {
	if e.Taken {
		return Description{Verb: "check", Subject: "that the DDL has taken nothing away", Detail: "(in database " + e.Database + ")"}
	}
	return Description{Verb: "drop", Subject: "the invalid indexes that the DDL left", Detail: "(in database " + e.Database + ")"}
}

func (e *DropInvalid) Do(ctx context.Context, env Env) (Output, error) {
	if _, ok := env.Known(DDLInvalid); !ok {
		return nil, nil // the statement was not begun
	}
	s, err := e.session(ctx, env)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close(context.WithoutCancel(ctx)) }()
	if err := e.others(ctx, env, s, true); err != nil {
		return nil, err
	}
	t, f, err := e.became(ctx, env, s)
	if err == nil {
		err = e.happened(env, t, f)
	}
	if err == nil {
		_, err = e.drop(ctx, env, s)
	}
	return nil, err
}

// goOn is before a statement is run again: it waits until that of the earlier try has ended,
// for the server does not notice that a client is gone while it makes an index, and drops
// what that left half made.
func (e *DropInvalid) goOn(ctx context.Context, env Env, s host.SQL) (*trace, fate, error) {
	if err := e.others(ctx, env, s, false); err != nil {
		return nil, notHappened, err
	}
	t, f, err := e.became(ctx, env, s)
	if err == nil && f != hasHappened {
		_, err = e.drop(ctx, env, s)
	}
	return t, f, err
}

func (e *DropInvalid) session(ctx context.Context, env Env) (host.SQL, error) {
	return (&DDL{Host: e.Host, Database: e.Database}).session(ctx, env)
}

type index struct {
	OID   int64  `json:"oid"`
	Name  string `json:"name"`
	Table int64  `json:"indrelid"`
}

func (e *DropInvalid) invalid(ctx context.Context, s host.SQL) ([]index, error) {
	var rows []index
	err := s.Query(ctx, &rows, "select i.indexrelid::int8 as oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name, i.indrelid::int8"+
		" from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace where not i.indisvalid and c.relkind = 'i' order by 1")
	return rows, err
}

// others waits until no other session of this run is busy in the database, or ends them.
// Another operator may have begun the run. To wait has no end of its own: to make an index may
// take hours, and who goes on may be interrupted. Who ends them takes something back, and may
// not be.
func (e *DropInvalid) others(ctx context.Context, env Env, s host.SQL, end bool) error {
	what, asking := "pid", ctx
	if end {
		var cancel context.CancelFunc
		what = "pg_terminate_backend(pid)"
		asking, cancel = context.WithTimeout(ctx, endTimeout)
		defer cancel()
	}
	q := "select " + what + "::text as what from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' and strpos(application_name, $1) = 1"
	left := 0
	for {
		var rows []struct {
			What string `json:"what"`
		}
		err := s.Query(asking, &rows, q, "pgrepctl "+env.Run().ID+" ")
		if err == nil && len(rows) == 0 {
			return nil
		}
		if err == nil {
			left = len(rows)
			err = sleep(asking, fateInterval)
		}
		if err != nil && asking.Err() != nil && ctx.Err() == nil {
			return e.busy(env.Run().ID, left)
		}
		if err != nil {
			return err
		}
	}
}

// busy says that the statement of a run goes on, though its sessions were to be ended.
func (e *DropInvalid) busy(run string, sessions int) error {
	err := fmt.Errorf("%d of them still run after %s", sessions, endTimeout)
	if sessions == 0 {
		err = fmt.Errorf("no answer within %s", endTimeout)
	}
	return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "end the sessions of run " + run + " in database " + e.Database, Err: err,
		State: "what its statement comes to is not known yet",
		Hint:  "look what they wait for: select pid, wait_event_type, wait_event, query from pg_stat_activity where application_name like 'pgrepctl " + run + " %'; when they are gone: pgrepctl ddl abort " + run}
}

const (
	fateInterval = 200 * time.Millisecond
	// endTimeout is for sessions that are told to end. It is below fateTimeout: what the
	// statement has left is looked at within that, too.
	endTimeout = 20 * time.Second
)

// drop drops the indexes that are invalid now and were not before, but for one that
// somebody else is about to make: it is invalid, too. One that the statement itself drops
// is left to it.
func (e *DropInvalid) drop(ctx context.Context, env Env, s host.SQL) ([]string, error) {
	before, _ := env.Known(DDLInvalid)
	t, err := noted(env)
	if err != nil {
		return nil, err
	}
	rows, err := e.invalid(ctx, s)
	if err != nil {
		return nil, err
	}
	// Who makes an index holds a lock on its table, and a drop would wait for it: until
	// it is valid, and drop it then.
	if err := s.Exec(ctx, "SET lock_timeout = '1s'"); err != nil {
		return nil, err
	}
	var dropped []string
	for _, r := range rows {
		if r.OID == t.OID || slices.Contains(strings.Split(before, ","), strconv.FormatInt(r.OID, 10)) {
			continue
		}
		if err := s.Exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+r.Name); err != nil {
			return dropped, fmt.Errorf("drop the invalid index %s: %w", r.Name, err)
		}
		dropped = append(dropped, r.Name)
	}
	return dropped, nil
}
