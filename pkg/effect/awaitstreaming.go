package effect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// AwaitStreaming waits until a standby streams: its upstream shows its
// walsender as "streaming", by its name or by its slot, and it has replayed (received, when it is delayed)
// a position that was taken from the upstream after that.
type AwaitStreaming struct {
	Host        string        `json:"host"`
	Upstream    string        `json:"upstream"`
	Application string        `json:"application"`
	Delayed     bool          `json:"delayed"`
	Timeout     time.Duration `json:"timeout"`
	// Version is that of both servers, or of their major release.
	Version postgres.Version `json:"-"`
	Log     string           `json:"-"`
	LogAs   string           `json:"-"`
	// LogFrom is how long the log was before the server was started, empty
	// when that is not known.
	LogFrom string `json:"-"`
	// Then is what else is true of the standby by then, for a preview.
	Then func(*facts.Host) `json:"-"`
}

func (e *AwaitStreaming) Kind() string    { return "await-streaming" }
func (e *AwaitStreaming) On() string      { return e.Host }
func (e *AwaitStreaming) Inverse() Effect { return nil }

// Inert: no step asks for anything that it changes.
func (e *AwaitStreaming) Inert() bool { return true }

func (e *AwaitStreaming) Describe() Description {
	what := "has replayed"
	if e.Delayed {
		what = "has received"
	}
	return Description{Verb: "wait until", Subject: "it streams from " + e.Upstream,
		Detail: "and " + what + " what " + e.Upstream + " wrote after its start (gives up after " + e.Timeout.String() + " without progress)"}
}

// Interruptible: waiting changes nothing.
func (e *AwaitStreaming) Interruptible() bool { return true }

func (e *AwaitStreaming) Predict(w World) {
	if h := w.Known(e.Upstream); h != nil {
		if _, ok := h.Server.Sender(e.Application); !ok {
			h.Server.Senders = append(h.Server.Senders, facts.Sender{Application: e.Application, State: "streaming"})
		}
	}
	if h := w.Known(e.Host); h != nil {
		h.Server.Replay.ReceiverStatus = "streaming"
		then(h, e.Then)
	}
}

func (e *AwaitStreaming) Do(ctx context.Context, env Env) (Output, error) {
	up, err := env.SQL(ctx, e.Upstream)
	if err != nil {
		return nil, err
	}
	sb, err := env.SQL(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if err := e.streams(ctx, env, up, sb); err != nil {
		return nil, e.explain(ctx, env, err)
	}
	var mark []struct {
		LSN postgres.LSN `json:"lsn"`
	}
	if err := up.Query(ctx, &mark, "select case when pg_is_in_recovery() then "+e.Version.LastReplay()+" else "+e.Version.CurrentWAL()+" end as lsn"); err != nil {
		return nil, fmt.Errorf("take a position on %s: %w", e.Upstream, err)
	}
	if err := e.reaches(ctx, env, sb, mark[0].LSN); err != nil {
		return nil, e.explain(ctx, env, err)
	}
	if lines := e.severe(ctx, env); len(lines) > 0 {
		env.Warn(e.Host, fmt.Sprintf("it streams, but its server log has %d FATAL or PANIC lines since the start, the last of them: %s", len(lines), lines[len(lines)-1]))
	}
	return Output{"streaming.lsn": mark[0].LSN.String()}, nil
}

// streams waits until the upstream shows the walsender of the standby as streaming.
func (e *AwaitStreaming) streams(ctx context.Context, env Env, up, sb host.SQL) error {
	var senders []senderProgress
	w := &walsenderWait{e: e, up: up, sb: sb, last: "no walsender for it", restored: distance{env: env, what: "replayed"}}
	sent := distance{env: env, what: "sent"}
	return pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		if err := up.Query(ctx, &senders, e.Version.SenderProgress(), e.Application); err != nil {
			return false, "", err
		}
		if len(senders) == 0 {
			return w.unnamed(ctx)
		}
		w.found("its walsender is in state " + senders[0].State)
		sent.at(senders[0].Sent, senders[0].Goal)
		return len(senders) == 1 && senders[0].State == "streaming", senders[0].Mark, nil
	}, w.expired)
}

// reaches waits until the standby has replayed a position of its upstream, or has received
// it when it is delayed.
func (e *AwaitStreaming) reaches(ctx context.Context, env Env, sb host.SQL, mark postgres.LSN) error {
	d := distance{env: env, what: "replayed"}
	if e.Delayed {
		d.what = "received"
	}
	var at []struct {
		Receive *postgres.LSN `json:"receive"`
		Replay  *postgres.LSN `json:"replay"`
		Paused  bool          `json:"paused"`
		// Writable: it has left recovery.
		Writable bool `json:"writable"`
	}
	return pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		if err := sb.Query(ctx, &at, "select "+e.Version.LastReceive()+" as receive, "+e.Version.LastReplay()+" as replay, "+e.Version.IsReplayPaused()+" as paused, not pg_is_in_recovery() as writable"); err != nil {
			return false, "", err
		}
		if at[0].Writable {
			return false, "", errWritable
		}
		pos := at[0].Replay
		if e.Delayed {
			pos = at[0].Receive
		} else if at[0].Paused {
			return false, "", errors.New("replay is paused")
		}
		if pos == nil {
			return false, "", nil
		}
		d.at(pos, &mark)
		return *pos >= mark, pos.String(), nil
	}, func() error {
		return fmt.Errorf("did not reach %s, and made no progress for %s", mark, e.Timeout)
	})
}

func (e *AwaitStreaming) severe(ctx context.Context, env Env) []string {
	if e.LogFrom == "" {
		return nil
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil
	}
	return severeLines(ctx, h, e.LogAs, e.Log, e.LogFrom)
}

func (e *AwaitStreaming) explain(ctx context.Context, env Env, err error) error {
	f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "wait until it streams from " + e.Upstream, Err: err, State: "the standby was left as it is"}
	gone := ""
	if ctx.Err() == nil { // the operator ended the wait: no other reason is asked for
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		is, unknown := writes(ctx, env, e.Host)
		switch {
		case errors.Is(err, errWritable) || is && unknown == nil:
			err := twin(ctx, env, e.Host, e.Upstream, f)
			f.Stderr = host.Tail(strings.Join(e.severe(ctx, env), "\n"), 5)
			return err
		case unknown == nil:
			f.State = "the standby runs, in recovery"
			gone = e.walGone(ctx, env, err)
		default:
			f.State = "whether it is in recovery could not be asked"
		}
		f.Stderr = host.Tail(strings.Join(e.severe(ctx, env), "\n"), 5)
	}
	if gone != "" {
		f.Err = fmt.Errorf("%w; %s", err, gone)
		f.Hint = "once this run is undone, or abandoned: pgrepctl standby reseed " + e.Host
	} else if errors.As(err, &misnamed{}) {
		f.Hint = e.naming()
	} else if e.Log != "" {
		f.Hint = "its walreceiver says why in " + e.Log
	}
	return f
}
