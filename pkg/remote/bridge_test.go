package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// only makes a PATH with one program, found by the lookup of this machine.
func only(t *testing.T, name string, lookup ...string) []string {
	t.Helper()
	out, err := exec.Command(lookup[0], lookup[1:]...).Output()
	if err != nil {
		t.Fatalf("find %s: %v (.ci/run installs it)", name, err)
	}
	dir := t.TempDir()
	if err := os.Symlink(strings.TrimSpace(string(out)), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return []string{"PATH=" + dir}
}

// without adds a perl that finds no module.
func without(t *testing.T, env []string) []string {
	t.Helper()
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/sh
code=$2
shift 3
exec ` + perl + ` -e 'BEGIN { @INC = () } my $code = shift; eval $code; print "perl ran: $@\n"' -- "$code" "$@"
`
	if err := os.WriteFile(filepath.Join(strings.TrimPrefix(env[0], "PATH="), "perl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return env
}

// broken adds a perl that cannot run, and ends as the dynamic loader does without a library.
func broken(t *testing.T, env []string) []string {
	t.Helper()
	script := "#!/bin/sh\necho 'perl: cannot open shared object file' >&2\nexit 127\n"
	if err := os.WriteFile(filepath.Join(strings.TrimPrefix(env[0], "PATH="), "perl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return env
}

// listen serves a unix socket whose connections are handled by serve.
func listen(t *testing.T, serve func(*net.UnixConn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return path
}

func TestBridgeByEachInterpreter(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"perl":                             only(t, "perl", "/bin/sh", "-c", "command -v perl"),
		"python3":                          only(t, "python3", "python3", "-c", "import sys; print(sys.executable)"),
		"python3, for perl cannot run":     broken(t, only(t, "python3", "python3", "-c", "import sys; print(sys.executable)")),
		"python3, for perl has no modules": without(t, only(t, "python3", "python3", "-c", "import sys; print(sys.executable)")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := remotetest.Start(t, remotetest.Config{Env: env, Noise: "welcome\n"})
			c := dial(t, target(s))
			t.Run("bytes pass both ways at once", func(t *testing.T) { bridgeEchoes(t, c) })
			t.Run("deadlines work", func(t *testing.T) { bridgeHasDeadlines(t, c) })
			t.Run("the last bytes of the server arrive", func(t *testing.T) { bridgeEnds(t, c) })
			t.Run("closing ends the server's connection", func(t *testing.T) { bridgeCloses(t, c) })
			t.Run("nobody there is ErrNoServer", func(t *testing.T) { bridgeFinds(t, c) })
			t.Run("each question has a connection of its own", func(t *testing.T) { socketIsAsked(t, c) })
			t.Run("a socket that does not answer holds up nobody for longer than its context", func(t *testing.T) { socketIsMute(t, c) })
		})
	}
}

func bridgeEchoes(t *testing.T, c *remote.Conn) {
	path := listen(t, func(conn *net.UnixConn) { _, _ = io.Copy(conn, conn) })
	conn, err := c.DialSocket(limited(t), "", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := conn.RemoteAddr(); got.Network() != "unix" || got.String() != path {
		t.Errorf("remote address %v", got)
	}
	want := bytes.Repeat([]byte("0123456789\x00\n\xff"), 300000)
	go func() { _, _ = conn.Write(want) }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %v", err)
	}
}

func bridgeHasDeadlines(t *testing.T, c *remote.Conn) {
	path := listen(t, func(conn *net.UnixConn) { _, _ = io.Copy(io.Discard, conn) })
	conn, err := c.DialSocket(limited(t), "", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func bridgeEnds(t *testing.T, c *remote.Conn) {
	want := bytes.Repeat([]byte("goodbye\n"), 100000)
	path := listen(t, func(conn *net.UnixConn) { _, _ = conn.Write(want) })
	conn, err := c.DialSocket(limited(t), "", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func bridgeCloses(t *testing.T, c *remote.Conn) {
	ended := make(chan []byte, 1)
	path := listen(t, func(conn *net.UnixConn) {
		got, _ := io.ReadAll(conn)
		ended <- got
	})
	conn, err := c.DialSocket(limited(t), "", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "last words"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-ended:
		if string(got) != "last words" {
			t.Errorf("got %q", got)
		}
	case <-time.After(30 * time.Second):
		t.Error("the server still waits")
	}
}

func bridgeFinds(t *testing.T, c *remote.Conn) {
	dir := t.TempDir()
	if _, err := c.DialSocket(limited(t), "", filepath.Join(dir, "none")); !errors.Is(err, host.ErrNoServer) {
		t.Errorf("missing: got %v", err)
	}
	sock, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(sock) }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: sock + "/s", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := c.DialSocket(limited(t), "", sock+"/s"); !errors.Is(err, host.ErrNoServer) {
		t.Errorf("deserted: got %v", err)
	}
}

// socketIsAsked: what listens is replaced between two questions, and the same process
// on the host asks both.
func socketIsAsked(t *testing.T, c *remote.Conn) {
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "s")
	if _, err := c.AskSocket(limited(t), "", path, "nobody"); !errors.Is(err, host.ErrNoServer) {
		t.Errorf("nobody there: %v", err)
	}
	filler := strings.Repeat("no line break ", 20000)
	for _, who := range []string{"first", "second"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				line, _ := bufio.NewReader(conn).ReadString('\n')
				_, _ = io.WriteString(conn, who+" "+line+filler)
				_ = conn.Close()
			}
		}()
		for _, q := range []string{"how are you; and you", "x"} {
			if got, err := c.AskSocket(limited(t), "", path, q); err != nil || got != who+" "+q+"\n"+filler {
				t.Errorf("got %.60q, %v", got, err)
			}
		}
		_ = l.Close()
	}
	if _, err := c.AskSocket(limited(t), "", path, "two\nlines"); err == nil {
		t.Error("two lines are one question")
	}
}

func socketIsMute(t *testing.T, c *remote.Conn) {
	path := listen(t, func(conn *net.UnixConn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got, err := c.AskSocket(ctx, "", path, "hello"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %q, %v", got, err)
	}
}
