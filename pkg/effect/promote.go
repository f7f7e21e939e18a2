package effect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Promote ends recovery: the standby becomes a server that takes writes, on a
// timeline of its own.
type Promote struct {
	Host    string           `json:"host"`
	Version postgres.Version `json:"version"`
	// Command is the way before 12, which have no pg_promote().
	Command  Command       `json:"command"`
	Timeline int           `json:"timeline"` // before
	Timeout  time.Duration `json:"timeout"`
	Why      string        `json:"why"`
	NoReturn string        `json:"no_return"`
}

// PromotedTimeline is the key of an output: the timeline that a promoted host is on.
func PromotedTimeline(name string) string { return "promoted." + name + ".timeline" }

func (e *Promote) Kind() string    { return "promote" }
func (e *Promote) On() string      { return e.Host }
func (e *Promote) Inverse() Effect { return nil }

// Claim tells a run that was interrupted whose promotion it was.
func (e *Promote) Claim() string { return "promote " + e.Host }

func (e *Promote) Describe() Description {
	return Description{Verb: "promote", Subject: "the server", Detail: e.Why, NoReturn: e.NoReturn}
}

func (e *Promote) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.Server.InRecovery, h.Data.Standby = false, false
		h.Server.Timeline++
		h.Server.Replay.ReceiverStatus = ""
	}
}

func (e *Promote) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	var rec []inRecovery
	const ask = "select pg_is_in_recovery() as in_recovery"
	if err := s.Query(ctx, &rec, ask); err != nil {
		return nil, fmt.Errorf("promote: %w", err)
	}
	if len(rec) == 1 && rec[0].In {
		if err := e.tell(ctx, env, s); err != nil {
			return nil, fmt.Errorf("promote: %w", err)
		}
	}
	err = poll(ctx, e.Timeout, func(ctx context.Context) (bool, error) {
		err := s.Query(ctx, &rec, ask)
		return len(rec) == 1 && !rec[0].In, err
	}, func() error {
		return &fault.Error{Class: fault.Failed, Host: e.Host, Op: "promote", Err: fmt.Errorf("it is still in recovery after %s: it replays what it has received", e.Timeout),
			State: "it was told to, and will open read-write when it is done", Hint: "wait for it; see when: pgrepctl status"}
	})
	if err != nil {
		return nil, err
	}
	var tl []struct {
		Timeline int `json:"timeline"`
	}
	// Its control file names the old timeline until the first checkpoint, and that is
	// what pg_rewind and others look at.
	if err := s.Exec(ctx, "CHECKPOINT"); err != nil {
		return nil, fmt.Errorf("checkpoint after the promotion: %w", err)
	}
	if err := s.Query(ctx, &tl, "select "+e.Version.Timeline()+" as timeline"); err != nil {
		return nil, fmt.Errorf("look at the timeline: %w", err)
	}
	if len(tl) != 1 || tl[0].Timeline <= e.Timeline {
		return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "promote", Err: errors.New("it is on no new timeline"), State: "it takes writes"}
	}
	return Output{PromotedTimeline(e.Host): strconv.Itoa(tl[0].Timeline)}, nil
}

func (e *Promote) tell(ctx context.Context, env Env, s host.SQL) error {
	if len(e.Command.Argv) == 0 {
		return s.Exec(ctx, "select pg_promote(false)")
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return err
	}
	return h.Run(ctx, host.Cmd{Argv: e.Command.Argv, As: e.Command.As}, host.Stdio{})
}
