package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// elevation is how a command gets to its OS user.
type elevation struct {
	user     string // empty: the login user
	password bool   // sudo asks for one
}

// elevation decides how to run as a user. Whether sudo wants a password is
// asked once for each user, by a command that does nothing: the real one may
// already have read its input by the time sudo says no.
func (c *Conn) elevation(ctx context.Context, as string) (elevation, error) {
	if as == "" || as == c.user {
		return elevation{}, nil
	}
	if strings.HasPrefix(as, "-") || strings.ContainsAny(as, " \t\n\x00") {
		return elevation{}, fmt.Errorf("invalid user %q", as)
	}
	if c.target.Become == BecomeNone {
		return elevation{}, &fault.Error{
			Class: fault.Auth, Host: c.Name(), Op: "become " + as,
			Err:  fmt.Errorf("logged in as %s, and become is none", c.user),
			Hint: fmt.Sprintf("set ssh.become: sudo, or log in as %s (ssh.user)", as),
		}
	}
	if c.target.BecomePassword == nil {
		return elevation{user: as}, nil
	}
	c.mu.Lock()
	e, known := c.elevate[as]
	c.mu.Unlock()
	if known {
		return e, nil
	}
	e = elevation{user: as}
	err := c.runElevated(ctx, e, host.Cmd{Argv: []string{"true"}, As: as}, host.Stdio{})
	var refused *sudoError
	switch {
	case errors.As(err, &refused) && refused.wantsPassword:
		e.password = true
	case err != nil:
		return elevation{}, err
	}
	c.mu.Lock()
	c.elevate[as] = e
	c.mu.Unlock()
	return e, nil
}

// password asks for the sudo password.
func (c *Conn) password(ctx context.Context) (secret.Value, error) {
	pw, err := c.target.BecomePassword(ctx)
	if err != nil {
		return pw, fmt.Errorf("get sudo password: %w", err)
	}
	if strings.ContainsAny(pw.Reveal(), "\n\x00") {
		return pw, errors.New("get sudo password: it contains a line break or NUL")
	}
	return pw, nil
}

// sudoError is sudo's own refusal, not a failure of the command.
type sudoError struct {
	said          string
	wantsPassword bool
}

func (e *sudoError) Error() string { return e.said }

// sudoRefusal recognizes sudo's own messages. They are the only sign: sudo
// exits with 1, as commands do. The language is C by our environment, and
// sudo says so before any command could have written.
func sudoRefusal(stderr string) *sudoError {
	for _, line := range strings.Split(stderr, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "sudo: a password is required"),
			strings.HasPrefix(line, "sudo: interactive authentication is required"),
			strings.HasPrefix(line, "sudo: a terminal is required to read the password"):
			return &sudoError{said: line, wantsPassword: true}
		case strings.HasPrefix(line, "sudo: sorry, you must have a tty"),
			strings.HasPrefix(line, "sudo: unknown user"),
			strings.HasPrefix(line, "sudo: account validation failure"),
			strings.HasPrefix(line, "sudo: I'm sorry"),
			strings.HasPrefix(line, "Sorry, user "),
			strings.Contains(line, " is not in the sudoers file"),
			strings.Contains(line, " is not allowed to run sudo on "),
			strings.Contains(line, "exec: sudo: not found"),
			strings.Contains(line, "sudo: not found"):
			return &sudoError{said: line}
		}
	}
	return nil
}

// refusedFault tells what to write into sudoers.
func (c *Conn) refusedFault(as string, refused *sudoError) error {
	hint := fmt.Sprintf("allow it in sudoers on the host: %s ALL=(%s) NOPASSWD: ALL", c.user, as)
	switch {
	case strings.Contains(refused.said, "must have a tty"):
		hint = fmt.Sprintf("switch it off in sudoers on the host: Defaults:%s !requiretty", c.user)
	case strings.Contains(refused.said, "not found"):
		hint = fmt.Sprintf("install sudo on the host, or log in as %s (ssh.user) with ssh.become: none", as)
	case strings.Contains(refused.said, "unknown user"):
		hint = "check the OS user in the inventory"
	case refused.wantsPassword:
		hint += ", or give ssh.become_password"
	}
	return &fault.Error{Class: fault.Auth, Host: c.Name(), Op: "become " + as, Err: refused, Hint: hint}
}

// nonce is a word that no output contains by accident.
func nonce() string { return "pgrepctl-" + rand.Text() }
