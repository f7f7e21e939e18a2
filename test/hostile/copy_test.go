package hostile

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	pg "github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// copies: data directories of hostile names are copied as the product copies
// one. The source's name goes through rsync's own quoting, a line of
// authorized_keys, sshd, the login shell, sudo and rsync; the target's through
// the tool's SSH session; and patterns of what the server keeps to itself
// through rsync's protocol. A path has many of the strings as its parts.
func copies(t *testing.T, l *ledger) {
	for part := range copiers {
		t.Run(fmt.Sprintf("part %d", part+1), func(t *testing.T) {
			t.Parallel()
			copyPart(t, l, part)
		})
	}
}

// copiers is how many copy side by side, where -parallel allows it: a copy mostly waits.
const copiers = 8

// copyPart takes every eighth string.
func copyPart(t *testing.T, l *ledger, part int) {
	home := memory(t)
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	keys := home + "/.ssh/authorized_keys"
	d := remotetest.StartSSHD(t, remotetest.SSHDConfig{Lines: []string{
		// Beside the file that has the key of the test.
		"AuthorizedKeysCommand /bin/cat " + keys, "AuthorizedKeysCommandUser root",
	}})
	h := dial(t, d)
	c := newCanary(t)
	sources, targets, excludes := l.sink("rsync: source path, by authorized_keys"), l.sink("rsync: target path"), l.sink("rsync: exclude, in a copy (sample)")
	excludes.sample = true

	s := &scene{Host: h, env: env{h, new([]effect.Held)}, home: home, port: d.Port}
	// Each that is refused costs a call of rsync.
	from := s.sources(t, sources, every(copiers, part, generate(*seed, *size, c.words, rarely(10, within, noSource))))
	into := s.targets(t, targets, every(copiers, part, generate(*seed+1, *size, c.words, within)))
	short := func(x string) bool { return within(x) && len(x) < 300 } // it is put below a long path
	own := patterns(t, excludes, every(copiers, part, generate(*seed+2, *size/20, c.words, short)))
	for len(from)+len(into) > 0 {
		dir := memory(t)
		var parts [3][]string
		s.source, parts[0], from = nest(dir+"/from", from)
		s.target, parts[1], into = nest(dir+"/into", into)
		parts[2], own = own[:min(3, len(own))], own[min(3, len(own)):]
		want := s.fill(t, parts[2])
		got, err := s.copy(t)
		if err != nil {
			t.Errorf("%v; source %q, target %q", err, s.source, s.target)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("copied %q to %q:\n%s", s.source, s.target, diff)
		}
		for i, sink := range []*tally{sources, targets, excludes} {
			for range parts[i] {
				sink.given++
				if cmp.Equal(want, got) {
					sink.trips++
				}
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(keys); err == nil {
		t.Errorf("left in authorized_keys: %q", b)
	}
	n := c.executed(t)
	sources.executed, targets.executed, excludes.executed = n, n, n
}

func every(n, from int, all []string) []string {
	var some []string
	for i := from; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some
}

// words are shell's payloads that a path may hold.
func (c canary) words(i int) []string {
	var all []string
	for _, x := range c.shell(i) {
		if !strings.ContainsAny(x, "\n") {
			all = append(all, x)
		}
	}
	return append(all, `",command="`+c.touch(i)+`",x="`, `\",command=\"`+c.touch(i), `" `+c.touch(i), "host:"+c.touch(i), "- "+c.touch(i), " --rsh="+c.touch(i), " -e"+c.touch(i))
}

// sources drops, and counts, what the steps refuse as the path of a source.
func (s *scene) sources(t testing.TB, sink *tally, all []string) []string {
	t.Helper()
	alone := scene{Host: local{}, home: s.home, target: "/nonexistent"}
	return keep(t, sink, all, noSource, func(x string) error {
		alone.source = "/nonexistent/" + x
		in, err := alone.in()
		if err != nil {
			return err
		}
		_, err = alone.authorized(t.Context(), in)
		return err
	})
}

// targets does the same for those of a target.
func (s *scene) targets(t testing.TB, sink *tally, all []string) []string {
	t.Helper()
	alone := scene{Host: local{}, source: "/nonexistent"}
	return keep(t, sink, all, hasNUL, func(x string) error {
		alone.target = "/nonexistent/" + x
		in, err := alone.in()
		if err != nil {
			return err
		}
		c, err := alone.rsync(t.Context(), in)
		if err == nil {
			_, err = c.Do(t.Context(), s.env)
		}
		return err
	})
}

func patterns(t testing.TB, sink *tally, all []string) []string {
	t.Helper()
	return keep(t, sink, all, noPattern, func(x string) error {
		_, _, err := pg.ExcludePath("/nonexistent", "own/"+x, "")
		return err
	})
}

// keep drops what has a reason to be refused, and sees that it is.
func keep(t testing.TB, sink *tally, all []string, reason func(string) string, try func(string) error) []string {
	t.Helper()
	var kept []string
	for _, x := range all {
		if reason(x) == "" {
			kept = append(kept, x)
			continue
		}
		err := try(x)
		if err == nil {
			t.Errorf("%s: %q was let through", sink.sink, x)
		}
		sink.refused(t, x, reason(x), err)
	}
	return kept
}

// nest makes a path of as many strings as fit.
func nest(dir string, all []string) (path string, parts, rest []string) {
	path = dir
	for len(all) > 0 && len(path)+len(all[0]) < 3400 {
		path += "/" + all[0]
		parts, all = append(parts, all[0]), all[1:]
	}
	return path, parts, all
}

// fill makes both directories, and says what must arrive. Files that the
// source's server keeps to itself must not; each has a namesake elsewhere.
func (s *scene) fill(t testing.TB, own []string) map[string]string {
	t.Helper()
	for _, dir := range []string{s.source, s.target} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"PG_VERSION": "15\n", "base/1/1259": "rows"}
	s.settings = pg.Settings{}
	for i, x := range own {
		x = fmt.Sprintf("own%d/%s", i, x)
		setting := []string{"log_directory", "external_pid_file", "stats_temp_directory"}[i]
		s.settings[setting] = pg.Setting{Name: setting, Value: x}
		put(t, s.source, x, "of the source alone")
		want[filepath.Clean("kept/"+x)] = "another"
	}
	for name, data := range want {
		put(t, s.source, name, data)
	}
	u, err := user.Lookup(osUser)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	if err := os.Chown(s.target, uid, -1); err != nil {
		t.Fatal(err)
	}
	return want
}

func put(t testing.TB, dir, name, data string) {
	t.Helper()
	path := dir + "/" + filepath.Clean(name)
	if err := os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
}

// copy does what the steps planned, and takes it back.
func (s *scene) copy(t testing.TB) (map[string]string, error) {
	t.Helper()
	in, err := s.in()
	if err != nil {
		return nil, err
	}
	key, err := s.authorized(t.Context(), in)
	if err != nil {
		return nil, err
	}
	rsync, err := s.rsync(t.Context(), in)
	if err != nil {
		return nil, err
	}
	undo, err := s.do(t.Context(), key)
	defer func() {
		s.letGo(t)
		s.must(t, undo)
	}()
	if err != nil {
		return nil, err
	}
	if _, err := rsync.Do(t.Context(), s.env); err != nil {
		return nil, fmt.Errorf("%w: %s", err, host.StderrOf(err))
	}
	got := map[string]string{}
	for name, data := range tree(t, s.target) {
		rel, err := filepath.Rel(s.target, name)
		if err != nil {
			return nil, err
		}
		got[rel] = data
	}
	s.must(t, []effect.Effect{&effect.EmptyDirectory{Host: "pg2", As: osUser, Path: s.target}})
	if left := tree(t, s.target); len(left) > 0 {
		return nil, fmt.Errorf("not emptied: %q", left)
	}
	return got, nil
}

// local is this machine without SSH, for what only asks rsync.
type local struct{ host.Host }

func (local) User() string    { return "root" }
func (local) HostKey() string { return "ssh-ed25519 AAAA" }

func (local) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	var stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio.In, stdio.Out, &stderr
	if stdio.Err != nil {
		cmd.Stderr = io.MultiWriter(&stderr, stdio.Err)
	}
	if err := cmd.Run(); err != nil {
		return &host.ExitError{Cmd: c, Code: cmd.ProcessState.ExitCode(), Stderr: stderr.String()}
	}
	return nil
}

// noSource: rsync leaves wildcards to the remote shell, and a line of
// authorized_keys has no line breaks.
func noSource(s string) string {
	switch {
	case strings.ContainsAny(s, "\x00\r\n"):
		return "NUL or line break"
	case strings.ContainsAny(s, "*?["), strings.Contains(s, `\]`):
		return "wildcard"
	}
	return ""
}

func noPattern(s string) string {
	if strings.ContainsAny(s, "\x00\r\n") {
		return "NUL or line break"
	}
	return ""
}
