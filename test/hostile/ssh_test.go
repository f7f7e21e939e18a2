package hostile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// secureShell: what a real sshd, its login shell, sudo, the leash and
// sftp-server make of words, input and paths.
func secureShell(t *testing.T, l *ledger) {
	h := dial(t, remotetest.StartSSHD(t, remotetest.SSHDConfig{}))
	for _, c := range []struct {
		name string
		test func(*testing.T, *ledger, host.Host, canary)
	}{{"argv", words}, {"stdin", input}, {"paths", paths}, {"links", links}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, l, h, newCanary(t))
		})
	}
}

func dial(t testing.TB, s *remotetest.SSHD) *remote.Conn {
	t.Helper()
	h, err := remote.Dial(t.Context(), remote.Target{
		Name: "pg1", Address: s.Address, Port: s.Port, User: s.User, IdentityFiles: []string{s.Key.File},
		KnownHosts: []string{s.KnownHosts}, ConfigFile: "none", AgentSocket: "none",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// words: the arguments of a command, as the login user, through sudo and under
// the leash.
func words(t *testing.T, l *ledger, h host.Host, c canary) {
	s := l.sink("ssh: argv")
	for first, batch := range batches(generate(*seed, *size, c.shell, everything), 200, 16<<10) {
		kept := slices.DeleteFunc(slices.Clone(batch), func(x string) bool { return hasNUL(x) != "" })
		for _, x := range batch {
			if hasNUL(x) == "" {
				continue
			}
			err := h.Run(t.Context(), host.Cmd{Argv: []string{"printf", "%s", x}}, host.Stdio{})
			if err == nil {
				t.Errorf("a NUL was sent: %q", x)
			}
			s.refused(t, x, hasNUL(x), err)
		}
		cmd := host.Cmd{Argv: append([]string{"printf", `%s\0`}, kept...)}
		cmd.As = []string{"", "postgres"}[first/7%2]
		cmd.Leash = first%3 == 0
		b, err := host.Output(t.Context(), h, cmd)
		if err != nil {
			t.Error(err)
		}
		got := split(string(b))
		for i, x := range kept {
			s.came(t, x, at(got, i))
		}
	}
	s.executed = c.executed(t)
}

// input goes through untouched, whatever it is.
func input(t *testing.T, l *ledger, h host.Host, c canary) {
	s := l.sink("ssh: stdin")
	for first, batch := range batches(generate(*seed, *size, c.shell, everything), 1000, 1<<20) {
		var in, got bytes.Buffer
		for _, x := range batch {
			fmt.Fprintf(&in, "%d:%s", len(x), x)
		}
		want := in.String()
		cmd := host.Cmd{Argv: []string{"cat"}, As: []string{"", "postgres"}[first/1000%2], Leash: first/1000%3 == 0}
		if err := h.Run(t.Context(), cmd, host.Stdio{In: strings.NewReader(want), Out: &got}); err != nil {
			t.Error(err)
		}
		for _, x := range batch {
			frame := fmt.Sprintf("%d:%s", len(x), x)
			came := string(got.Next(len(frame)))
			if came == frame {
				came = x
			}
			s.came(t, x, came)
		}
	}
	s.executed = c.executed(t)
}

// paths: files of hostile names are written and read through sftp-server, and
// looked at without it.
func paths(t *testing.T, l *ledger, h host.Host, c canary) {
	s := l.sink("sftp: path of a file")
	files := h.Files("")
	for _, batch := range batches(generate(*seed, *size, c.shell, within), 500, 1<<20) {
		dir := memory(t)
		want := map[string]string{}
		for i, x := range batch {
			name := dir + "/" + x
			if hasNUL(x) == "" && (os.MkdirAll(name[:strings.LastIndexByte(name, '/')], 0o755) != nil || taken(name)) {
				// A file of another string is where this one has a directory.
				name = fmt.Sprintf("%s/%d/%s", dir, i, x)
				if err := os.MkdirAll(name[:strings.LastIndexByte(name, '/')], 0o755); err != nil {
					t.Fatal(err)
				}
			}
			data := fmt.Sprintf("string %d", i)
			err := files.Write(t.Context(), host.File{Path: name, Data: []byte(data), Mode: 0o600, UID: -1, GID: -1}, nil)
			if err != nil {
				s.refused(t, x, noFile(x), err)
				continue
			}
			want[filepath.Clean(name)] = data
			s.came(t, x, found(t, files, x, name, data))
		}
		compareTree(t, s, dir, want)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	s.executed += c.executed(t)
}

func taken(name string) bool {
	_, err := os.Lstat(strings.TrimRight(name, "/"))
	return err == nil
}

// found is x, if what was written is there and read back.
func found(t testing.TB, files host.Files, x, name, data string) string {
	t.Helper()
	disk, err := os.ReadFile(name)
	if err != nil || string(disk) != data {
		return fmt.Sprintf("%q, %v\x00", disk, err)
	}
	f, err := files.Read(t.Context(), name)
	if err != nil || string(f.Data) != data {
		return fmt.Sprintf("%q, %v\x00", f.Data, err)
	}
	return x
}

// links may point to anything, which need not exist.
func links(t *testing.T, l *ledger, h host.Host, c canary) {
	s := l.sink("sftp: target of a link")
	files, dir := h.Files(""), memory(t)
	want := map[string]string{}
	for i, x := range generate(*seed, *size, c.shell, everything) {
		name := fmt.Sprintf("%s/%d", dir, i)
		if err := files.Symlink(t.Context(), x, name); err != nil {
			s.refused(t, x, noTarget(x), err)
			continue
		}
		want[name] = "-> " + x
		got, err := files.ReadLink(t.Context(), name)
		if err != nil {
			got = err.Error() + "\x00"
		}
		s.came(t, x, got)
	}
	compareTree(t, s, dir, want)
	s.executed += c.executed(t)
}

// compareTree looks for files that nobody asked for, under whatever name.
func compareTree(t testing.TB, s *tally, dir string, want map[string]string) {
	t.Helper()
	for name, data := range tree(t, dir) {
		if want[name] != data {
			t.Errorf("%s: %q is there and holds %q, want %q", s.sink, name, data, want[name])
			s.executed++
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s: %q is missing", s.sink, name)
	}
}

// tree is every file and link below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if e.Type()&os.ModeSymlink != 0 {
			to, err := os.Readlink(name)
			all[name] = "-> " + to
			return err
		}
		b, err := os.ReadFile(name)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// memory is a directory on a memory file system, if there is one: each write is
// fsynced twice.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "hostile")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func noFile(s string) string {
	last := s[strings.LastIndexByte(s, '/')+1:]
	switch {
	case hasNUL(s) != "":
		return "NUL"
	case last == "" || last == "." || last == "..":
		return "a directory"
	case len(last) > 200: // the temporary file beside it has a longer name
		return "too long"
	}
	return ""
}

func noTarget(s string) string {
	if s == "" {
		return "empty"
	}
	return hasNUL(s)
}
