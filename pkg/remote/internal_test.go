package remote

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Both ways to read a configuration must agree, or a machine without ssh would
// connect elsewhere.
func TestConfigurationIsReadAlikeWithAndWithoutSSH(t *testing.T) {
	t.Parallel()
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal("install openssh-client (.ci/run does)")
	}
	file := writeConfig(t, `
Host pg1 alias
  HostName 10.0.0.1
  User deploy
  Port 2222
  IdentityFile ~/.ssh/id_%h
  IdentityFile /keys/second
  CertificateFile /keys/cert.pub
  IdentitiesOnly yes
  ProxyJump bastion:2200
  HostKeyAlias pg-one
  ConnectTimeout 7
  AddressFamily inet
  UserKnownHostsFile /known/a /known/b
  GlobalKnownHostsFile none
Host pg2
  ProxyCommand nc -x proxy %h %p
Host *
  User everybody
  IdentityFile /keys/last
`)
	for _, to := range []Target{
		{Address: "pg1"},
		{Name: "alias", User: "me", Port: 99, IdentityFiles: []string{"/mine"}, KnownHosts: []string{"~/kh"}, Jump: "none", ConnectTimeout: time.Second},
		{Address: "pg2"},
		{Address: "pg2", Jump: "other"},
		{Address: "pg3"},
	} {
		to.ConfigFile, to.AgentSocket = file, "none"
		asked, _, err := askSSH(t.Context(), ssh, to)
		if err != nil {
			t.Fatal(err)
		}
		read, err := readConfig(to)
		if err != nil {
			t.Fatal(err)
		}
		want, err := apply(to, asked)
		if err != nil {
			t.Fatal(err)
		}
		got, err := apply(to, read)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" {
			t.Errorf("%s: %s", to.address(), diff)
		}
	}
}

func TestConfigurationOfOneHost(t *testing.T) {
	t.Parallel()
	to := Target{Address: "pg1", AgentSocket: "/agent", ConfigFile: writeConfig(t, "Host pg1\n HostName db-%h.example.org\n Port 2222\n User deploy\n AddressFamily inet\n IdentityFile /k/%r@%h\n ProxyJump a,b\n UserKnownHostsFile /kh\n GlobalKnownHostsFile none\n")}
	got, err := resolve(t.Context(), to, &answers{})
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		host: "db-pg1.example.org", port: 2222, user: "deploy", network: "tcp4", agent: "/agent", jump: "a,b",
		identities: []string{"/k/deploy@db-pg1.example.org"}, knownHosts: []string{"/kh"}, timeout: defaultConnectTimeout,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" {
		t.Error(diff)
	}
	to.ConfigFile = writeConfig(t, "Nonsense here\n")
	if _, err := resolve(t.Context(), to, &answers{}); err == nil {
		t.Error("a wrong configuration was read")
	}
}

func TestJumpHostsAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Target{
		"bastion":             {Address: "bastion", Name: "jump host bastion"},
		"u@bastion:2222":      {Address: "bastion", Name: "jump host bastion", User: "u", Port: 2222},
		"a,u@b":               {Address: "b", Name: "jump host b", User: "u", Jump: "a"},
		"a,b,c:1":             {Address: "c", Name: "jump host c", Port: 1, Jump: "a,b"},
		"ssh://u@[::1]:22":    {Address: "::1", Name: "jump host ::1", User: "u", Port: 22},
		"user@corp@bastion:9": {Address: "bastion", Name: "jump host bastion", User: "user@corp", Port: 9},
	} {
		got, err := jumpTarget(Target{}, text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "BecomePassword" }, cmp.Ignore())); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	if _, err := jumpTarget(Target{}, "host:port"); err == nil {
		t.Error("a port that is none was read")
	}
}

// runLeash runs the script with a lease that the test holds.
func runLeash(t *testing.T, ttl int, command string) (lease io.WriteCloser, ended <-chan error) {
	t.Helper()
	argv := (&leash{ttl: ttl}).wrap([]string{"/bin/sh", "-c", command})
	cmd := exec.Command(argv[0], argv[1:]...)
	lease, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = lease.Close() })
	return lease, done
}

func TestLeashEndsASilentHolder(t *testing.T) {
	t.Parallel()
	_, ended := runLeash(t, 1, "exec sleep 200")
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), strconv.Itoa(128+15)) {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a holder that is silent keeps its command")
	}
}

func TestLeashHoldsAsLongAsThereAreBeats(t *testing.T) {
	t.Parallel()
	// Five beats, each within the two seconds of the lease, outlast it.
	lease, ended := runLeash(t, 2, "exec sleep 3")
	beat := time.NewTicker(400 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("got %v", err)
			}
			return
		case <-beat.C:
			_, _ = io.WriteString(lease, "\n")
		}
	}
}

func TestLeashRefusesHalfAnInput(t *testing.T) {
	t.Parallel()
	argv := (&leash{input: []byte("twelve bytes"), ttl: 60}).wrap([]string{"cat"})
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader("twelve")
	out, err := cmd.Output()
	if err == nil || len(out) != 0 {
		t.Errorf("got %q, %v", out, err)
	}
}
