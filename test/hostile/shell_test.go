package hostile

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// shells: a word is quoted for sh, and the whole line once more for whatever
// the login shell is, as every remote command is.
func shells(t *testing.T, l *ledger) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	c := newCanary(t)
	all := generate(*seed, *size, c.shell, everything)
	dir := t.TempDir()
	for _, argv := range [][]string{
		{"/bin/sh"}, {remotetest.Program(t, "dash", "/usr/bin/dash", "/bin/dash")}, {remotetest.Program(t, "bash", "/usr/bin/bash", "/bin/bash")},
		{remotetest.Program(t, "busybox", "/usr/bin/busybox", "/bin/busybox"), "sh"},
	} {
		s := l.sink("sh: " + strings.Join(append([]string{filepath.Base(argv[0])}, argv[1:]...), " "))
		for _, batch := range batches(all, 200, 16<<10) {
			batch = slices.DeleteFunc(slices.Clone(batch), func(x string) bool {
				_, err := shell.Quote(x)
				if err != nil {
					s.refused(t, x, hasNUL(x), err)
				}
				return err != nil
			})
			line, err := shell.Quote(batch...)
			if err != nil {
				t.Fatal(err)
			}
			script := `printf '%s\0' ` + line
			words := readWords(t, dir, append(argv, "-c", script))
			nested := readWords(t, dir, append(argv, "-c", "exec /bin/sh -c "+shell.Login(script)))
			for i, x := range batch {
				got := at(words, i)
				if got == x {
					got = at(nested, i)
				}
				s.came(t, x, got)
			}
		}
		s.executed = c.executed(t)
	}
}

// readWords runs a command that prints words, each with a NUL behind. What a
// redirection without a directory leaves is in dir.
func readWords(t testing.TB, dir string, argv []string) []string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", argv[0], err)
	}
	return split(string(b))
}

func split(s string) []string { return strings.Split(strings.TrimSuffix(s, "\x00"), "\x00") }

// at is the word of a number, or what no string can be.
func at(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return "nothing\x00"
}

func hasNUL(s string) string {
	if strings.Contains(s, "\x00") {
		return "NUL"
	}
	return ""
}
