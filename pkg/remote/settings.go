package remote

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
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

// some is the first value, unless that is ssh's word for there being none.
func (v values) some(key string) string {
	if x := v.first(key); x != "none" {
		return x
	}
	return ""
}

// all are the values but for that word.
func (v values) all(key string) []string {
	return slices.DeleteFunc(slices.Clone(v[key]), func(x string) bool { return x == "none" })
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

// apply settles what the target says for itself, then what its configuration says, then
// ssh's defaults.
func apply(t Target, v values) (settings, error) {
	local, err := user.Current()
	if err != nil {
		return settings{}, err
	}
	s := settings{network: "tcp", identitiesOnly: v.first("identitiesonly") == "yes", alias: v.some("hostkeyalias")}
	s.reach(t, v, local.Username)
	s.detour(t, v)
	expand := expander(t, s, local)
	for _, f := range slices.Concat(t.IdentityFiles, v.all("identityfile")) {
		s.identities = append(s.identities, expand(f))
	}
	for _, f := range v.all("certificatefile") {
		s.certificates = append(s.certificates, expand(f))
	}
	known := t.KnownHosts
	if known == nil {
		for _, line := range slices.Concat(v["userknownhostsfile"], v["globalknownhostsfile"]) {
			known = append(known, strings.Fields(line)...)
		}
		known = slices.DeleteFunc(known, func(f string) bool { return f == "none" })
	}
	for _, f := range known {
		s.knownHosts = append(s.knownHosts, expand(f))
	}
	s.agent = agentSocket(t.AgentSocket, v.first("identityagent"), expand)
	return s, nil
}

// reach is where to, as whom, and for how long it is tried.
func (s *settings) reach(t Target, v values, local string) {
	s.host = t.address()
	if h := v.first("hostname"); h != "" {
		s.host = strings.ReplaceAll(h, "%h", s.host)
	}
	s.port = t.Port
	if p, err := strconv.Atoi(v.first("port")); err == nil && s.port == 0 {
		s.port = p
	}
	s.port = cmp.Or(s.port, 22)
	s.user = cmp.Or(t.User, v.first("user"), local)
	switch v.first("addressfamily") {
	case "inet":
		s.network = "tcp4"
	case "inet6":
		s.network = "tcp6"
	}
	s.timeout = t.ConnectTimeout
	if secs, err := strconv.Atoi(v.first("connecttimeout")); err == nil && s.timeout == 0 {
		s.timeout = time.Duration(secs) * time.Second
	}
	if s.timeout <= 0 {
		s.timeout = defaultConnectTimeout
	}
}

// detour is the way there, where it is not the straight one. What the target says goes
// before all of what its configuration says.
func (s *settings) detour(t Target, v values) {
	s.jump, s.proxyArgv = t.Jump, t.ProxyCommand
	if s.jump == "" && len(s.proxyArgv) == 0 {
		s.jump, s.proxyCommand = v.some("proxyjump"), v.some("proxycommand")
	}
	if s.jump == "none" {
		s.jump = ""
	}
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
