package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// proxyName is what a person knows the proxy program by.
func (s settings) proxyName() string {
	if len(s.proxyArgv) > 0 {
		return "proxy_command " + s.proxyArgv[0]
	}
	return "ProxyCommand of the ssh configuration"
}

// tryIt is a command that takes the same way to the host, and tells more.
func (s settings) tryIt(t Target) string {
	argv := []string{"ssh", "-v"}
	to := s.host
	switch {
	case len(s.proxyArgv) > 0:
		words, err := shell.Quote(s.proxyArgv...) // ssh puts in what %h and %p stand for
		if err != nil {
			return ""
		}
		argv = append(argv, "-o", "ProxyCommand="+words)
	case s.proxied():
		// ssh finds it by the name that the configuration has.
		to = t.address()
		if t.ConfigFile != "" {
			argv = append(argv, "-F", t.ConfigFile)
		}
	case s.jump != "":
		argv = append(argv, "-J", s.jump)
	}
	line, err := shell.Quote(append(argv, "-p", fmt.Sprint(s.port), s.user+"@"+to)...)
	if err != nil {
		return ""
	}
	return "try: " + line
}

// proxyStartError is a ProxyCommand that was not started: no host was asked.
func proxyStartError(t Target, s settings, err error) error {
	where := "proxy_command in the inventory"
	if len(s.proxyArgv) == 0 {
		where = "ProxyCommand in the ssh configuration"
	}
	hint := "correct " + where
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		hint = "install the program on this machine, or correct " + where
	}
	return connectFault(t, fault.Unreachable, hint, err)
}

// proxyError explains a handshake that failed through a proxy: what accepted the
// connection is a program of this machine, and it need not have reached anybody. nil
// where the proxy has no part in it. verified: the server has proved who it is.
func proxyError(ctx context.Context, t Target, s settings, raw net.Conn, verified bool, err error) error {
	p, ok := raw.(*proxyConn)
	switch {
	case !ok:
		return nil
	case timedOut(ctx, err):
		if verified {
			return nil
		}
		return connectFault(t, fault.Unreachable, "is the host up, and does the proxy reach it? "+s.tryIt(t),
			fmt.Errorf("%s was started, and no login to %s was done through it within %s; it may not have reached the host%s: %w",
				s.proxyName(), s.addr(), s.timeout, after(p.said()), context.DeadlineExceeded))
	case ctx.Err() != nil || !dropped(err):
		return nil
	}
	how, failed := p.ending()
	failed = failed || p.said() != ""
	if how == "" || verified && !failed { // the connection was ended behind it
		return nil
	}
	hint := "does the proxy reach the host? "
	if !failed { // nc ends like that when the server ends the connection
		hint = "either it reached nobody, or sshd dropped the connection (see its log on the host; MaxStartups may be reached). "
	}
	return connectFault(t, fault.Unreachable, hint+s.tryIt(t),
		fmt.Errorf("%s ended (%s) before the login to %s was done%s", s.proxyName(), how, s.addr(), after(p.said())))
}

// after adds what a program said last.
func after(said string) string {
	if said == "" {
		return ""
	}
	return ": " + said
}

// said is what the proxy said last.
func (p *proxyConn) said() string { return strings.TrimSpace(host.Tail(p.stderr.String(), 2)) }

// ending is how the proxy ended by itself, as "exit status 1"; empty if it was ended
// from here.
func (p *proxyConn) ending() (how string, failed bool) {
	_ = p.Close() // from here on it has ended, whoever did it
	if p.killed || p.cmd.ProcessState == nil {
		return "", false
	}
	return p.cmd.ProcessState.String(), !p.cmd.ProcessState.Success()
}
