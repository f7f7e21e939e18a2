package effect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// SQL runs statements on a host's server, each as a message of its own: in one
// query string the first SET LOCAL would come too late to keep the rest out of
// the server's log (log_statement is read when the string arrives).
type SQL struct {
	Host string `json:"host"`
	Verb string `json:"verb"`
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	// Statements run in order. Private ones are used instead of them when
	// they hold a secret; they are never shown nor journalled.
	Statements []string       `json:"statements"`
	Private    []secret.Value `json:"-"`
	// Unless is a query of one boolean column "done"; true skips it all. It
	// makes an inverse harmless when there is nothing to undo.
	Unless string `json:"unless,omitempty"`
	Undo   *SQL   `json:"undo,omitempty"`
	// Change is what it does to the facts.
	Change Change `json:"-"`
	// Then is what else it makes true, for a preview.
	Then func(*facts.Host) `json:"-"`
	Hint string            `json:"-"`
	// Claims names what it makes: see Claimer.
	Claims string `json:"-"`
	// Lost says why it cannot be undone, if something is lost by it.
	Lost string `json:"-"`
}

func (e *SQL) Claim() string { return e.Claims }

// Change is a prediction for the facts of one server.
type Change struct {
	SetSlot  *facts.Slot
	DropSlot string
	SetRole  *facts.Role
}

func (e *SQL) Kind() string { return "sql" }
func (e *SQL) On() string   { return e.Host }

// Known: a role is what it was made; of a slot the server decides more.
func (e *SQL) Known() bool { return e.Change.SetRole != nil }

func (e *SQL) Describe() Description {
	return Description{Verb: e.Verb, Subject: e.What, Detail: e.Why, NoReturn: e.Lost}
}

func (e *SQL) Inverse() Effect {
	if e.Undo == nil {
		return nil
	}
	return e.Undo
}

func (e *SQL) Predict(w World) {
	h := w.Known(e.Host)
	if h == nil {
		return
	}
	if e.Change.SetSlot != nil {
		h.Server.SetSlot(*e.Change.SetSlot)
	}
	if e.Change.DropSlot != "" {
		h.Server.DropSlot(e.Change.DropSlot)
	}
	if e.Change.SetRole != nil {
		h.SetRole(*e.Change.SetRole)
	}
	then(h, e.Then)
}

func (e *SQL) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if e.Unless != "" {
		var rows []struct {
			Done bool `json:"done"`
		}
		if err := s.Query(ctx, &rows, e.Unless); err != nil {
			return nil, fmt.Errorf("%s %s: %w", e.Verb, e.What, err)
		}
		if len(rows) == 1 && rows[0].Done {
			return nil, nil
		}
	}
	run := make([]string, 0, len(e.Statements))
	if e.Private != nil {
		for _, p := range e.Private {
			run = append(run, p.Reveal())
		}
	} else {
		run = append(run, e.Statements...)
	}
	settings := 0 // which come before whatever is done, and stay in the session
	for settings < len(run)-1 && strings.HasPrefix(run[settings], "SET ") {
		settings++
	}
	for i, q := range run {
		if err := e.exec(ctx, s, q); err != nil {
			if i > 0 { // the session may be left inside our transaction
				_ = s.Exec(context.WithoutCancel(ctx), "ROLLBACK")
			}
			var refused *host.SQLError
			if errors.As(err, &refused) && nothingHappened(run, settings, i, refused.Code) {
				err = untouched{err}
			}
			return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: e.Verb + " " + e.What, Err: err, Hint: e.Hint}
		}
	}
	return nil, nil
}

// nothingHappened reports whether the statements up to i have changed nothing, of which
// the server itself refused the last: either all of them are one transaction that was not
// committed, or it is the first one behind the settings, refused before it did its work.
func nothingHappened(run []string, settings, i int, code string) bool {
	switch {
	case i < settings:
		return true
	case run[settings] != "BEGIN":
		return i == settings && !mayComeAfter(code)
	case slices.Contains(run[settings:i], "COMMIT"):
		return false
	}
	return run[i] != "COMMIT" || !mayComeAfter(code)
}

// mayComeAfter reports whether an error of this SQLSTATE may be raised when the work is
// done already. A function that makes a slot, and the record of a COMMIT, are not rolled
// back: one that waited for an fsync is told of its cancellation (57014), or of the end of
// its session (57P01), when it has come back from it. So are errors of the disk, of memory
// and of the server's own, for the slot is written more than once.
func mayComeAfter(code string) bool {
	if code == postgres.TooManyConnections || code == postgres.ConfigurationLimitExceeded {
		return false // no connection, or no slot, is left: that is looked at first
	}
	class := code[:min(len(code), 2)]
	return slices.Contains([]string{"", "08", "40", "53", "57", "58", "F0", "XX"}, class)
}

// inUseTimeout is for how long dropping a slot may find it in use (ObjectInUse): a walsender
// whose standby has vanished keeps it for up to wal_sender_timeout, 60 s by default.
const inUseTimeout = 90 * time.Second

func (e *SQL) exec(ctx context.Context, s host.SQL, q string) error {
	var last error
	return poll(ctx, inUseTimeout, func(ctx context.Context) (bool, error) {
		last = s.Exec(ctx, q)
		if host.SQLState(last) == postgres.ObjectInUse {
			return false, nil
		}
		return last == nil, last
	}, func() error { return last })
}

// Reload makes the server read its configuration again, and waits until it has.
type Reload struct {
	Host string `json:"host"`
	Why  string `json:"why,omitempty"`
}

func (e *Reload) Kind() string    { return "reload" }
func (e *Reload) On() string      { return e.Host }
func (e *Reload) Inverse() Effect { return nil } // a settle: the engine reloads again after an undo
func (e *Reload) Predict(World)   {}
func (e *Reload) Describe() Description {
	return Description{Verb: "reload", Subject: "the server", Detail: e.Why}
}

// reloadTimeout is far above the moment that a postmaster needs to take a
// SIGHUP; a loaded machine may need seconds.
const reloadTimeout = 30 * time.Second

func (e *Reload) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var before, after []struct {
		At string `json:"at"`
	}
	// pg_conf_load_time is that of this backend, which takes the signal at
	// its next message: hence asked until it moves.
	const q = `select pg_conf_load_time()::text as at`
	if err := s.Query(ctx, &before, q); err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	if err := s.Exec(ctx, "select pg_reload_conf()"); err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	return nil, poll(ctx, reloadTimeout, func(ctx context.Context) (bool, error) {
		if err := s.Query(ctx, &after, q); err != nil {
			return false, err
		}
		return len(after) == 1 && len(before) == 1 && after[0].At != before[0].At, nil
	}, func() error {
		return errors.New("the server did not take the reload within " + reloadTimeout.String())
	})
}

// poll asks until done, an error, the context's end or the time-out, first
// quickly and then every half second. What is awaited is seen late by a quarter of
// the time that it took, at most.
func poll(ctx context.Context, timeout time.Duration, done func(context.Context) (bool, error), expired func() error) error {
	return pollMoving(ctx, timeout, func(ctx context.Context) (bool, string, error) {
		ok, err := done(ctx)
		return ok, "", err
	}, expired)
}

// pollMoving is poll with a time-out that begins again whenever the mark
// changes: what makes progress may take as long as it needs.
func pollMoving(ctx context.Context, timeout time.Duration, done func(context.Context) (ok bool, mark string, err error), expired func() error) error {
	deadline, last := time.Now().Add(timeout), ""
	for wait := 5 * time.Millisecond; ; wait = min(wait+wait/4, 500*time.Millisecond) {
		ok, mark, err := done(ctx)
		if err != nil || ok {
			return err
		}
		if mark != last {
			deadline, last = time.Now().Add(timeout), mark
		}
		if time.Now().After(deadline) {
			return expired()
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

// session opens an SQL session of its own for an act that holds it.
func session(ctx context.Context, env Env, name string, own bool) (host.SQL, error) {
	h, err := env.Host(ctx, name)
	if err != nil {
		return nil, err
	}
	db, err := env.Database(ctx, name)
	if err != nil {
		return nil, err
	}
	db.Own = own
	s, err := h.SQL(ctx, db)
	if err != nil {
		return nil, NoServer(name, err)
	}
	return s, nil
}

// NoServer says of a server that does not run what to do about it; any other
// error is given back with the host's name.
func NoServer(name string, err error) error {
	if errors.Is(err, host.ErrNoServer) {
		return &fault.Error{Class: fault.Unreachable, Host: name, Op: "connect to the server", Err: err, Hint: "start the server of " + name + "; see what runs: pgrepctl status"}
	}
	return fmt.Errorf("connect to the server of %s: %w", name, err)
}
