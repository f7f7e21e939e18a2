package effect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func (e *DDL) nobodyReads(ctx context.Context, env Env) error {
	for _, d := range e.Drained {
		if err := d.still(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// session is one of its own, in the database.
func (e *DDL) session(ctx context.Context, env Env) (host.SQL, error) {
	return env.Session(ctx, e.Host, e.Database)
}

// prepare does all but the COMMIT.
func (e *DDL) prepare(ctx context.Context, env Env, s host.SQL, logs *logged) (Output, error) {
	if err := e.samePrimary(ctx, s); err != nil {
		return nil, err
	}
	end := time.Now().Add(e.Timeout)
	if err := e.begin(ctx, s); err != nil {
		return nil, err
	}
	if err := logs.ask(ctx, e, s); err != nil {
		return nil, err
	}
	xid, err := currentXid(ctx, s)
	if err != nil {
		return nil, err
	}
	for i, q := range e.Statements {
		err := e.statement(ctx, s, q, i == 0, end)
		logs.ran(i, err)
		if err != nil {
			return nil, &StatementError{Number: i + 1, Of: len(e.Statements), Err: err}
		}
	}
	if err := e.end(ctx, s); err != nil {
		return nil, err
	}
	now, err := currentXid(ctx, s)
	if err != nil {
		return nil, err
	}
	if now != xid {
		return nil, errors.New("a statement has ended the transaction that it was to run in")
	}
	locked, err := e.locked(ctx, env, s)
	if err != nil {
		return nil, err
	}
	return Output{DDLXid: xid, DDLRelations: locked}, e.durable(ctx, env)
}

// begin is the transaction up to its first statement.
func (e *DDL) begin(ctx context.Context, s host.SQL) error {
	run := []string{"BEGIN",
		"SET LOCAL lock_timeout = '" + milliseconds(e.LockTimeout) + "'",
		"SET LOCAL statement_timeout = '" + milliseconds(e.Timeout) + "'",
		// What is committed is what is flushed, and no COMMIT waits for a paused standby.
		"select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') in ('off', 'remote_apply')",
		"SET LOCAL standard_conforming_strings = on"} // as the script was read
	if e.NoRewrite && e.Version.TellsRewrites() {
		run = append(run, postgres.RefuseRewrites()...)
	}
	if e.Role != "" {
		role, err := postgres.QuoteIdent(e.Role)
		if err != nil {
			return err
		}
		run = append(run, "SET LOCAL ROLE "+role)
	}
	// At once: the paused standbys grow old with every round trip.
	return s.Exec(ctx, strings.Join(run, "; "))
}

// end takes back what begin has set up and the COMMIT must not have.
func (e *DDL) end(ctx context.Context, s host.SQL) error {
	var run []string
	if e.Role != "" {
		run = append(run, "RESET ROLE")
	}
	if e.NoRewrite && e.Version.TellsRewrites() {
		run = append(run, postgres.AllowRewrites()...)
	}
	if len(run) == 0 {
		return nil
	}
	return s.Exec(ctx, strings.Join(run, "; "))
}

// leastTime is how little is left when no statement is begun any more.
const leastTime = 10 * time.Millisecond

// statement runs one. Where standbys are paused it has what is left of the time of all: they
// are late by all of them. The first has the whole of it. The COMMIT is under no
// statement_timeout.
func (e *DDL) statement(ctx context.Context, s host.SQL, q string, first bool, end time.Time) error {
	left := e.Timeout
	switch {
	case len(e.Paused) == 0:
		end = time.Now().Add(left)
	case !first:
		if left = time.Until(end); left < leastTime {
			return e.late(errors.New("those before it have taken that"))
		}
		if err := s.Exec(ctx, "SET LOCAL statement_timeout = '"+milliseconds(left)+"'"); err != nil {
			return err
		}
	}
	err := s.Exec(ctx, q)
	if host.SQLState(err) != postgres.QueryCanceled || time.Until(end) > leastTime {
		return err
	}
	if left < e.LockTimeout {
		err = fmt.Errorf("%w: %w", errShortOfTime, err)
	}
	return e.late(err)
}

// errShortOfTime is a statement that had less time than one lock may be waited for: it may
// have waited for a lock to its end, and counts as one that did not obtain it.
var errShortOfTime = errors.New("less than one wait for a lock was left")

func (e *DDL) late(err error) error {
	f := &fault.Error{Class: fault.Failed, Err: fmt.Errorf("a statement may take %s: %w", e.Timeout, err), Hint: "--max-stale gives it more"}
	if len(e.Paused) > 0 {
		f.Err, f.Hint = fmt.Errorf("all statements together may take %s: %w", e.Timeout, err), "--max-stale, if the standbys that serve may be later than that"
	}
	return f
}

// durable has the WAL of the transaction on the primary's disk before its id is noted. An
// id of which nothing was flushed is given to another transaction after a crash, and
// what the server tells of it would be that one's fate.
func (e *DDL) durable(ctx context.Context, env Env) error {
	if !e.Version.TellsXactStatus() {
		return nil // nobody will ask
	}
	s, err := env.SQL(ctx, e.Host)
	if err == nil {
		err = s.Exec(ctx, e.Version.Flush())
	}
	if err != nil {
		return fmt.Errorf("flush the WAL of the transaction: %w", err)
	}
	return nil
}

// StatementError says which statement of a transaction failed, the first being 1.
type StatementError struct {
	Number, Of int
	Err        error
}

func (e *StatementError) Error() string {
	return fmt.Sprintf("statement %d of %d: %v", e.Number, e.Of, e.Err)
}

func (e *StatementError) Unwrap() error { return e.Err }

// samePrimary refuses a server that is not the primary any more, or was one again.
func (e *DDL) samePrimary(ctx context.Context, s host.SQL) error {
	var now []struct {
		System   string `json:"system"`
		Timeline int    `json:"timeline"`
		Recovery bool   `json:"recovery"`
	}
	if err := s.Query(ctx, &now, e.Version.Identity()); err != nil {
		return err
	}
	switch {
	case now[0].Recovery:
		return fault.Refuse(e.Host, "pgrepctl status", errors.New("it is in recovery: another server is the primary now"))
	case now[0].System != e.System && e.Version.ControlFunctions(), now[0].Timeline != e.Timeline && e.Version.ControlFunctions():
		return fault.Refuse(e.Host, "pgrepctl status", fmt.Errorf("there was a failover meanwhile: it is system %s on timeline %d, and was %s on %d", now[0].System, now[0].Timeline, e.System, e.Timeline))
	}
	return nil
}

// locked are the relations that are locked against readers now.
func (e *DDL) locked(ctx context.Context, env Env, s host.SQL) (string, error) {
	var rows []struct {
		OID int64 `json:"oid"`
	}
	if err := s.Query(ctx, &rows, postgres.OwnExclusiveLocks); err != nil {
		return "", err
	}
	oids := make([]string, len(rows))
	for i, r := range rows {
		oids[i] = strconv.FormatInt(r.OID, 10)
	}
	list := strings.Join(oids, ",")
	if !e.NoLock || list == "" {
		return list, nil
	}
	// Another session does not see what this one has made.
	other, err := e.session(ctx, env)
	if err != nil {
		return "", err
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
	var there []struct {
		Name string `json:"name"`
	}
	if err := other.Query(ctx, &there, "select relname::text as name from pg_class where oid in ("+list+") order by 1"); err != nil {
		return "", err
	}
	if len(there) == 0 {
		return list, nil
	}
	names := make([]string, len(there))
	for i, r := range there {
		names[i] = r.Name
	}
	return "", fault.Refuse(e.Host, "roll it out: --mode roll, or gate", fmt.Errorf("it locks %s against readers, which was not foreseen", strings.Join(names, ", ")))
}

func currentXid(ctx context.Context, s host.SQL) (string, error) {
	var rows []struct {
		Xid string `json:"xid"`
	}
	if err := s.Query(ctx, &rows, "select txid_current()::text as xid"); err != nil {
		return "", err
	}
	return rows[0].Xid, nil
}

func flushed(ctx context.Context, s host.SQL, v postgres.Version) (string, error) {
	var rows []struct {
		LSN postgres.LSN `json:"lsn"`
	}
	if err := s.Query(ctx, &rows, "select "+v.FlushedWAL()+"::text as lsn"); err != nil {
		return "", fmt.Errorf("ask how far the WAL is flushed: %w", err)
	}
	return rows[0].LSN.String(), nil
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10) + "ms"
}
