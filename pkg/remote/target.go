package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// Become methods of a Target.
const (
	BecomeSudo = "sudo"
	BecomeNone = "none"
)

const (
	defaultConnectTimeout = 15 * time.Second
	defaultKeepAlive      = 15 * time.Second
)

// Target says how to reach one host. Fields that are empty come from the ssh
// configuration (`ssh -G`), and then from ssh's defaults.
type Target struct {
	// Name is what errors and callers call the host.
	Name string
	// Address is a host name, an IP address or an alias of the ssh
	// configuration; empty is Name.
	Address string
	User    string
	Port    int

	// Become says how to act as another OS user: BecomeSudo (also when
	// empty) or BecomeNone.
	Become string
	// BecomePassword is asked only when sudo wants a password. Nil: never.
	BecomePassword func(context.Context) (secret.Value, error)

	// IdentityFiles are tried before any other key. Each must exist.
	IdentityFiles []string
	// AgentSocket is the path of the agent's socket; empty is IdentityAgent
	// of the ssh configuration or SSH_AUTH_SOCK, "none" is no agent.
	AgentSocket string

	// Jump is ssh's -J: [user@]host[:port], several separated by commas.
	// Host keys are checked on every hop. "none" overrides the ssh
	// configuration.
	Jump string
	// ProxyCommand is run on this machine; its stdin and stdout are the
	// connection. %h, %p and %r in its words stand for address, port and
	// user.
	ProxyCommand []string

	// ConfigFile is read instead of ssh's configuration files; "none" reads
	// no file.
	ConfigFile string
	// KnownHosts are used instead of the files of the ssh configuration.
	KnownHosts []string
	// HostKey pins the host key: "ssh-ed25519 AAAA…", or a fingerprint
	// "SHA256:…". Known_hosts files are not read then.
	HostKey string

	// ConnectTimeout bounds reaching the server and the whole handshake, for
	// each hop. 0 is 15 s.
	ConnectTimeout time.Duration
	// KeepAlive is the interval of keepalive requests; a connection that
	// leaves three unanswered is closed. 0 is 15 s.
	KeepAlive time.Duration
}

func (t Target) address() string {
	if t.Address != "" {
		return t.Address
	}
	return t.Name
}

// check refuses what could be taken for an option by ssh or a ProxyCommand.
func (t Target) check() error {
	a := t.address()
	switch {
	case a == "":
		return errors.New("no address")
	case strings.HasPrefix(a, "-"), strings.ContainsAny(a, " \t\r\n\x00'\"`$;&|<>(){}\\"):
		return fmt.Errorf("invalid address %q", a)
	case strings.HasPrefix(t.User, "-"), strings.ContainsAny(t.User, " \t\r\n\x00'\"`$;&|<>(){}"):
		return fmt.Errorf("invalid user %q", t.User)
	case t.Port < 0 || t.Port > 65535:
		return fmt.Errorf("invalid port %d", t.Port)
	case t.Jump != "" && t.Jump != "none" && len(t.ProxyCommand) > 0:
		return errors.New("both a jump host and a proxy command are set")
	}
	switch t.Become {
	case "", BecomeSudo, BecomeNone:
		return nil
	}
	return fmt.Errorf("unknown become method %q: use %s or %s", t.Become, BecomeSudo, BecomeNone)
}
