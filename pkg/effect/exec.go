package effect

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Exec runs a command that changes nothing that would have to be undone, such
// as an fsync.
type Exec struct {
	Host string   `json:"host"`
	As   string   `json:"as"`
	Argv []string `json:"argv"`
	Verb string   `json:"verb"`
	What string   `json:"what"`
	Why  string   `json:"why,omitempty"`
}

func (e *Exec) Kind() string    { return "exec" }
func (e *Exec) On() string      { return e.Host }
func (e *Exec) Inverse() Effect { return nil }
func (e *Exec) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *Exec) Inert() bool { return true }

func (e *Exec) Describe() Description {
	return Description{Verb: e.Verb, Subject: e.What, Detail: e.Why}
}

func (e *Exec) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if err := h.Run(ctx, host.Cmd{Argv: e.Argv, As: e.As}, host.Stdio{}); err != nil {
		return nil, fmt.Errorf("%s %s: %w", e.Verb, e.What, err)
	}
	return nil, nil
}
