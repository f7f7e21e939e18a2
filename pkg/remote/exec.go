package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Run implements host.Runner. The command runs in / with LC_ALL=C, without a
// terminal. When ctx ends, it gets TERM and then KILL; behind sudo only a
// leashed command is sure to end. The input of a leashed command is read whole,
// at most 64 MiB, before it starts.
func (c *Conn) Run(ctx context.Context, cmd host.Cmd, stdio host.Stdio) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	e, err := c.elevation(ctx, cmd.As)
	if err != nil {
		return err
	}
	return c.runElevated(ctx, e, cmd, stdio)
}

// runElevated is Run with the way to the OS user decided.
func (c *Conn) runElevated(ctx context.Context, e elevation, cmd host.Cmd, stdio host.Stdio) error {
	argv := cmd.Argv
	in := stdio.In
	var lease *leash
	if cmd.Leash {
		var err error
		if lease, err = newLeash(in); err != nil {
			return err
		}
		argv, in = lease.wrap(argv), nil
	}
	// Nothing may be written to the caller's writers after Run has returned,
	// not even by a session that does not answer.
	out, errOut := &gate{w: stdio.Out}, &gate{w: stdio.Err}
	defer out.shut()
	defer errOut.shut()

	p, err := c.start(ctx, e, cmd, argv, errOut)
	if err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var copying sync.WaitGroup
	drained := make(chan error, 1)
	go func() {
		_, err := io.Copy(out, p.stdout)
		if err != nil && !errors.Is(err, errGivenUp) {
			err = fmt.Errorf("write output: %w", err)
			cancel(err)
			_, _ = io.Copy(io.Discard, p.stdout)
		}
		drained <- err
	}()
	if lease != nil {
		copying.Go(func() { lease.hold(p, p.stdin) })
	} else {
		go func() {
			// Not waited for: a reader cannot be interrupted. A write error
			// means that the command did not read all its input, which is
			// its right.
			if in != nil {
				if _, err := io.Copy(p.stdin, readErrors{in, cancel}); err != nil && context.Cause(work) != nil {
					return
				}
			}
			_ = p.stdin.Close()
		}()
	}
	err = p.result(work)
	if werr := <-drained; err == nil {
		err = werr
	}
	copying.Wait()
	return err
}

// readErrors ends the command when its input cannot be read: half an input
// must not look like a whole one.
type readErrors struct {
	io.Reader
	fail context.CancelCauseFunc
}

func (r readErrors) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.fail(fmt.Errorf("read input: %w", err))
	}
	return n, err
}

// gate is a writer that can be shut.
type gate struct {
	mu   sync.Mutex
	w    io.Writer
	done bool
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w == nil || g.done {
		return len(p), nil
	}
	return g.w.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done = true
}

// lostError is what a call returns when the connection ended under it.
func (c *Conn) lostError(err error) error {
	var missing *ssh.ExitMissingError
	switch {
	case err == nil, errors.As(err, &missing), errors.Is(err, io.EOF):
		err = ErrLost
	default:
		err = fmt.Errorf("%w: %w", ErrLost, err)
	}
	return &fault.Error{
		Class: fault.Unreachable, Host: c.Name(), Op: "ssh", Err: err,
		Hint: "what was running on the host may or may not have been done; look with: pgrepctl status",
	}
}

// openError explains a session that did not open.
func (c *Conn) openError(err error) error {
	select {
	case <-c.lost:
		return c.lostError(err)
	default:
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		return &fault.Error{
			Class: fault.Unreachable, Host: c.Name(), Op: "open session", Err: err,
			Hint: fmt.Sprintf("sshd refused the session; pgrepctl uses up to %d at a time: is MaxSessions in sshd_config lower?", maxSessions),
		}
	}
	// The session's request may learn of the end before the keepalive does.
	var broken *net.OpError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &broken) {
		return c.lostError(err)
	}
	return &fault.Error{Class: fault.Auth, Host: c.Name(), Op: "open session", Err: err, Hint: "does the key's line in authorized_keys allow commands?"}
}

// loginShellError is a session in which not even our own shell spoke.
func (c *Conn) loginShellError(cmd host.Cmd, err error) error {
	return &fault.Error{
		Class: fault.Auth, Host: c.Name(), Op: "run " + cmd.Argv[0],
		Err:  fmt.Errorf("the login shell of %s did not run the command: %w", c.user, err),
		Hint: fmt.Sprintf("try: ssh %s@%s /bin/sh -c true; the login shell must pass commands on (not nologin, no forced command)", c.user, c.target.address()),
	}
}
