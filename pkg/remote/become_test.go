package remote_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// faultOf is the error that a user would read.
func faultOf(t *testing.T, err error, class fault.Class) *fault.Error {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != class || f.Host != "pg1" {
		t.Fatalf("got %v", err)
	}
	return f
}

func mustHint(t *testing.T, err error, class fault.Class, words ...string) {
	t.Helper()
	f := faultOf(t, err, class)
	for _, w := range words {
		if !strings.Contains(f.Error()+"\n"+f.Hint, w) {
			t.Errorf("no %q in %q, hint %q", w, f.Error(), f.Hint)
		}
	}
}

func passwordIs(s string, asked *int) func(context.Context) (secret.Value, error) {
	return func(context.Context) (secret.Value, error) {
		*asked++
		return secret.New(s), nil
	}
}

func whoCmd() host.Cmd {
	// The last of stderr looks like the beginning of a prompt.
	return host.Cmd{Argv: []string{"sh", "-c", `echo "$SUDO_TO"; cat; printf 'the end: PW-' >&2`}, As: "postgres"}
}

func TestCommandRunsAsAnotherUserThroughSudo(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{Env: remotetest.Sudo(t, "nopasswd"), Noise: "welcome\nto pg1, "})
	c := dial(t, target(s))
	for _, leash := range []bool{false, true} {
		cmd := whoCmd()
		cmd.Leash = leash
		var out bytes.Buffer
		if err := c.Run(limited(t), cmd, host.Stdio{In: strings.NewReader("in"), Out: &out}); err != nil || out.String() != "postgres\nin" {
			t.Errorf("leash %v: got %q, %v", leash, &out, err)
		}
	}
	out, err := host.Output(limited(t), c, host.Cmd{Argv: []string{"sh", "-c", `echo "[$SUDO_TO]"`}, As: c.User()})
	if err != nil || string(out) != "[]\n" {
		t.Errorf("login user: got %q, %v", out, err)
	}
	var exit *host.ExitError
	if err := c.Run(limited(t), host.Cmd{Argv: []string{"false"}, As: "postgres"}, host.Stdio{}); !errors.As(err, &exit) || exit.Code != 1 {
		t.Errorf("a failure of the command: got %v", err)
	}
	file := filepath.Join(t.TempDir(), "f")
	remotetest.WriteFile(t, file, []byte("x"))
	if f, err := c.Files("postgres").Read(limited(t), file); err != nil || string(f.Data) != "x" {
		t.Errorf("files: got %+v, %v", f, err)
	}
}

func TestSudoPasswordIsSentOnlyAtItsPrompt(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{Env: remotetest.Sudo(t, "password"), Noise: "welcome\n"})
	asked := 0
	to := target(s)
	to.BecomePassword = passwordIs("secret", &asked)
	c := dial(t, to)
	for _, leash := range []bool{false, true} {
		cmd := whoCmd()
		cmd.Leash = leash
		var out, errOut bytes.Buffer
		in := strings.Repeat("secret\n", 20000)
		if err := c.Run(limited(t), cmd, host.Stdio{In: strings.NewReader(in), Out: &out, Err: &errOut}); err != nil {
			t.Fatal(err)
		}
		if out.String() != "postgres\n"+in {
			t.Errorf("leash %v: got %d bytes", leash, out.Len())
		}
		if !strings.HasSuffix(errOut.String(), "the end: PW-") || strings.Contains(errOut.String(), "PW-pgrepctl") {
			t.Errorf("stderr is not the command's: %q", &errOut)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	if _, err := c.Files("postgres").Read(limited(t), "/etc/hostname"); err != nil {
		t.Errorf("files: %v", err)
	}
}

func TestSudoPasswordIsNotAskedForWithoutNeed(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{Env: remotetest.Sudo(t, "nopasswd")})
	asked := 0
	to := target(s)
	to.BecomePassword = passwordIs("secret", &asked)
	var out bytes.Buffer
	if err := dial(t, to).Run(limited(t), whoCmd(), host.Stdio{In: strings.NewReader("in"), Out: &out}); err != nil || out.String() != "postgres\nin" || asked != 0 {
		t.Errorf("got %q, %v, asked %d times", &out, err, asked)
	}
}

func TestWrongSudoPasswordIsAnAuthFault(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{Env: remotetest.Sudo(t, "password")})
	asked := 0
	to := target(s)
	to.BecomePassword = passwordIs("guess-canary", &asked)
	err := dial(t, to).Run(limited(t), whoCmd(), host.Stdio{})
	mustHint(t, err, fault.Auth, "password", "become_password")
	if asked != 1 || strings.Contains(err.Error(), "canary") {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestRefusedSudoNamesTheSudoersLine(t *testing.T) {
	t.Parallel()
	for policy, words := range map[string][]string{
		"refused":  {"not allowed", "tester ALL=(postgres) NOPASSWD: ALL"},
		"tty":      {"tty", "Defaults:tester !requiretty"},
		"password": {"password is required", "NOPASSWD", "become_password"},
	} {
		s := remotetest.Start(t, remotetest.Config{Env: remotetest.Sudo(t, policy)})
		c := dial(t, target(s))
		mustHint(t, c.Run(limited(t), whoCmd(), host.Stdio{}), fault.Auth, words...)
		_, err := c.Files("postgres").Read(limited(t), "/etc/hostname")
		mustHint(t, err, fault.Auth, words...)
		_, err = c.SQL(limited(t), host.Database{As: "postgres", SocketDir: "/nowhere", Port: 1})
		mustHint(t, err, fault.Auth, words...)
	}
}

func TestMissingSudoIsExplained(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{Env: []string{"PATH=" + t.TempDir()}})
	mustHint(t, dial(t, target(s)).Run(limited(t), whoCmd(), host.Stdio{}), fault.Auth, "install sudo")
}

func TestBecomeNoneRefusesAnotherUser(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	to.Become = remote.BecomeNone
	c := dial(t, to)
	mustHint(t, c.Run(limited(t), whoCmd(), host.Stdio{}), fault.Auth, "become is none", "sudo")
	if err := c.Run(limited(t), host.Cmd{Argv: []string{"true"}, As: "tester"}, host.Stdio{}); err != nil {
		t.Errorf("the login user: %v", err)
	}
}
