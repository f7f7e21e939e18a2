package shell

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func shells() []string {
	var found []string
	for _, name := range []string{"dash", "bash", "ksh", "mksh", "zsh", "busybox"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	return append(found, "/bin/sh")
}

func evaluate(t *testing.T, shell, script string) string {
	t.Helper()
	args := []string{"-c", script}
	if strings.HasSuffix(shell, "busybox") {
		args = append([]string{"sh"}, args...)
	}
	out, err := exec.Command(shell, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", shell, err)
	}
	return string(out)
}

func word(s string) string {
	q, err := Quote(s)
	if err != nil {
		panic(err)
	}
	return q
}

func FuzzQuoteRoundTripsThroughShells(f *testing.F) {
	for _, s := range []string{"", "a", "'", `\`, `\'`, `\\`, "!", "$(id)", "a\nb", "\n", "-n", "ä\xff", `'\''`, "\"`", "%d"} {
		f.Add(s)
	}
	found := shells()
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			if _, err := Quote("sh", s); !errors.Is(err, ErrNUL) {
				t.Error("NUL was let through")
			}
			return
		}
		for _, shell := range found {
			for name, q := range map[string]func(string) string{"Quote": word, "Login": Login} {
				if got := evaluate(t, shell, "printf %s "+q(s)); got != s {
					t.Errorf("%s: %s: %q became %q", shell, name, s, got)
				}
			}
			// As it is sent: a script in a word of a script.
			if got := evaluate(t, shell, "exec /bin/sh -c "+Login("printf '%s' "+word(s))); got != s {
				t.Errorf("%s: nested: %q became %q", shell, s, got)
			}
		}
	})
}

func TestLoginQuoteKeepsWhatFishAndCshReadOutsideQuotes(t *testing.T) {
	t.Parallel()
	if got, want := Login(`a'b\c!`), `'a'\''b'\\'c'\!''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
