package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// errTimeout is the cause of a context that ended because a hop took longer
// than its ConnectTimeout.
var errTimeout = errors.New("no answer in time")

// ErrLost is in the tree of every error after which the outcome of a call is
// not known because the connection went away. Connect again, read what is
// true, and decide then.
var ErrLost = errors.New("connection lost")

func connectFault(t Target, class fault.Class, hint string, err error) error {
	return &fault.Error{Class: class, Host: t.Name, Op: "connect", Err: err, Hint: hint}
}

// transportError explains why no byte reached the server.
func transportError(ctx context.Context, t Target, s settings, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err // a jump host has said it
	}
	var (
		dns      *net.DNSError
		refused  *ssh.OpenChannelError
		tryIt    = s.tryIt(t)
		overJump = ""
	)
	if s.jump != "" && !s.proxied() {
		overJump = " by way of " + s.jump
	}
	switch {
	case timedOut(ctx, err):
		return connectFault(t, fault.Unreachable, "is the host up, and does a firewall drop packets? "+tryIt,
			fmt.Errorf("%s%s did not answer within %s: %w", s.addr(), overJump, s.timeout, context.DeadlineExceeded))
	case ctx.Err() != nil:
		return connectFault(t, fault.Interrupted, "", context.Cause(ctx))
	case s.proxied():
		return proxyStartError(t, s, err)
	case errors.As(err, &dns):
		return connectFault(t, fault.Unreachable, "check the address in the inventory", err)
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		return connectFault(t, fault.Auth, "set AllowTcpForwarding yes (or local) in sshd_config of "+s.jump,
			fmt.Errorf("jump host %s forbids forwarding: %w", s.jump, err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return connectFault(t, fault.Unreachable, "is sshd running, and is this its port? "+tryIt, err)
	}
	return connectFault(t, fault.Unreachable, tryIt, err)
}

func timedOut(ctx context.Context, err error) bool {
	var ne net.Error
	return errors.Is(context.Cause(ctx), errTimeout) || errors.Is(ctx.Err(), context.DeadlineExceeded) ||
		errors.As(err, &ne) && ne.Timeout()
}

// handshakeError explains a connection that was made but did not become a
// login.
func handshakeError(ctx context.Context, t Target, s settings, ring *keyring, raw net.Conn, verified bool, err error) error {
	var (
		unknown *unknownKeyError
		changed *changedKeyError
		algos   *ssh.AlgorithmNegotiationError
	)
	switch {
	case errors.As(err, &unknown):
		return connectFault(t, fault.Auth, unknown.hint(), unknown)
	case errors.As(err, &changed):
		return connectFault(t, fault.Auth, changed.hint(), changed)
	}
	if err := proxyError(ctx, t, s, raw, verified, err); err != nil {
		return err
	}
	switch {
	case timedOut(ctx, err):
		return connectFault(t, fault.Unreachable, "something accepts connections there but does not speak SSH, or the host is overloaded",
			fmt.Errorf("%s accepted the connection but the login was not done within %s: %w", s.addr(), s.timeout, context.DeadlineExceeded))
	case ctx.Err() != nil:
		return connectFault(t, fault.Interrupted, "", context.Cause(ctx))
	case errors.As(err, &algos):
		return connectFault(t, fault.Auth, "the recorded host key is of a type the server does not have; compare: ssh-keyscan -p "+fmt.Sprint(s.port)+" "+s.host, err)
	case dropped(err):
		return connectFault(t, fault.Unreachable, "see the log of sshd on the host; MaxStartups may be reached",
			fmt.Errorf("%s ended the connection during the login: %w", s.addr(), err))
	case verified:
		return authError(t, s, ring, err)
	}
	return connectFault(t, fault.Auth, "", err)
}

// authError is a login that was refused, or that could not be tried.
func authError(t Target, s settings, ring *keyring, err error) error {
	var locked *lockedKeyError
	if errors.As(err, &locked) {
		return connectFault(t, fault.Auth, locked.hint(), err)
	}
	if ring == nil { // one that the inventory names
		return connectFault(t, fault.Auth, "put the private key there, or correct identity_file in the inventory", err)
	}
	hint := fmt.Sprintf("offered: %s. Is one of them in authorized_keys of %s?", ring.offered(), s.user)
	if len(ring.signers) == 0 {
		hint = "no usable key: set identity_file, or start an ssh agent and ssh-add a key"
	}
	if len(ring.skipped) > 0 {
		hint += " Not offered: " + strings.Join(ring.skipped, "; ")
	}
	return connectFault(t, fault.Auth, hint, fmt.Errorf("%s did not accept the login as %s: %w", s.addr(), s.user, err))
}
