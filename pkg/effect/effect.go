// Package effect is the closed set of acts. An Effect is one act on one host,
// as data: it can be shown, journalled, predicted and undone without being
// done. Only pkg/engine calls Do.
package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// Effect is one act on one host.
type Effect interface {
	// Kind names the act in the journal.
	Kind() string
	// On is the inventory name of the host that it acts on.
	On() string
	// Describe says what Do will do, in words that are the same before and
	// after: a preview and the run that follows are compared by them.
	Describe() Description
	Do(ctx context.Context, env Env) (Output, error)
	// Inverse undoes the act, as data that survives the operator's machine:
	// it is journalled, with the intent, before Do. It must be harmless when
	// Do never happened, happened half, or was undone already. nil means
	// that there is nothing to undo or, when Describe gives NoReturn, that
	// it cannot be undone. With both, the inverse is of an act that did not come to
	// its end: it finds out whether it happened, and gives ErrHappened if so.
	Inverse() Effect
	// Predict changes the facts as Do would.
	Predict(w World)
}

// Claimer is an effect that makes something with a name of its own on a server.
// The claim is journalled with the intent, so that a run knows its own things
// again after a crash at any instant, and takes nothing of anybody else's.
type Claimer interface{ Claim() string }

// Releaser is an effect that takes back what one with that claim has done.
type Releaser interface{ Releases() string }

// Description is what the user reads.
type Description struct {
	Host    string `json:"host"`
	Verb    string `json:"verb"`
	Subject string `json:"subject"`
	Detail  string `json:"detail,omitempty"`
	// Diff is a unified diff, with no secret in it.
	Diff string `json:"diff,omitempty"`
	// NoReturn says why the act cannot be undone.
	NoReturn string `json:"no_return,omitempty"`
	// Hazard says what may happen while it lasts, and what to type then.
	Hazard string `json:"hazard,omitempty"`
}

func (d Description) String() string {
	return strings.TrimSpace(strings.TrimSpace(d.Verb+" "+d.Subject) + " " + d.Detail)
}

// Output is what an act found out that later steps need. It is journalled, so
// it holds no secret.
type Output map[string]string

// World is the predicted state in a preview; a host that nobody asked for yet
// is nil.
type World interface {
	Known(name string) *facts.Host
}

// Env is what an act acts through.
type Env interface {
	Host(ctx context.Context, name string) (host.Host, error)
	// Database says how to reach the host's server.
	Database(ctx context.Context, name string) (host.Database, error)
	// SQL is the run's ordinary session on that host's server, opened anew
	// when it was lost. For anything that must not be lost, open one and
	// Hold it.
	SQL(ctx context.Context, name string) (host.SQL, error)
	// Session is one of its own in a database of that host's server, to be closed, or
	// given to Spare, which keeps it for the next who asks: to open one takes longer than
	// most of what is asked.
	Session(ctx context.Context, name, database string) (host.SQL, error)
	Spare(ctx context.Context, name, database string, s host.SQL)
	// Hold keeps a session open after Do returned. What follows in the
	// bracket is cancelled at once when it is lost.
	Hold(key string, h Held)
	// TakeHeld returns it, and ends the engine's care for it.
	TakeHeld(key string) (Held, bool)
	// Note makes durable what an act found out in the middle, here and in the copy on
	// the primary, before the act goes on: what a resume or an undo has to know of an
	// act that did not come to its end.
	Note(ctx context.Context, out Output) error
	// Known is what an act of this run found out, or noted.
	Known(key string) (string, bool)
	// Password is the replication password, zero if the inventory has none.
	Password(ctx context.Context) (secret.Value, error)
	Progress(event.Progress)
	Warn(host, text string)
	Run() Run
}

// Run says who acts.
type Run struct {
	ID       string // "20261122T041002Z-7f3a"
	Operator string // "anna@desk"
}

// Application names the run in pg_stat_activity: "pgrepctl RUN OPERATOR", at
// most 63 bytes (NAMEDATALEN - 1; the server cuts off the rest), of printable ASCII
// alone: the server shows any other as ? or, from 16 on, as \xNN, and who compares
// what it shows with this would not know himself again.
func (r Run) Application() string {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, "pgrepctl "+r.ID+" "+r.Operator)
	return s[:min(len(s), 63)]
}

// ErrUntouched is in the tree of an error of Do when the act is known not to
// have happened: there is nothing to undo and nothing to claim. Without it an
// error leaves that open, and the inverse has to be run.
var ErrUntouched = errors.New("nothing was changed")

// ErrHappened is in the tree of an error of an inverse when the act did happen, and
// there is no way back from it.
var ErrHappened = errors.New("it happened, and cannot be taken back")

// ErrNotYet is in the tree of an error of an inverse that would do harm now. It has
// told the operator why, and who goes on with the run does it when its time has come.
var ErrNotYet = errors.New("it is not done yet")

// untouched adds ErrUntouched to err and leaves its text alone.
type untouched struct{ error }

func (u untouched) Unwrap() []error { return []error{u.error, ErrUntouched} }

// Held is something that stays open between effects.
type Held interface {
	Lost() <-chan struct{}
	Close(ctx context.Context) error
}

// kinds is the one list of what may stand in a journal as an inverse.
func kinds() map[string]func() Effect {
	return map[string]func() Effect{
		"restore-file":    func() Effect { return &RestoreFile{} },
		"remove-file":     func() Effect { return &RemoveFile{} },
		"remove-dir":      func() Effect { return &RemoveDir{} },
		"remove-line":     func() Effect { return &RemoveLine{} },
		"sql":             func() Effect { return &SQL{} },
		"service":         func() Effect { return &Service{} },
		"rename":          func() Effect { return &Rename{} },
		"empty-directory": func() Effect { return &EmptyDirectory{} },
		"reload":          func() Effect { return &Reload{} },
		"replay":          func() Effect { return &SetReplay{} },
		"balance":         func() Effect { return &Balance{} },
		"health-file":     func() Effect { return &HealthFile{} },
		"end-backup":      func() Effect { return &EndBackup{} },
		"write-passfile":  func() Effect { return &WritePassfile{} },
		"ddl-fate":        func() Effect { return &DDLFate{} },
		"drop-invalid":    func() Effect { return &DropInvalid{} },
	}
}

type envelope struct {
	Kind   string          `json:"kind"`
	Effect json.RawMessage `json:"effect"`
}

// Encode turns an inverse into journal bytes; nil gives nil.
func Encode(e Effect) (json.RawMessage, error) {
	if e == nil {
		return nil, nil
	}
	if _, ok := kinds()[e.Kind()]; !ok {
		return nil, fmt.Errorf("effect %q cannot be journalled as an inverse", e.Kind())
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Kind(), err)
	}
	return json.Marshal(envelope{Kind: e.Kind(), Effect: b})
}

// Decode reads it back, strictly: what a later pgrepctl wrote, and this one does not know, may
// be what keeps the inverse from doing harm. So no field of an effect that Encode takes is
// ever renamed or removed: journals of earlier ones have it.
func Decode(raw json.RawMessage) (Effect, error) {
	var env envelope
	if err := strict(raw, &env); err != nil {
		return nil, fmt.Errorf("decode inverse: %w", err)
	}
	mk, ok := kinds()[env.Kind]
	if !ok {
		return nil, fmt.Errorf("decode inverse: unknown effect %q", env.Kind)
	}
	e := mk()
	if err := strict(env.Effect, e); err != nil {
		return nil, fmt.Errorf("decode %s: %w", env.Kind, err)
	}
	return e, nil
}

func strict(raw json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
