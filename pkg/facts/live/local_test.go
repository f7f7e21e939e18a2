package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// local is this machine as a host.Host: real commands, files and sessions, no
// SSH. It counts what it is asked for.
type local struct {
	runs, sessions, queries, files atomic.Int64
}

func (l *local) Name() string    { return "local" }
func (l *local) HostKey() string { return "ssh-ed25519 AAAA" }
func (l *local) User() string    { return "login" }

func (l *local) Run(ctx context.Context, c host.Cmd, io host.Stdio) error {
	l.runs.Add(1)
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = "/"
	asUser(cmd, c.As)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.In, io.Out, &stderr
	err := cmd.Run()
	if io.Err != nil {
		_, _ = io.Err.Write(stderr.Bytes())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &host.ExitError{Host: l.Name(), Cmd: c, Code: exit.ExitCode(), Stderr: stderr.String()}
	}
	return err
}

// asUser needs root for any user but our own.
func asUser(cmd *exec.Cmd, name string) {
	u, err := user.Lookup(name)
	if err != nil || u.Uid == strconv.Itoa(os.Getuid()) {
		return
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + u.HomeDir, "LC_ALL=C"}
}

func (l *local) Files(string) host.Files { return localFiles{l: l} }

func (l *local) ReplicationLogin(context.Context, host.Login) (host.System, error) {
	return host.System{}, errors.New("not used here")
}

func (l *local) SQL(ctx context.Context, db host.Database) (host.SQL, error) {
	l.sessions.Add(1)
	cfg, err := pgx.ParseConfig("")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database = db.SocketDir, uint16(db.Port), db.User, db.Name
	cfg.TLSConfig, cfg.Fallbacks = nil, nil
	cfg.RuntimeParams["application_name"] = db.Application
	conn, err := pgx.ConnectConfig(ctx, cfg)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return nil, fmt.Errorf("%w: %w", host.ErrNoServer, err)
	}
	if err != nil {
		return nil, sqlError(err)
	}
	return &localSQL{l: l, conn: conn, lost: make(chan struct{})}, nil
}

type localSQL struct {
	l    *local
	conn *pgx.Conn
	lost chan struct{}
}

func sqlError(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return &host.SQLError{Code: pg.Code, Message: pg.Message, Detail: pg.Detail, Hint: pg.Hint}
	}
	return err
}

func (s *localSQL) check(err error) error {
	if err != nil && s.conn.IsClosed() && !host.Lost(s) {
		close(s.lost)
	}
	if err != nil {
		return sqlError(err)
	}
	return nil
}

func (s *localSQL) Exec(ctx context.Context, sql string) error {
	_, err := s.conn.PgConn().Exec(ctx, sql).ReadAll()
	return s.check(err)
}

func (s *localSQL) Query(ctx context.Context, dst any, sql string, args ...any) error {
	s.l.queries.Add(1)
	var out []byte
	err := s.conn.QueryRow(ctx, "select coalesce(json_agg(row_to_json(q)), '[]'::json)::text from ("+sql+") q", args...).Scan(&out)
	if err != nil {
		return s.check(err)
	}
	return json.Unmarshal(out, dst)
}

func (s *localSQL) Lost() <-chan struct{}           { return s.lost }
func (s *localSQL) Close(ctx context.Context) error { return s.conn.Close(ctx) }

// localFiles has the methods that a Gatherer needs.
type localFiles struct {
	host.Files
	l *local
}

func (f localFiles) Read(_ context.Context, path string) (host.File, error) {
	f.l.files.Add(1)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return host.File{Path: path}, nil
	}
	return host.File{Path: path, Exists: err == nil, Data: b}, err
}

func (f localFiles) ReadLink(_ context.Context, path string) (string, error) {
	return os.Readlink(path)
}

func (f localFiles) List(_ context.Context, dir string) ([]host.Entry, error) {
	f.l.files.Add(1)
	names, err := os.ReadDir(dir)
	var out []host.Entry
	for _, n := range names {
		out = append(out, host.Entry{Name: n.Name()})
	}
	return out, err
}

// server is a PostgreSQL of this machine in a directory of its own.
type server struct {
	t               *testing.T
	bin, data, sock string
	user, major     string
	port            int
}

// installed finds the newest PostgreSQL of this machine, or the one that
// PGREPCTL_TEST_BINDIR names.
func installed(t *testing.T) (bin, major string) {
	t.Helper()
	if bin := os.Getenv("PGREPCTL_TEST_BINDIR"); bin != "" {
		out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
		v, perr := postgres.ParseVersion(string(out))
		if err != nil || perr != nil {
			t.Fatal(errors.Join(err, perr))
		}
		return bin, v.Major()
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("no PostgreSQL server in /usr/lib/postgresql: these tests run one")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	last := found[len(found)-1]
	return filepath.Dir(last), filepath.Base(filepath.Dir(filepath.Dir(last)))
}

func version(initdb string) int {
	f, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(filepath.Dir(initdb))), 64)
	return int(f * 10)
}

// serverUser is who may run a server: never root.
func serverUser(t *testing.T) string {
	t.Helper()
	if os.Getuid() == 0 {
		return "postgres"
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// scratch is a short directory (a socket's path has 107 bytes at most) that the
// server's user owns.
func scratch(t *testing.T, owner string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	chown(t, dir, owner)
	return dir
}

func chown(t *testing.T, path, owner string) {
	t.Helper()
	u, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

func newServer(t *testing.T) *server {
	t.Helper()
	bin, major := installed(t)
	u := serverUser(t)
	dir := scratch(t, u)
	s := &server{t: t, bin: bin, major: major, user: u, data: filepath.Join(dir, "data"), sock: dir, port: freePort(t)}
	s.must("initdb", "-D", s.data, "-A", "trust", "-U", "postgres", "-N", "--no-locale", "-E", "UTF8")
	s.set("port", strconv.Itoa(s.port))
	s.set("unix_socket_directories", "'"+dir+"'")
	s.set("listen_addresses", "'127.0.0.1'")
	s.set("fsync", "off")
	t.Cleanup(func() { _ = s.cmd("pg_ctl", "-D", s.data, "-m", "immediate", "-w", "stop").Run() })
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) cmd(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = "/"
	asUser(cmd, s.user)
	return cmd
}

func (s *server) must(name string, args ...string) {
	s.t.Helper()
	if out, err := s.cmd(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (s *server) set(name, value string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s = %s\n", name, value); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) start() {
	s.t.Helper()
	s.must("pg_ctl", "-D", s.data, "-l", filepath.Join(s.sock, "log"), "-w", "-t", "60", "start")
}

func (s *server) stop(mode string) {
	s.t.Helper()
	s.must("pg_ctl", "-D", s.data, "-m", mode, "-w", "-t", "60", "stop")
}

func contextOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (l *local) AskSocket(context.Context, string, string, string) (string, error) {
	return "", host.ErrNoServer
}
