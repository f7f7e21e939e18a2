package hostile

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// canary is a directory in which a file appears when a shell executes a string.
// Its name is short, for a name in PostgreSQL has at most 63 bytes.
type canary struct{ dir string }

func newCanary(t testing.TB) canary {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// Whoever executes it may be another user.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return canary{dir}
}

// touch is the shortest command that leaves a trace; the number names the
// string.
func (c canary) touch(i int) string { return ">" + filepath.Join(c.dir, strconv.Itoa(i)) }

// shell gives the ways into a POSIX shell: substitution, and the end of the
// word, of the quotes or of the line.
func (c canary) shell(i int) []string {
	x := c.touch(i)
	return []string{
		"$(" + x + ")", "`" + x + "`", ";" + x + ";", "\n" + x + "\n", "'" + x + "'", "';" + x + ";'", `";` + x + `;"`, "&&" + x, "|" + x, "||" + x, "&" + x + "&",
		`\';` + x + `;\'`, "${x:=$(" + x + ")}", "<(" + x + ")", `'"$(` + x + `)"'`, `"'$(` + x + `)'"`, "\\\n" + x, "{" + x + ";}", "! " + x, `'\'';` + x + `;'\''`,
	}
}

// executed is how many strings left a trace.
func (c canary) executed(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range names {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			t.Errorf("string %s was executed", e.Name())
			n++
		}
	}
	return n
}

// within keeps what stays below a directory, for those strings that are written
// to as paths; no component may be longer than file systems have them.
func within(s string) bool {
	depth := 0
	for _, c := range strings.Split(s, "/") {
		switch {
		case len(c) > 255:
			return false
		case c == "..":
			depth--
		case c != "" && c != ".":
			depth++
		}
		if depth < 0 {
			return false
		}
	}
	return depth > 0
}
