package remote_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// started waits for a command that writes its pid.
func started(t *testing.T, file string) string {
	t.Helper()
	var pid string
	if !remotetest.Await(t, 30*time.Second, func() bool {
		b, err := os.ReadFile(file)
		pid = strings.TrimSpace(string(b))
		return err == nil && strings.HasSuffix(string(b), "\n")
	}) {
		t.Fatal("the command did not start")
	}
	return pid
}

func runs(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && len(b) > 0 // a zombie has none
}

func TestLeashedCommandDiesWithTheConnection(t *testing.T) {
	t.Parallel()
	s := remotetest.StartSSHD(t, remotetest.SSHDConfig{})
	c := dial(t, realTarget(s))
	file := filepath.Join(t.TempDir(), "pid")
	done := make(chan error, 1)
	go func() {
		done <- c.Run(limited(t), host.Cmd{Argv: []string{"sh", "-c", `echo $$ >"$0"; exec sleep 200`, file}, Leash: true}, host.Stdio{In: strings.NewReader("a list")})
	}()
	pid := started(t, file)
	s.KillSessions(t)
	mustLose(t, <-done)
	if !remotetest.Await(t, 30*time.Second, func() bool { return !runs(pid) }) {
		t.Error("it outlives its connection")
	}
}

// sudoers lets the OS user postgres become root by password and daemon
// without, and is as chatty as sudo can be.
const sudoers = `Defaults use_pty
Defaults lecture=always
Defaults passwd_tries=3
postgres ALL=(root) ALL
postgres ALL=(daemon) NOPASSWD: ALL
`

// shadow gives postgres the password "correct horse".
const shadow = `root:*:19000:0:99999:7:::
daemon:*:19000:0:99999:7:::
postgres:HASH:19000:0:99999:7:::
`

func TestRealSudo(t *testing.T) {
	t.Parallel()
	s := remotetest.StartSSHD(t, remotetest.SSHDConfig{User: "postgres", Files: map[string]string{
		"/etc/sudoers": sudoers,
		"/etc/shadow":  strings.ReplaceAll(shadow, "HASH", remotetest.Crypt(t, "correct horse")),
	}})
	asked := 0
	to := realTarget(s)
	to.BecomePassword = passwordIs("correct horse", &asked)
	c := dial(t, to)
	id := func(as string) host.Cmd { return host.Cmd{Argv: []string{"sh", "-c", "id -un; cat"}, As: as} }

	for _, as := range []string{"", "postgres", "daemon", "root"} {
		for _, leash := range []bool{false, true} {
			cmd := id(as)
			cmd.Leash = leash
			want := as
			if as == "" {
				want = "postgres"
			}
			in := strings.Repeat("input\x00\n", 50000)
			var out, errOut bytes.Buffer
			if err := c.Run(limited(t), cmd, host.Stdio{In: strings.NewReader(in), Out: &out, Err: &errOut}); err != nil {
				t.Fatalf("%q: %v", as, err)
			}
			if out.String() != want+"\n"+in {
				t.Errorf("%q, leash %v: got %d bytes", as, leash, out.Len())
			}
			if strings.Contains(errOut.String(), "PW-") {
				t.Errorf("the prompt is in stderr: %q", &errOut)
			}
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	file := filepath.Join(t.TempDir(), "secret")
	remotetest.WriteFile(t, file, []byte("of root"))
	if f, err := c.Files("root").Read(limited(t), file); err != nil || string(f.Data) != "of root" {
		t.Errorf("files of root: got %q, %v", f.Data, err)
	}
	if _, err := c.Files("daemon").Read(limited(t), file); !errors.Is(err, os.ErrPermission) {
		t.Errorf("files of daemon: got %v", err)
	}

	t.Run("a leash reaches through sudo", func(t *testing.T) {
		for _, as := range []string{"daemon", "root"} {
			dir, err := os.MkdirTemp("", "leash")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(dir) }()
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(limited(t))
			done := make(chan error, 1)
			go func() {
				done <- c.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", `echo $$ >"$0"; exec sleep 200`, dir + "/pid"}, As: as, Leash: true}, host.Stdio{})
			}()
			pid := started(t, dir+"/pid")
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if !remotetest.Await(t, 30*time.Second, func() bool { return !runs(pid) }) {
				t.Errorf("%s: it still runs", as)
			}
		}
	})

	t.Run("a wrong password is an auth fault", func(t *testing.T) {
		to := realTarget(s)
		to.BecomePassword = passwordIs("wrong horse", &asked)
		mustHint(t, dial(t, to).Run(limited(t), id("root"), host.Stdio{}), fault.Auth, "did not accept the password")
	})
	t.Run("without a password the sudoers line is named", func(t *testing.T) {
		c := dial(t, realTarget(s))
		mustHint(t, c.Run(limited(t), id("root"), host.Stdio{}), fault.Auth, "postgres ALL=(root) NOPASSWD: ALL")
		mustHint(t, c.Run(limited(t), id("nobody-here"), host.Stdio{}), fault.Auth, "nobody-here")
		var exit *host.ExitError
		if err := c.Run(limited(t), host.Cmd{Argv: []string{"false"}, As: "daemon"}, host.Stdio{}); !errors.As(err, &exit) || exit.Code != 1 {
			t.Errorf("a failure of the command: got %v", err)
		}
	})
	t.Run("a user who is not in sudoers", func(t *testing.T) {
		mustHint(t, dial(t, to).Run(limited(t), id("sshd"), host.Stdio{}), fault.Auth, "sudoers")
	})
}

func TestPoolDialsManyHostsThroughOneSSHD(t *testing.T) {
	t.Parallel()
	// sshd counts a login for a moment longer than we do.
	s := remotetest.StartSSHD(t, remotetest.SSHDConfig{Lines: []string{"MaxStartups 20:100:20"}})
	var targets []remote.Target
	names := make([]string, 60)
	for i := range names {
		to := realTarget(s)
		to.Name = strings.Repeat("h", i+1)
		names[i] = to.Name
		targets = append(targets, to)
	}
	pool := remote.NewPool(targets)
	errs := make(chan error, len(names))
	for _, name := range names {
		go func() {
			_, err := pool.Dial(limited(t), name)
			errs <- err
		}()
	}
	for range names {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
}
