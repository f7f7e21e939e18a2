package remote_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// A proxy that waits for a host that is off has accepted a connection, and the host has not.
func TestSilenceBehindAProxyIsNotBlamedOnTheHost(t *testing.T) {
	t.Parallel()
	to := target(remotetest.Start(t, remotetest.Config{}))
	to.ConnectTimeout = 300 * time.Millisecond
	to.ProxyCommand = []string{"sh", "-c", "echo waiting for %h >&2; exec sleep 60"}
	err := dialError(t, to)
	mustHint(t, err, fault.Unreachable, "proxy_command sh was started", "it may not have reached the host: waiting for "+to.Address, "within 300ms",
		"is the host up", "ssh -v -o 'ProxyCommand=sh -c ")
	if text := err.Error() + faultOf(t, err, fault.Unreachable).Hint; strings.Contains(text, "accepted the connection") || strings.Contains(text, "does not speak SSH") {
		t.Errorf("got %s", text)
	}
}

func TestProxyThatEndsIsSaidToHaveEnded(t *testing.T) {
	t.Parallel()
	to := target(remotetest.Start(t, remotetest.Config{}))
	to.ProxyCommand = []string{"/bin/false"}
	mustHint(t, dialError(t, to), fault.Unreachable, "proxy_command /bin/false ended (exit status 1)", "ssh -v -o ProxyCommand=/bin/false")
	if hint := faultOf(t, dialError(t, to), fault.Unreachable).Hint; strings.Contains(hint, "MaxStartups") {
		t.Errorf("hint %s", hint)
	}
	to.ProxyCommand = []string{"sh", "-c", "echo no route >&2; exit 3"}
	mustHint(t, dialError(t, to), fault.Unreachable, "ended (exit status 3)", ": no route")
	// nc ends without a word when the server drops the connection.
	to.ProxyCommand = []string{"true"}
	mustHint(t, dialError(t, to), fault.Unreachable, "ended (exit status 0)", "MaxStartups")

	to.ProxyCommand, to.ConfigFile, to.Name, to.Address = nil, filepath.Join(t.TempDir(), "config"), "pg1", ""
	remotetest.WriteFile(t, to.ConfigFile, []byte("Host pg1\n HostName 127.0.0.1\n ProxyCommand no-such-program %h\n"))
	mustHint(t, dialError(t, to), fault.Unreachable, "ProxyCommand of the ssh configuration ended (exit status 127)", "no-such-program",
		fmt.Sprintf("ssh -v -F %s -p %d tester@pg1", to.ConfigFile, to.Port))
}

func TestMissingProxyProgramIsNotLookedForOnTheHost(t *testing.T) {
	t.Parallel()
	to := target(remotetest.Start(t, remotetest.Config{}))
	for _, program := range []string{"no-such-program", "/no/such/program"} {
		to.ProxyCommand = []string{program, "%h"}
		err := dialError(t, to)
		mustHint(t, err, fault.Unreachable, program, "install the program on this machine, or correct proxy_command in the inventory")
		if hint := faultOf(t, err, fault.Unreachable).Hint; strings.Contains(hint, "ssh -v") {
			t.Errorf("hint %s", hint)
		}
	}
}

// ssh-keyscan knows neither proxies nor jump hosts.
func TestKeyOfAHostThatIsNotReachedDirectlyIsWrittenDown(t *testing.T) {
	t.Parallel()
	s, jump := remotetest.Start(t, remotetest.Config{}), remotetest.Start(t, remotetest.Config{})
	relay := filepath.Join(t.TempDir(), "relay")
	hosttest.Program(t, relay, "#!/bin/bash\nexec 3<>/dev/tcp/$1/$2 || exit 1\ncat <&3 & cat >&3; kill $!\n")
	file := filepath.Join(t.TempDir(), "known_hosts")
	line := remotetest.KnownHostsLine(s.Address, s.Port, hostKeyOf(t, s.KnownHosts))
	for name, jumps := range map[string]bool{"proxy": false, "jump": true} {
		to := target(s)
		to.KnownHosts = []string{file}
		if jumps {
			to.Jump = fmt.Sprintf("u@%s:%d", jump.Address, jump.Port)
			to.IdentityFiles = append(to.IdentityFiles, jump.Key.File)
			remotetest.WriteFile(t, file, []byte(remotetest.KnownHostsLine(jump.Address, jump.Port, hostKeyOf(t, jump.KnownHosts))+"\n"))
		} else {
			to.ProxyCommand = []string{relay, "%h", "%p"}
		}
		err := dialError(t, to)
		mustHint(t, err, fault.Auth, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host", fmt.Sprintf("echo '%s' >> %s", strings.TrimSpace(line), file))
		if strings.Contains(faultOf(t, err, fault.Auth).Hint, "keyscan") {
			t.Errorf("%s: it is told to scan", name)
		}
	}
	// And with that line it is known.
	to := target(s)
	to.KnownHosts, to.ProxyCommand = []string{file}, []string{relay, "%h", "%p"}
	remotetest.WriteFile(t, file, []byte(line+"\n"))
	c := dial(t, to)
	if diff := cmp.Diff(strings.Join(strings.Fields(line)[1:3], " "), c.HostKey()); diff != "" {
		t.Error(diff)
	}
}
