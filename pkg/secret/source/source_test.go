package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

const password = "hunter2 'quoted' ü"

func env(vars map[string]string) Resolver {
	return Resolver{LookupEnv: func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}}
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func command(argv ...string) inventory.SecretRef { return inventory.SecretRef{Command: argv} }

func TestSecretsComeWithoutTheirLineEnd(t *testing.T) {
	t.Parallel()
	r := env(map[string]string{"PW": password, "LINE": password + "\n"})
	home := write(t, password+"\n", 0o600)
	r.Home = filepath.Dir(home)
	for name, ref := range map[string]inventory.SecretRef{
		"variable":              {Env: "PW"},
		"variable with newline": {Env: "LINE"},
		"file":                  {File: write(t, password+"\n", 0o600)},
		"file without newline":  {File: write(t, password, 0o600)},
		"file with CRLF":        {File: write(t, password+"\r\n", 0o600)},
		"file read-only":        {File: write(t, password+"\n", 0o400)},
		"file in home":          {File: "~/" + filepath.Base(home)},
		"command":               command("printf", `%s\n`, password),
		"command by path":       command("/bin/echo", password),
	} {
		got, err := r.Resolve(t.Context(), ref)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got.Reveal() != password {
			t.Errorf("%s: got %q", name, got.Reveal())
		}
	}
}

func TestSpacesBelongToTheSecret(t *testing.T) {
	t.Parallel()
	got, err := Resolver{}.Resolve(t.Context(), inventory.SecretRef{File: write(t, " a b \t\n", 0o600)})
	if err != nil || got.Reveal() != " a b \t" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

func TestNoReferenceIsNoSecret(t *testing.T) {
	t.Parallel()
	got, err := Resolver{}.Resolve(t.Context(), inventory.SecretRef{})
	if err != nil || !got.IsZero() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestErrorsNameTheReferenceAndNotTheSecret(t *testing.T) {
	t.Parallel()
	r := env(map[string]string{"EMPTY": "", "LINES": password + "\n" + password, "NUL": password + "\x00"})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	wide, group := write(t, password, 0o644), write(t, password, 0o640)
	for _, tc := range []struct {
		ref        inventory.SecretRef
		want, hint string
	}{
		{inventory.SecretRef{Env: "MISSING"}, "environment variable MISSING: variable is not set", "export MISSING"},
		{inventory.SecretRef{Env: "EMPTY"}, "environment variable EMPTY: is empty", ""},
		{inventory.SecretRef{Env: "LINES"}, "more than one line", ""},
		{inventory.SecretRef{Env: "NUL"}, "NUL", ""},
		{inventory.SecretRef{File: wide}, "mode 0644 is wider than 0600", "chmod 0600 " + wide},
		{inventory.SecretRef{File: group}, "mode 0640 is wider than 0600", "chmod 0600 " + group},
		{inventory.SecretRef{File: write(t, password, 0o700)}, "mode 0700 is wider", "chmod"},
		{inventory.SecretRef{File: write(t, "\n", 0o600)}, "is empty", ""},
		{inventory.SecretRef{File: write(t, password+"\n\n", 0o600)}, "more than one line", ""},
		{inventory.SecretRef{File: write(t, strings.Repeat("x", maxSecret+1), 0o600)}, "longer than 64 KiB", ""},
		{inventory.SecretRef{File: t.TempDir()}, "not a regular file", ""},
		{inventory.SecretRef{File: fifo}, "not a regular file", ""},
		{inventory.SecretRef{File: "/nonexistent/pw"}, "file /nonexistent/pw: no such file or directory", ""},
		{inventory.SecretRef{File: "~/pw"}, "home directory is not known", ""},
		{command("false"), "command false: exit status 1", "by hand"},
		{command("sh", "-c", "echo '"+password+"' >&2; exit 3"), "command sh: exit status 3", "by hand"},
		{command("true"), "is empty", ""},
		{command("nonexistent-program", password), "command nonexistent-program", "by hand"},
		{command("head", "-c", "100000", "/dev/zero"), "longer than 64 KiB", ""},
	} {
		tc.ref.Pos = inventory.Pos{File: "i.yaml", Line: 4, Col: 13}
		got, err := r.Resolve(t.Context(), tc.ref)
		if err == nil {
			t.Errorf("%v: accepted %q", tc.ref, got.Reveal())
			continue
		}
		var e *fault.Error
		if !errors.As(err, &e) || e.Class != fault.Auth {
			t.Errorf("%v: %#v", tc.ref, err)
			continue
		}
		text := strings.ReplaceAll(err.Error(), "i.yaml:4:13: ", "")
		if !strings.Contains(text, tc.want) || !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%v: %q (%s), want %q (%s)", tc.ref, err, e.Hint, tc.want, tc.hint)
		}
		if !strings.Contains(err.Error(), "i.yaml:4:13") {
			t.Errorf("%v: no place in %q", tc.ref, err)
		}
		for _, s := range []string{err.Error(), e.Hint, fmt.Sprintf("%#v", got)} {
			if strings.Contains(s, "hunter2") {
				t.Errorf("%v: the secret is in %q", tc.ref, s)
			}
		}
	}
}

func TestCommandGetsAnEmptyInput(t *testing.T) {
	t.Parallel()
	got, err := Resolver{}.Resolve(t.Context(), command("sh", "-c", `read x; echo "got<$x>"`))
	if err != nil || got.Reveal() != "got<>" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

func TestCommandIsNoShellString(t *testing.T) {
	t.Parallel()
	got, err := Resolver{}.Resolve(t.Context(), command("echo", "$HOME; exit 1", "`id`"))
	if err != nil || got.Reveal() != "$HOME; exit 1 `id`" {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

func TestCommandSpeaksToTheUserOnStderr(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	r := Resolver{Stderr: &said}
	if _, err := r.Resolve(t.Context(), command("sh", "-c", "echo touch your key >&2; echo x")); err != nil {
		t.Fatal(err)
	}
	if said.String() != "touch your key\n" {
		t.Errorf("stderr %q", said.String())
	}
}

func TestCommandEndsWithTheContext(t *testing.T) {
	t.Parallel()
	// The command says that it runs; only then is it interrupted.
	started := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	r := Resolver{Stderr: signalling{started}}
	_, err := r.Resolve(ctx, command("sh", "-c", "echo runs >&2; exec sleep 60"))
	if !errors.Is(err, context.Canceled) || fault.ClassOf(err) != fault.Interrupted {
		t.Errorf("got %v, class %d", err, fault.ClassOf(err))
	}
}

func TestCommandThatTakesTooLongIsNoInterruption(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := Resolver{}.Resolve(ctx, command("sleep", "60"))
	if !errors.Is(err, context.DeadlineExceeded) || fault.ClassOf(err) != fault.Auth {
		t.Errorf("got %v, class %d", err, fault.ClassOf(err))
	}
}

// signalling closes its channel at the first write.
type signalling struct{ first chan struct{} }

func (s signalling) Write(p []byte) (int, error) {
	close(s.first)
	return len(p), nil
}
