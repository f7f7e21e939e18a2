package remote_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

func rsaSigner(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestServerWithSeveralKeysPresentsTheRecordedOne(t *testing.T) {
	t.Parallel()
	rsaKey := rsaSigner(t)
	s := remotetest.Start(t, remotetest.Config{HostKeys: []ssh.Signer{remotetest.NewKey(t).Signer, rsaKey}})
	to := target(s)
	to.KnownHosts = []string{"/no/such/file", remotetest.KnownHosts(t, s.Address, s.Port, rsaKey.PublicKey())}
	c := dial(t, to)
	if !strings.HasPrefix(c.HostKey(), "ssh-rsa ") {
		t.Errorf("got %s", c.HostKey())
	}
}

func TestUnknownHostIsRefusedWithTheWayToRecordIt(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	file := filepath.Join(t.TempDir(), "known_hosts")
	to.KnownHosts = []string{file}
	name := fmt.Sprintf("[%s]:%d", s.Address, s.Port)
	mustHint(t, dialError(t, to), fault.Auth, "not known", ssh.FingerprintSHA256(hostKeyOf(t, s.KnownHosts)),
		fmt.Sprintf("ssh-keyscan -t ed25519 -p %d %s >> %s", s.Port, s.Address, file), "ssh-keygen -F '"+name+"'")
}

func TestChangedHostKeyIsRefusedWithBothFingerprints(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	was, now := hostKeyOf(t, s.KnownHosts), remotetest.NewKey(t).Signer
	s.ChangeHostKey(now)
	mustHint(t, dialError(t, target(s)), fault.Auth, "has changed", ssh.FingerprintSHA256(was), ssh.FingerprintSHA256(now.PublicKey()),
		s.KnownHosts+":1", fmt.Sprintf("ssh-keygen -R '[%s]:%d' -f %s", s.Address, s.Port, s.KnownHosts))
	if n := s.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestPinnedHostKeyReplacesKnownHosts(t *testing.T) {
	t.Parallel()
	rsaKey := rsaSigner(t)
	s := remotetest.Start(t, remotetest.Config{HostKeys: []ssh.Signer{remotetest.NewKey(t).Signer, rsaKey}})
	to := target(s)
	to.KnownHosts = []string{"/no/such/file"}
	to.HostKey = string(ssh.MarshalAuthorizedKey(rsaKey.PublicKey()))
	works(t, dial(t, to))
	to.HostKey = ssh.FingerprintSHA256(hostKeyOf(t, s.KnownHosts))
	works(t, dial(t, to))
	to.HostKey = ssh.FingerprintSHA256(rsaKey.PublicKey())
	works(t, dial(t, to))
	to.HostKey = string(ssh.MarshalAuthorizedKey(remotetest.NewKey(t).Signer.PublicKey()))
	mustHint(t, dialError(t, to), fault.Auth, "pinned", "host_key")
	to.HostKey = "nonsense"
	if err := dialError(t, to); fault.ClassOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestCorruptKnownHostsLinesAreSkippedWithAWarning(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	good, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	long := strings.Repeat("x", 70000)
	remotetest.WriteFile(t, file, []byte("# a comment\nhost ssh-ed25519 AAAAC3Nz\n@what host ssh-rsa AAAA\n"+long+"\n"+string(good)+"half"))
	to := target(s)
	to.KnownHosts = []string{file}
	var sink recorder
	pool := remote.NewPool([]remote.Target{to}, remote.WithEvents(&sink))
	t.Cleanup(func() { _ = pool.Close() })
	c, err := pool.Dial(limited(t), to.Name)
	if err != nil {
		t.Fatal(err)
	}
	works(t, c)
	got := ""
	for _, e := range sink.events {
		got += e.Text + "\n"
	}
	for _, line := range []string{":2 ", ":3 ", ":4 ", ":6 "} {
		if !strings.Contains(got, file+line) {
			t.Errorf("no warning for line %s in %q", line, got)
		}
	}
	s.ChangeHostKey(remotetest.NewKey(t).Signer)
	mustHint(t, dialError(t, to), fault.Auth, file+":5")
}

func TestCertificateAuthorityOfAnotherKeyTypeIsAccepted(t *testing.T) {
	t.Parallel()
	authority, hostKey := rsaSigner(t), remotetest.NewKey(t).Signer
	cert := &ssh.Certificate{Key: hostKey.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	presented, err := ssh.NewCertSigner(cert, hostKey)
	if err != nil {
		t.Fatal(err)
	}
	s := remotetest.Start(t, remotetest.Config{HostKeys: []ssh.Signer{presented, hostKey}})
	file := filepath.Join(t.TempDir(), "known_hosts")
	remotetest.WriteFile(t, file, fmt.Appendf(nil, "@cert-authority *,[127.0.0.1]:* %s", ssh.MarshalAuthorizedKey(authority.PublicKey())))
	to := target(s)
	to.KnownHosts = []string{file}
	c := dial(t, to)
	works(t, c)
	if want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostKey.PublicKey()))); c.HostKey() != want {
		t.Errorf("host key %s", c.HostKey())
	}
}

func TestRevokedHostKeyIsRefused(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	good, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	remotetest.WriteFile(t, file, append(good, fmt.Appendf(nil, "@revoked * %s", ssh.MarshalAuthorizedKey(hostKeyOf(t, s.KnownHosts)))...))
	to := target(s)
	to.KnownHosts = []string{file}
	mustHint(t, dialError(t, to), fault.Auth, "revoked")
}

func TestHostNameWithoutPortIsEnough(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.KnownHosts = []string{remotetest.KnownHosts(t, s.Address, 22, hostKeyOf(t, s.KnownHosts))}
	works(t, dial(t, to))
}
