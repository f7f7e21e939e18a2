package remote_test

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

func works(t *testing.T, c host.Runner) {
	t.Helper()
	if out, err := host.Output(limited(t), c, host.Cmd{Argv: []string{"echo", "hello"}}); err != nil || string(out) != "hello\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func dialError(t *testing.T, to remote.Target) error {
	t.Helper()
	c, err := remote.Dial(limited(t), to)
	if err == nil {
		_ = c.Close()
		t.Fatal("connected")
	}
	return err
}

func TestMuteServerDoesNotHoldTheDialer(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	s.SetFaults(remotetest.Faults{Mute: true})
	to := target(s)
	to.ConnectTimeout = 300 * time.Millisecond
	start := time.Now()
	mustHint(t, dialError(t, to), fault.Unreachable, "300ms", "does not speak SSH")

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	to.ConnectTimeout = 0
	if _, err := remote.Dial(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestRefusedConnectionIsUnreachable(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.Port = remotetest.FreePort(t)
	mustHint(t, dialError(t, to), fault.Unreachable, "refused", "is sshd running", fmt.Sprintf("-p %d tester@127.0.0.1", to.Port))
	to.Address = "no-such-host.invalid"
	mustHint(t, dialError(t, to), fault.Unreachable, "no-such-host.invalid", "address")
	to.Address = "-oProxyCommand=id"
	if err := dialError(t, to); fault.ClassOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestDroppedConnectionsAreTriedAgain(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	s.SetFaults(remotetest.Faults{Drop: 2})
	works(t, dial(t, target(s)))
	if n := s.Accepted(); n != 3 {
		t.Errorf("%d connections", n)
	}
	s.SetFaults(remotetest.Faults{Drop: 9})
	mustHint(t, dialError(t, target(s)), fault.Unreachable, "MaxStartups")
}

func TestOneSSHDSeesFewConnectionsThatAreNotLoggedIn(t *testing.T) {
	t.Parallel()
	var asking atomic.Int32
	proceed := make(chan struct{})
	s := remotetest.Start(t, remotetest.Config{Accept: func(string, ssh.PublicKey) error {
		asking.Add(1)
		<-proceed
		return nil
	}})
	var targets []remote.Target
	for i := range 30 {
		to := target(s)
		to.Name = fmt.Sprintf("h%d", i)
		targets = append(targets, to)
	}
	pool := remote.NewPool(targets)
	t.Cleanup(func() { _ = pool.Close() })
	errs := make(chan error, len(targets))
	for _, to := range targets {
		go func() {
			_, err := pool.Dial(limited(t), to.Name)
			errs <- err
		}()
	}
	eight := remotetest.Await(t, 30*time.Second, func() bool { return asking.Load() >= 8 })
	if n := s.Accepted(); !eight || n != 8 {
		t.Errorf("%d connections at once", n)
	}
	close(proceed)
	for range targets {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestConnectionMadeAheadThatNobodyTakesEndsWithTheHost(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	c.ConnectAhead(limited(t))
	c.ConnectAhead(limited(t))
	if !remotetest.Await(t, 30*time.Second, func() bool { return s.Accepted() == 2 }) {
		t.Fatalf("%d connections", s.Accepted())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if !remotetest.Await(t, 30*time.Second, func() bool { return s.Connections() == 0 }) {
		t.Errorf("%d are left", s.Connections())
	}
}

func TestConnectionMadeAheadIsNotWaitedForAtTheEnd(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.ConnectTimeout = time.Hour
	c := dial(t, to)
	s.SetFaults(remotetest.Faults{Mute: true})
	c.ConnectAhead(limited(t))
	if !remotetest.Await(t, 30*time.Second, func() bool { return s.Accepted() == 2 }) {
		t.Fatalf("%d connections", s.Accepted())
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Close() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-limited(t).Done():
		t.Error("it waits for a login that does not end")
	}
}

func TestWrongKeyIsAnAuthFaultAndTriedOnce(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	other := remotetest.NewKey(t)
	to.IdentityFiles = []string{other.File}
	mustHint(t, dialError(t, to), fault.Auth, "tester", ssh.FingerprintSHA256(other.Signer.PublicKey()), "authorized_keys")
	if n := s.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
	to.IdentityFiles = []string{filepath.Join(t.TempDir(), "none")}
	mustHint(t, dialError(t, to), fault.Auth, "none", "correct identity_file in the inventory")
}

func TestEncryptedKeyNeedsAnAgent(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	block, err := ssh.MarshalPrivateKeyWithPassphrase(s.Key.Raw, "", []byte("phrase"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id_locked")
	remotetest.WriteFile(t, file, pemOf(block))
	to := target(s)
	to.IdentityFiles = []string{file}
	mustHint(t, dialError(t, to), fault.Auth, "encrypted", "ssh-add "+file)

	to.AgentSocket = startAgent(t, agent.AddedKey{PrivateKey: s.Key.Raw})
	works(t, dial(t, to))
}

func TestAtMostFiveKeysAreOfferedInOrder(t *testing.T) {
	t.Parallel()
	var offered []string
	s := remotetest.Start(t, remotetest.Config{Accept: func(_ string, key ssh.PublicKey) error {
		offered = append(offered, ssh.FingerprintSHA256(key))
		return errors.New("no")
	}})
	var held []agent.AddedKey
	for range 8 {
		held = append(held, agent.AddedKey{PrivateKey: remotetest.NewKey(t).Raw})
	}
	to := target(s)
	to.AgentSocket = startAgent(t, held...)
	err := dialError(t, to)
	mustHint(t, err, fault.Auth, "was not tried")
	if len(offered) != 5 || offered[0] != ssh.FingerprintSHA256(s.Key.Signer.PublicKey()) {
		t.Errorf("offered %v", offered)
	}

	offered = nil
	to.ConfigFile = filepath.Join(t.TempDir(), "config")
	remotetest.WriteFile(t, to.ConfigFile, []byte("IdentitiesOnly yes\nIdentityFile /no/such\n"))
	_ = dialError(t, to)
	if len(offered) != 1 {
		t.Errorf("IdentitiesOnly: offered %v", offered)
	}
}

func TestUserCertificateIsOffered(t *testing.T) {
	t.Parallel()
	authority := remotetest.NewKey(t)
	checker := ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool {
		return ssh.FingerprintSHA256(k) == ssh.FingerprintSHA256(authority.Signer.PublicKey())
	}}
	s := remotetest.Start(t, remotetest.Config{Accept: func(user string, key ssh.PublicKey) error {
		cert, ok := key.(*ssh.Certificate)
		if !ok {
			return errors.New("not a certificate")
		}
		return checker.CheckCert(user, cert)
	}})
	cert := &ssh.Certificate{Key: s.Key.Signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"tester"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority.Signer); err != nil {
		t.Fatal(err)
	}
	remotetest.WriteFile(t, s.Key.File+"-cert.pub", ssh.MarshalAuthorizedKey(cert))
	works(t, dial(t, target(s)))
}

func TestJumpHostsAreCheckedAndShared(t *testing.T) {
	t.Parallel()
	first, second := remotetest.Start(t, remotetest.Config{}), remotetest.Start(t, remotetest.Config{})
	a, b := remotetest.Start(t, remotetest.Config{}), remotetest.Start(t, remotetest.Config{})
	all := filepath.Join(t.TempDir(), "known_hosts")
	var lines []byte
	for _, s := range []*remotetest.Server{first, second, a, b} {
		data, err := os.ReadFile(s.KnownHosts)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, data...)
	}
	remotetest.WriteFile(t, all, lines)
	jump := fmt.Sprintf("u@%s:%d,u@%s:%d", first.Address, first.Port, second.Address, second.Port)
	var targets []remote.Target
	for name, s := range map[string]*remotetest.Server{"a": a, "b": b} {
		to := target(s)
		to.Name, to.Jump, to.KnownHosts = name, jump, []string{all}
		to.IdentityFiles = []string{first.Key.File, second.Key.File, a.Key.File, b.Key.File}
		targets = append(targets, to)
	}
	pool := remote.NewPool(targets)
	for range 2 {
		for _, name := range []string{"a", "b"} {
			h, err := pool.Dial(limited(t), name)
			if err != nil {
				t.Fatal(err)
			}
			works(t, h)
		}
	}
	if first.Accepted() != 1 || second.Accepted() != 1 || first.Forwards() != 1 || second.Forwards() != 2 || pool.Connections("a") != 1 {
		t.Errorf("connections: %d, %d; forwards: %d, %d", first.Accepted(), second.Accepted(), first.Forwards(), second.Forwards())
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}

	second.ChangeHostKey(remotetest.NewKey(t).Signer)
	c, err := remote.Dial(limited(t), targets[0])
	if err == nil {
		_ = c.Close()
	}
	if fault.ClassOf(err) != fault.Auth || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("a jump host's changed key: got %v", err)
	}
}

func TestProxyCommands(t *testing.T) {
	t.Parallel()
	relay := filepath.Join(t.TempDir(), "relay")
	// A ProxyCommand that uses nothing but bash.
	script := "#!/bin/bash\nexec 3<>/dev/tcp/$1/$2 || exit 1\ncat <&3 & cat >&3; kill $!\n"
	hosttest.Program(t, relay, script)
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.ProxyCommand = []string{relay, "%h", "%p"}
	works(t, dial(t, to))

	to.ProxyCommand = nil
	to.ConfigFile = filepath.Join(t.TempDir(), "config")
	remotetest.WriteFile(t, to.ConfigFile, []byte("ProxyCommand "+relay+" %h %p\n"))
	works(t, dial(t, to))

	to.ProxyCommand = []string{"sh", "-c", "echo the tunnel is closed >&2; exit 1"}
	mustHint(t, dialError(t, to), fault.Unreachable, "the tunnel is closed")
	to.ProxyCommand = []string{"sleep", "60"}
	to.ConnectTimeout = 200 * time.Millisecond
	mustHint(t, dialError(t, to), fault.Unreachable, "200ms")
}

func TestSettingsComeFromTheConfiguration(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	config := filepath.Join(t.TempDir(), "config")
	remotetest.WriteFile(t, config, fmt.Appendf(nil, "Host pg1\n HostName %s\n Port %d\n User configured\n IdentityFile %s\n IdentityAgent none\n UserKnownHostsFile %s\n",
		s.Address, s.Port, s.Key.File, s.KnownHosts))
	c := dial(t, remote.Target{Name: "pg1", ConfigFile: config})
	works(t, c)
	if c.User() != "configured" || c.Name() != "pg1" {
		t.Errorf("got %s@%s", c.User(), c.Name())
	}
	want := strings.Fields(remotetest.KnownHostsLine("x", 22, hostKeyOf(t, s.KnownHosts)))
	if c.HostKey() != want[1]+" "+want[2] {
		t.Errorf("host key %q", c.HostKey())
	}
}

func hostKeyOf(t *testing.T, knownHosts string) ssh.PublicKey {
	t.Helper()
	data, err := os.ReadFile(knownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(data)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func startAgent(t *testing.T, keys ...agent.AddedKey) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(ring, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return filepath.Join(dir, "s")
}

func TestJumpLoopIsRefused(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.ConfigFile = filepath.Join(t.TempDir(), "config")
	remotetest.WriteFile(t, to.ConfigFile, []byte("Host *\n ProxyJump bastion\n"))
	if err := dialError(t, to); fault.ClassOf(err) != fault.Invalid || !strings.Contains(err.Error(), "loop") {
		t.Errorf("got %v", err)
	}
	to.Jump = "bad:port:" + strconv.Itoa(1)
	_ = dialError(t, to)
}

func pemOf(b *pem.Block) []byte { return pem.EncodeToMemory(b) }
