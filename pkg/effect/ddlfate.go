package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// DDLFate is the inverse of a schema change whose end nobody saw. What was not
// committed has left nothing; what was cannot be taken back.
type DDLFate struct {
	Host    string           `json:"host"`
	Version postgres.Version `json:"version"`
}

func (e *DDLFate) Kind() string    { return "ddl-fate" }
func (e *DDLFate) On() string      { return e.Host }
func (e *DDLFate) Inverse() Effect { return nil }
func (e *DDLFate) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *DDLFate) Inert() bool { return true }

func (e *DDLFate) Describe() Description {
	return Description{Verb: "check", Subject: "that the DDL was not committed"}
}

func (e *DDLFate) Do(ctx context.Context, env Env) (Output, error) {
	xid, ok := env.Known(DDLXid)
	if !ok || xid == "" {
		return nil, nil // it did not come as far as its COMMIT
	}
	happened, err := ddlHappened(ctx, env, e.Host, e.Version, xid)
	if err != nil {
		return nil, err
	}
	if happened {
		return nil, &fault.Error{Class: fault.Refused, Host: e.Host, Op: "take the DDL back",
			Err:  fmt.Errorf("transaction %s is committed: %w", xid, ErrHappened),
			Hint: "go forward instead: pgrepctl ddl resume " + env.Run().ID}
	}
	return nil, nil
}

const fateTimeout = 30 * time.Second

// ddlHappened asks the primary what became of a transaction. One that goes on is that
// of a tool that has just died: its session ends with its connection. A standby must
// not be asked: it may not have replayed the transaction yet.
func ddlHappened(ctx context.Context, env Env, name string, v postgres.Version, xid string) (bool, error) {
	if !v.TellsXactStatus() {
		return false, &fault.Error{Class: fault.Failed, Host: name, Op: "find out what became of the DDL",
			Err:   fmt.Errorf("PostgreSQL %s does not tell whether transaction %s was committed", v, xid),
			State: "it was about to be committed when the tool was interrupted",
			Hint:  "look whether it is there; then end the run: pgrepctl runs abandon " + env.Run().ID + ", and pgrepctl traffic show, pgrepctl replay status"}
	}
	var last string
	tries := 0
	err := poll(ctx, fateTimeout, func(ctx context.Context) (bool, error) {
		var rows []struct {
			Status *string `json:"status"`
		}
		s, err := env.SQL(ctx, name)
		if err == nil {
			err = s.Query(ctx, &rows, v.XactStatus(), xid)
		}
		if host.SQLState(err) == postgres.InvalidParameterValue {
			// The server has not given the id to anybody: what had it was lost in a crash,
			// so it was not committed.
			last = "aborted"
			return true, nil
		}
		if err != nil {
			// The session may be the one that was lost, or the server about to start again.
			last = err.Error()
			if tries++; tries > 3 && !mayComeBack(err) {
				return false, err
			}
			return false, nil
		}
		if rows[0].Status == nil {
			return false, fmt.Errorf("transaction %s is too long ago: the server has forgotten it", xid)
		}
		last = *rows[0].Status
		return last != "in progress", nil
	}, func() error { return errors.New(last) })
	if err != nil {
		return false, &fault.Error{Class: fault.Failed, Host: name, Op: "find out what became of transaction " + xid + ", the DDL", Err: err,
			Hint: "when the primary answers: pgrepctl ddl resume " + env.Run().ID}
	}
	return last == "committed", nil
}

// mayComeBack reports whether an error is of a server or a host that is away.
func mayComeBack(err error) bool {
	return errors.Is(err, host.ErrNoServer) || fault.ClassOf(err) == fault.Unreachable || strings.HasPrefix(host.SQLState(err), "57P")
}
