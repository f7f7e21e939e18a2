package remote

import (
	"context"
	"errors"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// result waits for the end and classifies it. Output is complete only when it
// is nil: a cut connection looks like a clean end of stdout.
func (p *process) result(ctx context.Context) error {
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.stop(ctx)
		return context.Cause(ctx)
	}
	var exit *ssh.ExitError
	switch {
	case p.err == nil && p.started:
		return nil
	case p.err == nil, errors.As(p.err, &exit):
	default:
		return p.conn.lostError(p.err)
	}
	stderr := p.stderr.String()
	if p.via.user != "" && (exit == nil || exit.ExitStatus() == 1 || exit.ExitStatus() == 127) {
		if refused := sudoRefusal(stderr); refused != nil {
			return p.conn.refusedFault(p.via.user, refused)
		}
	}
	if !p.started {
		return p.conn.loginShellError(p.cmd, errors.New(host.Tail(stderr, 1)))
	}
	return &host.ExitError{Host: p.conn.Name(), Cmd: p.cmd, Code: exit.ExitStatus(), Signal: exit.Signal(), Stderr: stderr}
}

const (
	// termGrace is what a command has between TERM and KILL.
	termGrace = 3 * time.Second
	// leashGrace is longer than a leash's own five seconds for the same.
	leashGrace = 8 * time.Second
	// closeGrace is for the end after KILL.
	closeGrace = time.Second
)

// errGivenUp is a session that was left without knowing its end.
var errGivenUp = errors.New("the command did not end")

// stop ends the process and returns when it has ended, or was given up.
func (p *process) stop(ctx context.Context) {
	if p.cmd.Leash {
		// The end of its stdin is all it waits for, and closing the session
		// is safe while another goroutine writes. A signal would reach the
		// leash itself, and leave the command without one.
		go func() { _ = p.session.Close() }()
		if !p.endsWithin(leashGrace) {
			p.giveUp()
		}
		return
	}
	p.signal(ctx, ssh.SIGTERM)
	if p.endsWithin(termGrace) {
		return
	}
	p.signal(ctx, ssh.SIGKILL)
	if !p.endsWithin(closeGrace) {
		p.giveUp()
	}
}

// giveUp closes the session without waiting. Its place among the sessions
// stays taken until the server confirms, because sshd counts it too.
func (p *process) giveUp() {
	// Writing to a dead link can block until keepalive ends it.
	go func() { _ = p.session.Close() }()
	_ = p.stdout.CloseWithError(errGivenUp)
	p.end(errGivenUp)
}

// signalGrace is for the SSH way of signals. sshd ignores it for root
// (no privilege separation) and cannot signal what sudo started.
const signalGrace = 200 * time.Millisecond

// signal asks sshd, and when that does not end the command, sends the signal
// from a session of its own. Behind a sudo with use_pty even that finds only
// sudo: a leash is the sure way.
func (p *process) signal(ctx context.Context, sig ssh.Signal) {
	go func() { _ = p.session.Signal(sig) }()
	if p.endsWithin(signalGrace) || p.pid == "" || p.via.password {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), termGrace)
	defer cancel()
	kill := []string{"/bin/sh", "-c", `kill -s "$0" -- "-$1" 2>/dev/null || kill -s "$0" "$1"`, string(sig), p.pid}
	k, err := p.conn.start(ctx, p.via, host.Cmd{Argv: kill}, kill, nil)
	if err != nil {
		return
	}
	_ = k.stdin.Close()
	if !k.endsWithin(termGrace) {
		k.giveUp()
	}
}

func (p *process) endsWithin(d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-p.ended:
		return true
	case <-limit.C:
		return false
	}
}
