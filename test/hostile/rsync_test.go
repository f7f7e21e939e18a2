package hostile

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	pg "github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// filters: many patterns in one call of rsync. What they leave out must be
// exactly the files that they are of, among others that a wildcard, a missing
// anchor or a lost backslash would take for them.
func filters(t *testing.T, l *ledger) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	s := l.sink("rsync: exclude")
	c := newCanary(t)
	flags := rsyncFlags(t)
	var later []string
	for _, batch := range batches(generate(*seed, *size, c.filterRules, within), 300, 200<<10) {
		later = s.leaveOut(t, flags, append(batch, later...))
	}
	for len(later) > 0 {
		later = s.leaveOut(t, flags, later)
	}
	s.executed = c.executed(t)
}

// filterRules are payloads of shells and of rsync's filter language.
func (c canary) filterRules(i int) []string {
	x := c.touch(i)
	return append(c.words(i), "- "+x, "+ *", "!", ": "+x, "merge "+x, ". "+x, "dir-merge,- "+x, "/**/"+x, "[a-z]"+x, "[!"+x+"]", `\*`+x, `\`+x, "*", "**", "***", "?", x+"/***", x+"/", "*/"+x,
		`[\]]`, `\\*`, "[[:alnum:]]", "{a,b}", "[", "]", `\[`, "a[b]c*?", "\n- /"+x)
}

// rsyncFlags are those of the product's copy, up to its transport.
func rsyncFlags(t testing.TB) []string {
	t.Helper()
	alone := scene{Host: local{}, source: "/nonexistent", target: "/nonexistent"}
	in, err := alone.in()
	if err != nil {
		t.Fatal(err)
	}
	c, err := alone.rsync(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return c.Argv[1:slices.Index(c.Argv, "-e")]
}

// leaveOut copies a directory without the files of these names, and returns
// those of the strings that had no place: one is a directory of another.
func (s *tally) leaveOut(t *testing.T, flags, batch []string) (later []string) {
	dir := memory(t)
	from, into := dir+"/from", dir+"/into"
	for _, d := range []string{from, into} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	argv := slices.Clone(flags)
	out := map[string]string{} // name to string
	for i, x := range batch {
		p := x
		if i%2 == 0 || path.IsAbs(x) {
			p = from + "/" + x
		}
		pattern, ok, err := pg.ExcludePath(from, p, "")
		if err != nil {
			s.refused(t, x, noPattern(x), err)
			continue
		}
		if !ok {
			t.Errorf("%q was taken for a path outside %s", p, from)
		}
		if !create(t, from, x, "own") {
			later = append(later, x)
			continue
		}
		out[path.Clean("/" + x)[1:]] = x
		argv = append(argv, "--exclude="+pattern.Pattern)
	}
	want := map[string]string{}
	for name := range out {
		for _, d := range decoys(name) {
			if !hidden(d, out) && create(t, from, d, "decoy") {
				want[into+"/"+d] = "decoy"
			}
		}
	}
	if b, err := exec.Command("rsync", append(argv, from+"/", into+"/")...).CombinedOutput(); err != nil {
		t.Errorf("rsync: %v: %s", err, b)
	}
	got := tree(t, into)
	for name, x := range out {
		came := x
		if _, ok := got[into+"/"+name]; ok {
			came = "a file that was copied\x00"
			delete(got, into+"/"+name)
		}
		s.came(t, x, came)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("others were left out, or came:\n%s", diff)
		s.trips = 0 // a pattern that leaves out too much proves nothing
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	return later
}

// create makes a file, unless something of that name, or a file of a
// directory's, is there.
func create(t testing.TB, dir, name, data string) bool {
	t.Helper()
	p := dir + path.Clean("/"+name)
	err := os.MkdirAll(path.Dir(p), 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			_, err = f.WriteString(data)
			err = errors.Join(err, f.Close())
		}
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// decoys are names that a pattern of name must not match.
func decoys(name string) []string {
	all := []string{"kept/" + name, name + "x"}
	for _, c := range []string{"**", "*", "?", `\`} {
		if strings.Contains(name, c) {
			all = append(all, strings.ReplaceAll(name, c, ""), strings.ReplaceAll(name, c, "y"), strings.ReplaceAll(name, c, `\`+c))
		}
	}
	// What a class would match.
	if open := strings.Index(name, "["); open >= 0 {
		if n := strings.Index(name[open+1:], "]"); n >= 0 {
			for _, by := range []string{"a", "]", "!"} {
				all = append(all, name[:open]+by+name[open+n+2:])
			}
		}
	}
	return slices.DeleteFunc(all, func(d string) bool { return d == name || d == "" || path.Clean("/"+d) != "/"+d })
}

// hidden: name, or a directory that it is in, is left out.
func hidden(name string, out map[string]string) bool {
	for ; name != "."; name = path.Dir(name) {
		if _, ok := out[name]; ok {
			return true
		}
	}
	return false
}
