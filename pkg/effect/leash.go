package effect

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// LeashReplay leaves a process on a standby that resumes replay there: at once when
// its connection ends, after the leash's silence when nobody tells it, and after
// Longest whatever happens; each second anew while the server has no connection to give,
// for ten minutes. It lives as long as the bracket that holds it, and must be
// armed before the pause. A server that has a recovery target by then, or was promoted,
// is left as it is.
type LeashReplay struct {
	Host    string           `json:"host"`
	As      string           `json:"as"`
	Longest time.Duration    `json:"longest"`
	Version postgres.Version `json:"version"`
	// PSQL is the program, the others say where the server is.
	PSQL      string `json:"psql"`
	SocketDir string `json:"socket_dir"`
	Port      int    `json:"port"`
	User      string `json:"user"`
	// Ahead are sessions that are opened meanwhile, for what the pause is made for: who is
	// paused grows old while one is.
	Ahead []Session `json:"-"`
}

//go:embed leash.sh
var leashScript string

func (e *LeashReplay) Kind() string    { return "leash-replay" }
func (e *LeashReplay) On() string      { return e.Host }
func (e *LeashReplay) Inverse() Effect { return nil } // it ends with its session
func (e *LeashReplay) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *LeashReplay) Inert() bool { return true }

func (e *LeashReplay) Describe() Description {
	return Description{Verb: "arm", Subject: "a leash for the pause", Detail: fmt.Sprintf("(%s resumes replay by itself when this machine falls silent, and after %s at the latest)", e.Host, e.Longest)}
}

func (e *LeashReplay) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	seconds := strconv.FormatFloat(max(e.Longest.Seconds(), 1), 'f', 0, 64)
	argv := []string{"/bin/sh", "-c", leashScript, "pgrepctl-leash", seconds, e.PSQL,
		"-h", e.SocketDir, "-p", strconv.Itoa(e.Port), "-U", e.User, "-d", "postgres"}
	opened := make([]error, len(e.Ahead))
	var opening sync.WaitGroup
	for i, s := range e.Ahead {
		opening.Go(func() { opened[i] = s.ahead(ctx, env) })
	}
	s, err := arm(ctx, h, host.Cmd{Argv: argv, As: e.As, Leash: true}, strings.NewReader(e.Version.ResumeReplayUnlessTargeted()+"\n"))
	opening.Wait()
	if err != nil {
		return nil, fmt.Errorf("start the leash on %s: %w", e.Host, err)
	}
	env.Hold("leash of replay on "+e.Host, s)
	return nil, errors.Join(opened...)
}
