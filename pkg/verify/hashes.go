package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// hashes compares every ordinary table of a running standby with the primary's,
// row by row. A snapshot of the primary has no counterpart on a standby, whose
// snapshots are of WAL positions. So each table in turn is locked against writes:
// then none of its writers is under way, all that they did stands before the
// position taken next, and from there on until the lock is released the table is
// the same on both servers, or the standby is wrong.
func (r *run) hashes(ctx context.Context) error {
	if pr, sb := r.running(r.Primary), r.running(r.Standby); !pr || !sb {
		return nil
	}
	f := r.Standby.Facts
	switch {
	case !f.Server.InRecovery:
		r.add(Check{Name: "hashes", Result: Failed, Detail: "it is not in recovery: it has no position of the primary to compare at", Hint: "pgrepctl status"})
		return nil
	case r.Primary.Facts.Server.InRecovery:
		r.add(Check{Name: "hashes", Result: Failed, Detail: r.Primary.Name + " is in recovery: it is no primary", Hint: "pgrepctl status"})
		return nil
	case f.Server.SystemID != r.Primary.Facts.Server.SystemID:
		// Its positions have no meaning here; no lock is worth that.
		r.add(Check{Name: "hashes", Result: Failed, Detail: fmt.Sprintf("system identifier %s, that of %s is %s", f.Server.SystemID, r.Primary.Name, r.Primary.Facts.Server.SystemID)})
		return nil
	case f.Server.Replay.Paused:
		r.add(Check{Name: "hashes", Result: Failed, Detail: "replay is paused: it gets to no position at which to compare", Hint: "pgrepctl replay resume " + r.Standby.Name})
		return nil
	case r.Delayed:
		r.add(Check{Name: "hashes", Result: NotPossible, Detail: "it replays late on purpose, and locks would be held for as long", Hint: "verify it while apply_delay is not set"})
		return nil
	}
	names, err := r.chosen(ctx, r.Primary)
	if err != nil {
		return err
	}
	for _, name := range names {
		if goOn, err := r.database(ctx, name); err != nil || !goOn {
			return err
		}
	}
	return nil
}

// pair is the sessions that compare one database.
type pair struct {
	locker  host.SQL // on the primary: holds a table's lock, and reads it
	flusher host.SQL // on the primary: whatever must not be in the locker's transaction
	standby host.SQL
}

// database compares its tables, one after the other. It does not go on where every
// table that follows would say the same.
func (r *run) database(ctx context.Context, name string) (goOn bool, err error) {
	pv, sv := r.Primary.Facts.Server.Version, r.Standby.Facts.Server.Version
	var p pair
	for _, x := range []struct {
		s     *host.SQL
		of    Server
		setup []string
	}{
		{&p.locker, r.Primary, pv.TextSettings()},
		// A standby that commits wait for must not hold up ours, least of all this one.
		{&p.flusher, r.Primary, []string{"SET synchronous_commit = local"}},
		{&p.standby, r.Standby, sv.TextSettings()},
	} {
		s, err := r.open(ctx, x.of, name)
		if err != nil {
			return false, err
		}
		defer closing(ctx, s)
		if err := s.Exec(ctx, strings.Join(x.setup, "; ")); err != nil {
			return false, fmt.Errorf("prepare a session on %s: %w", x.of.Name, err)
		}
		*x.s = s
	}
	var tables []table
	// Unlogged and temporary tables have no rows on a standby.
	if err := p.locker.Query(ctx, &tables, "select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace "+
		"where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname not in ('pg_catalog', 'information_schema') order by 1, 2"); err != nil {
		return false, fmt.Errorf("list tables of database %s: %w", name, err)
	}
	if len(tables) == 0 {
		r.add(Check{Name: "hashes", Database: name, Result: OK, Detail: "no tables"})
	}
	stop := func(why string) (bool, error) {
		r.add(Check{Name: "hashes", Database: name, Result: Failed, Detail: why + "; what follows was not compared", Hint: "pgrepctl status"})
		return false, nil
	}
	for _, t := range tables {
		// Without a lock: what a standby lags behind shall cost no writer anything.
		if err := r.await(ctx, p); err != nil {
			return stop(err.Error())
		}
		c := r.compare(ctx, p, t)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		c.Name, c.Database = "hashes", name
		r.add(c)
		if host.Lost(p.locker) || host.Lost(p.flusher) || host.Lost(p.standby) {
			return stop("a session was lost")
		}
	}
	return true, nil
}

type table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// content is a row of postgres.Version.RowHash.
type content struct {
	Rows int64  `json:"rows"`
	Hash string `json:"hash"`
}

// compare locks one table, and compares it.
func (r *run) compare(ctx context.Context, p pair, t table) Check {
	name, err := postgres.QualifiedName(t.Schema, t.Name)
	if err != nil {
		return Check{Table: t.Schema + "." + t.Name, Result: NotPossible, Detail: "not compared: " + err.Error()}
	}
	c := Check{Table: name}
	began := r.now()
	a, b, lsn, err := r.underLock(ctx, p, t, name)
	blocked := r.now().Sub(began).Seconds()
	c.BlockedSeconds = &blocked
	held := fmt.Sprintf("; writes waited %s at most", short(r.now().Sub(began)))
	switch {
	case err != nil:
		c.Result, c.Detail, c.Hint = r.judge(err)
		c.Detail += held
	case a != b:
		c.Result, c.Rows = Failed, &a.Rows
		c.Detail = fmt.Sprintf("differs at %s: %s, on %s %s", lsn, rows(b.Rows), r.Primary.Name, rows(a.Rows))
		if a.Rows == b.Rows {
			c.Detail = fmt.Sprintf("differs at %s: %s on both, not the same ones", lsn, rows(a.Rows))
		}
		c.Detail += held
		c.Hint = "look for the cause first; then: " + anew(r.Standby.Name)
	default:
		c.Result, c.Rows, c.Detail = OK, &a.Rows, fmt.Sprintf("%s equal at %s%s", rows(a.Rows), lsn, held)
	}
	return c
}

// side is an error that one of the two servers gave.
type side struct {
	standby bool
	err     error
}

func (e *side) Error() string { return e.err.Error() }
func (e *side) Unwrap() error { return e.err }

var errMaxLock = errors.New("the longest time for a lock is over")

// underLock compares a table while it is locked. Whatever happens the lock is
// released: by the rollback, or with the session, which the server itself ends
// when it hears nothing more from here.
func (r *run) underLock(ctx context.Context, p pair, t table, name string) (a, b content, at postgres.LSN, err error) {
	pv, sv := r.Primary.Facts.Server.Version, r.Standby.Facts.Server.Version
	hash, err := pv.RowHash(t.Schema, t.Name)
	if err != nil {
		return a, b, 0, err
	}
	outer := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, r.Lock+r.MaxLock, errMaxLock)
	defer cancel()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(outer), 10*time.Second)
		defer cancel()
		if e := p.locker.Exec(end, "ROLLBACK"); e != nil && err == nil {
			err = fmt.Errorf("release the lock: %w", e)
		}
	}()
	// READ COMMITTED: the snapshot must be younger than the lock.
	if err := p.locker.Exec(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; "+r.limits(pv)+"; LOCK TABLE ONLY "+name+" IN SHARE MODE"); err != nil {
		return a, b, 0, &side{false, err}
	}
	ctx, cancel = context.WithTimeoutCause(ctx, r.MaxLock, errMaxLock)
	defer cancel()
	at, err = r.mark(ctx, p)
	if err != nil {
		return a, b, at, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var err error
		if a, err = contentOf(ctx, p.locker, hash); err != nil {
			return &side{false, err}
		}
		return nil
	})
	g.Go(func() error {
		if err := reach(ctx, p.standby, sv, at, false, false, r.Wait); err != nil {
			return &side{true, err}
		}
		for try := 1; ; try++ {
			var err error
			b, err = contentOf(ctx, p.standby, hash)
			if err == nil {
				return nil
			}
			// Recovery cancels queries that are in its way (VACUUM of another
			// table of the database): the table itself has not changed.
			if try == 3 || host.SQLState(err) != postgres.SerializationFailure {
				return &side{true, err}
			}
		}
	})
	err = g.Wait()
	return a, b, at, err
}

// limits are what the server itself keeps to, whatever becomes of this machine:
// one that lost power sends no end of the connection.
func (r *run) limits(v postgres.Version) string {
	set := func(name string, d time.Duration) string {
		return "SET LOCAL " + name + " = '" + strconv.FormatInt(max(d.Milliseconds(), 1), 10) + "ms'"
	}
	out := []string{set("lock_timeout", r.Lock), set("statement_timeout", r.Lock+r.MaxLock)}
	if v.AtLeast(9, 6) {
		out = append(out, set("idle_in_transaction_session_timeout", r.MaxLock+r.Lock))
	}
	return strings.Join(out, "; ")
}

// await waits until the standby has what the primary has by now.
func (r *run) await(ctx context.Context, p pair) error {
	at, err := r.mark(ctx, p)
	if err != nil {
		return err
	}
	return reach(ctx, p.standby, r.Standby.Facts.Server.Version, at, false, true, r.Wait)
}

// mark is the position behind all WAL that there is now; it is on its way to the
// standby when mark returns.
func (r *run) mark(ctx context.Context, p pair) (postgres.LSN, error) {
	v := r.Primary.Facts.Server.Version
	var rows []struct {
		LSN postgres.LSN `json:"lsn"`
	}
	if err := p.flusher.Query(ctx, &rows, "select "+v.CurrentWALInsert()+" as lsn"); err != nil {
		return 0, fmt.Errorf("take a position on %s: %w", r.Primary.Name, err)
	}
	if len(rows) != 1 {
		return 0, fmt.Errorf("take a position on %s: %d rows", r.Primary.Name, len(rows))
	}
	if err := p.flusher.Exec(ctx, v.FlushWAL()); err != nil {
		return 0, fmt.Errorf("flush WAL on %s: %w", r.Primary.Name, err)
	}
	return rows[0].LSN, nil
}

func contentOf(ctx context.Context, s host.SQL, query string) (content, error) {
	var rows []content
	if err := s.Query(ctx, &rows, query); err != nil {
		return content{}, err
	}
	if len(rows) != 1 {
		return content{}, fmt.Errorf("hash of a table: %d rows", len(rows))
	}
	return rows[0], nil
}

func rows(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return strconv.FormatInt(n, 10) + " rows"
}

func short(d time.Duration) string {
	if d < time.Second {
		return max(d.Round(time.Millisecond), time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
