package effect

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// AwaitLag waits until a standby has replayed nearly all that another server had written
// when the wait began. What it writes meanwhile does not count: of a busy server a standby
// may never have nearly all, and the wait would have no end.
type AwaitLag struct {
	Host    string
	Of      string // the primary
	Version postgres.Version
	Within  int64         // bytes
	Timeout time.Duration // without progress
	Longest time.Duration // all in all
}

func (e *AwaitLag) Kind() string    { return "await-lag" }
func (e *AwaitLag) On() string      { return e.Host }
func (e *AwaitLag) Inverse() Effect { return nil }

// Predict makes it as far as the primary. It is not inert: a lag is asked for, and after a
// wait that may take long nothing is as it was.
func (e *AwaitLag) Predict(w World) {
	if h, of := w.Known(e.Host), w.Known(e.Of); h != nil && of != nil {
		h.Server.LSN = max(h.Server.LSN, of.Server.LSN)
	}
}

// Interruptible: waiting changes nothing.
func (e *AwaitLag) Interruptible() bool { return true }

func (e *AwaitLag) Describe() Description {
	return Description{Verb: "wait until", Subject: "it is not far behind " + e.Of,
		Detail: fmt.Sprintf("(%s at most; gives up after %s without progress, %s in all)", postgres.PrettyBytes(e.Within), e.Timeout, e.Longest)}
}

func (e *AwaitLag) Do(ctx context.Context, env Env) (Output, error) {
	of, err := env.SQL(ctx, e.Of)
	if err != nil {
		return nil, err
	}
	text, err := flushed(ctx, of, e.Version)
	if err != nil {
		return nil, err
	}
	goal, err := postgres.ParseLSN(text)
	if err != nil {
		return nil, err
	}
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var behind int64
	d := distance{env: env, what: "replayed"}
	end := time.Now().Add(e.Longest)
	return nil, pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		now, err := replay.Read(ctx, s, e.Version)
		if err != nil {
			return false, "", err
		}
		behind = goal.Sub(now.Replayed())
		if behind > e.Within && time.Now().After(end) {
			return false, "", e.refuse(behind, "after "+e.Longest.String())
		}
		at := now.Replayed()
		d.at(&at, &goal)
		return behind <= e.Within, now.Replayed().String(), nil
	}, func() error {
		return e.refuse(behind, "and has not replayed more for "+e.Timeout.String())
	})
}

func (e *AwaitLag) refuse(behind int64, how string) error {
	return &fault.Error{Class: fault.Refused, Host: e.Host, Op: "wait until it is not far behind " + e.Of,
		Err:  fmt.Errorf("it is %s behind where %s was, %s", postgres.PrettyBytes(behind), e.Of, how),
		Hint: "see why: pgrepctl status; pgrepctl replay status " + e.Host}
}
