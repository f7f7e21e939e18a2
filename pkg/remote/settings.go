package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// settings is a Target with the ssh configuration applied: one hop.
type settings struct {
	host  string // what is dialed, and known_hosts' name unless alias is set
	port  int
	user  string
	alias string // HostKeyAlias
	// network is tcp, tcp4 or tcp6.
	network string

	identities     []string
	certificates   []string
	identitiesOnly bool
	agent          string

	jump         string
	proxyArgv    []string // from the inventory
	proxyCommand string   // from the ssh configuration: a shell string
	knownHosts   []string
	timeout      time.Duration
}

// addr is what is dialed.
func (s settings) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// proxied reports whether a ProxyCommand makes the connection.
func (s settings) proxied() bool {
	return len(s.proxyArgv) > 0 || s.proxyCommand != "" && s.jump == ""
}

// direct reports that the host is dialed from here, by the name that it is known by.
func (s settings) direct() bool { return !s.proxied() && s.jump == "" && s.alias == "" }

// door names the sshd that a login goes to, as far as it is known: those by way of a
// ProxyCommand may all meet at one.
func (s settings) door() string {
	switch {
	case s.proxied():
		return "proxy"
	case s.jump != "":
		return s.jump + " " + s.addr()
	}
	return s.addr()
}

// values holds the lines of an ssh configuration for one host: lower-case
// keyword to values, in order.
type values map[string][]string

func (v values) first(key string) string {
	if x := v[key]; len(x) > 0 {
		return x[0]
	}
	return ""
}

// resolve applies the ssh configuration to t. ssh itself is asked when it is
// there: only it knows Match, canonical names and its own defaults.
func resolve(ctx context.Context, t Target, known *answers) (settings, error) {
	var (
		v   values
		err error
	)
	if ssh, lookErr := exec.LookPath("ssh"); lookErr == nil {
		v, err = known.ask(ctx, ssh, t)
	} else {
		v, err = readConfig(t)
	}
	if err != nil {
		return settings{}, fmt.Errorf("read ssh configuration: %w", err)
	}
	return apply(t, v)
}

// askSSH tells what ssh would do, and the files that it has read for it, nil when
// it does not say.
func askSSH(ctx context.Context, ssh string, t Target) (v values, files []string, _ error) {
	args := []string{"-v", "-G"}
	if t.ConfigFile != "" {
		args = append(args, "-F", t.ConfigFile)
	}
	if t.User != "" {
		args = append(args, "-l", t.User)
	}
	if t.Port != 0 {
		args = append(args, "-p", strconv.Itoa(t.Port))
	}
	cmd := exec.CommandContext(ctx, ssh, append(args, "--", t.address())...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if line := host.Tail(stderr.String(), 1); line != "" {
			return nil, nil, errors.New(line)
		}
		return nil, nil, err
	}
	v = values{}
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		key, value, _ := strings.Cut(sc.Text(), " ")
		v[strings.ToLower(key)] = append(v[strings.ToLower(key)], value)
	}
	return v, filesRead(stderr.String()), nil
}

func apply(t Target, v values) (settings, error) {
	s := settings{
		host: t.address(), port: t.Port, user: t.User,
		network:        "tcp",
		identitiesOnly: v.first("identitiesonly") == "yes",
		jump:           t.Jump,
		proxyArgv:      t.ProxyCommand,
		agent:          t.AgentSocket,
		timeout:        t.ConnectTimeout,
	}
	if h := v.first("hostname"); h != "" {
		s.host = strings.ReplaceAll(h, "%h", t.address())
	}
	if p, err := strconv.Atoi(v.first("port")); err == nil && s.port == 0 {
		s.port = p
	}
	if s.port == 0 {
		s.port = 22
	}
	if s.user == "" {
		s.user = v.first("user")
	}
	local, err := user.Current()
	if err != nil {
		return s, err
	}
	if s.user == "" {
		s.user = local.Username
	}
	if a := v.first("hostkeyalias"); a != "none" {
		s.alias = a
	}
	switch v.first("addressfamily") {
	case "inet":
		s.network = "tcp4"
	case "inet6":
		s.network = "tcp6"
	}
	if s.jump == "" && len(s.proxyArgv) == 0 {
		s.jump, s.proxyCommand = v.first("proxyjump"), v.first("proxycommand")
	}
	if s.jump == "none" {
		s.jump = ""
	}
	if s.proxyCommand == "none" {
		s.proxyCommand = ""
	}
	if secs, err := strconv.Atoi(v.first("connecttimeout")); err == nil && s.timeout == 0 {
		s.timeout = time.Duration(secs) * time.Second
	}
	if s.timeout <= 0 {
		s.timeout = defaultConnectTimeout
	}

	expand := expander(t, s, local)
	for _, f := range t.IdentityFiles {
		s.identities = append(s.identities, expand(f))
	}
	for _, f := range v["identityfile"] {
		if f != "none" {
			s.identities = append(s.identities, expand(f))
		}
	}
	for _, f := range v["certificatefile"] {
		if f != "none" {
			s.certificates = append(s.certificates, expand(f))
		}
	}
	for _, f := range t.KnownHosts {
		s.knownHosts = append(s.knownHosts, expand(f))
	}
	if t.KnownHosts == nil {
		for _, key := range []string{"userknownhostsfile", "globalknownhostsfile"} {
			for _, line := range v[key] {
				for _, f := range strings.Fields(line) {
					if f != "none" {
						s.knownHosts = append(s.knownHosts, expand(f))
					}
				}
			}
		}
	}
	s.agent = agentSocket(s.agent, v.first("identityagent"), expand)
	return s, nil
}

func agentSocket(own, configured string, expand func(string) string) string {
	a := own
	if a == "" {
		a = configured
	}
	switch {
	case a == "none":
		return ""
	case a == "", a == "SSH_AUTH_SOCK":
		return os.Getenv("SSH_AUTH_SOCK")
	case strings.HasPrefix(a, "$"):
		return os.Getenv(strings.Trim(a[1:], "{}"))
	}
	return expand(a)
}

// expander replaces ~ and the % tokens of ssh_config(5) in file names.
func expander(t Target, s settings, local *user.User) func(string) string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	short, _, _ := strings.Cut(name, ".")
	key := s.alias
	if key == "" {
		key = s.host
	}
	tokens := strings.NewReplacer(
		"%%", "%", "%d", local.HomeDir, "%h", s.host, "%i", local.Uid, "%k", key,
		"%L", short, "%l", name, "%n", t.address(), "%p", strconv.Itoa(s.port),
		"%r", s.user, "%u", local.Username)
	return func(f string) string {
		if f == "~" || strings.HasPrefix(f, "~/") {
			f = filepath.Join(local.HomeDir, f[1:])
		}
		return tokens.Replace(f)
	}
}
