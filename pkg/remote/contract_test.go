package remote_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// TestMain waits for what was given up to end: on a busy machine a server that was cut
// off needs longer than goleak waits by itself.
func TestMain(m *testing.M) {
	code := m.Run()
	err := goleak.Find()
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); {
		err = goleak.Find()
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goleak:", err)
		code = 1
	}
	os.Exit(code)
}

// target reaches an in-process server and nothing of the tester's own ssh.
func target(s *remotetest.Server) remote.Target {
	return remote.Target{
		Name: "pg1", Address: s.Address, Port: s.Port, User: "tester", IdentityFiles: []string{s.Key.File},
		KnownHosts: []string{s.KnownHosts}, ConfigFile: "none", AgentSocket: "none",
	}
}

func realTarget(s *remotetest.SSHD) remote.Target {
	return remote.Target{
		Name: "pg1", Address: s.Address, Port: s.Port, User: s.User, IdentityFiles: []string{s.Key.File},
		KnownHosts: []string{s.KnownHosts}, ConfigFile: "none", AgentSocket: "none",
	}
}

func dial(t *testing.T, target remote.Target) *remote.Conn {
	t.Helper()
	c, err := remote.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestContractOverInProcessServer(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	remotetest.Contract(t, func(t *testing.T) host.Host { return dial(t, target(s)) })
}

func TestContractOverRealSSHD(t *testing.T) {
	t.Parallel()
	s := remotetest.StartSSHD(t, remotetest.SSHDConfig{})
	remotetest.Contract(t, func(t *testing.T) host.Host { return dial(t, realTarget(s)) })
}
