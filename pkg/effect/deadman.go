package effect

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// DeadMan leaves a process on a host that takes something away when this machine
// falls silent: a tool that was killed, or has lost its power or its network,
// cannot. It acts at once when its connection ends, and after the leash's silence
// when nobody tells it. It lives as long as the bracket that holds it.
type DeadMan struct {
	Host string `json:"host"`
	As   string `json:"as"`
	// What is shown: "the key of this run".
	What string `json:"what"`
	// Lines are removed from File, each being a word of its line.
	File  string   `json:"file,omitempty"`
	Lines []string `json:"-"`
	// Dir is removed with all that is in it.
	Dir string `json:"dir,omitempty"`
	// Senders are commands, word by word with blanks between, that the key has started by
	// sshd: those that still run are ended.
	Senders []string `json:"-"`
}

//go:embed deadman.sh
var deadManScript string

func (e *DeadMan) Kind() string    { return "dead-man" }
func (e *DeadMan) On() string      { return e.Host }
func (e *DeadMan) Inverse() Effect { return nil } // it ends with its session
func (e *DeadMan) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *DeadMan) Inert() bool { return true }

func (e *DeadMan) Describe() Description {
	return Description{Verb: "arm", Subject: "a dead-man's switch", Detail: "(" + e.Host + " removes " + e.What + " by itself when this machine falls silent)"}
}

func (e *DeadMan) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	// On stdin: who sees the directory's name before it is made can make it.
	what := slices.Concat([]string{e.File, e.Dir}, e.Lines, []string{""}, e.Senders)
	for _, w := range what {
		if strings.Contains(w, "\n") {
			return nil, fmt.Errorf("start the dead-man's switch on %s: line break in %q", e.Host, w)
		}
	}
	argv, in := []string{"/bin/sh", "-c", deadManScript, "pgrepctl-deadman"}, strings.Join(what, "\n")+"\n"
	s, err := arm(ctx, h, host.Cmd{Argv: argv, As: e.As, Leash: true}, strings.NewReader(in))
	if err != nil {
		return nil, fmt.Errorf("start the dead-man's switch on %s: %w", e.Host, err)
	}
	env.Hold("dead-man of "+e.Host+" "+e.File+e.Dir, s)
	return nil, nil
}

// arm starts a switch, and returns once it says that it is ready.
func arm(ctx context.Context, h host.Runner, cmd host.Cmd, in io.Reader) (*deadManSwitch, error) {
	// It lives on after this, until the bracket ends it.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &deadManSwitch{cancel: cancel, lost: make(chan struct{})}
	pr, pw := io.Pipe()
	go func() {
		err := h.Run(run, cmd, host.Stdio{In: in, Out: pw})
		if err == nil {
			err = errors.New("it ended by itself")
		}
		s.err = err
		close(s.lost)
		_ = pw.CloseWithError(err)
	}()
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(pr).ReadString('\n')
		ready <- err
		_, _ = io.Copy(io.Discard, pr)
	}()
	var err error
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

// deadManSwitch is the process on the host.
type deadManSwitch struct {
	cancel context.CancelFunc
	once   sync.Once
	lost   chan struct{}
	err    error // why it ended, once lost is closed
}

func (s *deadManSwitch) Lost() <-chan struct{} { return s.lost }

// Close ends the process, which takes away what it was to take away.
func (s *deadManSwitch) Close(ctx context.Context) error {
	s.once.Do(s.cancel)
	select {
	case <-s.lost:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
