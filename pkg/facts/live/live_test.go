package live

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func (s *server) inventory() *inventory.Host {
	return &inventory.Host{Name: "pg1", Address: "127.0.0.1", Postgres: inventory.Postgres{
		Version: s.major, DataDirectory: s.data, ConfigDirectory: s.data, Port: s.port,
		OSUser: s.user, Superuser: "postgres",
	}}
}

func (s *server) gatherer() (*Gatherer, *local) {
	h := &local{}
	g := New(h, s.inventory())
	s.t.Cleanup(func() { _ = g.Close(contextOf(s.t)) })
	return g, h
}

func (s *server) gather() *facts.Host {
	s.t.Helper()
	g, _ := s.gatherer()
	return gather(s.t, g)
}

func gather(t *testing.T, g *Gatherer) *facts.Host {
	t.Helper()
	f, err := g.Gather(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestGatherTellsARunningPrimary(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	f := s.gather()

	if m := f.Machine; m.OSUser != s.user || m.Arch == "" || !strings.HasPrefix(m.Kernel, "Linux ") || m.BootID == "" || m.Cores < 1 || m.Tools["sh"] != "" ||
		m.Tools["find"] == "" || m.FreeBytes <= 0 || m.TotalBytes < m.FreeBytes || !m.PortInUse {
		t.Errorf("machine: %+v", m)
	}
	if f.Machine.BinDirectory != s.bin || f.Machine.BinVersion.Major() != s.major {
		t.Errorf("bin directory %s of %s, want %s", f.Machine.BinDirectory, f.Machine.BinVersion, s.bin)
	}
	if m := f.Machine; !slices.Contains(m.Libraries, "libpqwalreceiver.so") || !slices.Contains(m.Libraries, "plpgsql.so") || m.LibDirectory == "" {
		t.Errorf("libraries in %s: %v", m.LibDirectory, m.Libraries)
	}
	if out, err := exec.Command("ldd", filepath.Join(s.bin, "postgres")).Output(); err == nil && strings.Contains(string(out), "libicui18n.so."+f.Machine.ICU+" ") == (f.Machine.ICU == "") {
		t.Errorf("ICU %q, of:\n%s", f.Machine.ICU, out)
	}
	if m := f.Machine; m.Glibc != "" && !slices.Contains(m.Locales, "POSIX") {
		t.Errorf("locales of the machine: %v", m.Locales)
	}
	if d := f.Machine.Skew; d < -time.Second || d > time.Second {
		t.Errorf("skew against our own clock: %s", d)
	}
	if d := time.Since(f.Machine.Clock); d < 0 || d > time.Minute {
		t.Errorf("clock is %s behind", d)
	}
	srv := f.Server
	if !srv.Running || srv.InRecovery || srv.Version.Major() != s.major || srv.Timeline != 1 || srv.LSN == 0 ||
		srv.SizeBytes < 1<<20 || time.Since(srv.StartedAt) > time.Minute || srv.DataDirectory != s.data {
		t.Errorf("server: %+v", srv)
	}
	if srv.SystemID != strconv.FormatUint(f.Data.Control.SystemID, 10) {
		t.Errorf("system identifier: server %s, control file %d", srv.SystemID, f.Data.Control.SystemID)
	}
	d := f.Data
	if d.State != facts.Cluster || d.PID != s.pid() || d.Path != s.data || d.Version != s.major ||
		!d.HasData || d.Standby || d.MountPoint || d.UID != f.Machine.UID {
		t.Errorf("data directory: %+v", d)
	}
	if diff := cmp.Diff(facts.ConfigDir{HasConfig: true}, f.Config); diff != "" {
		t.Error(diff)
	}
}

func (s *server) pid() int {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	n, err := strconv.Atoi(first)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// They are asked of programs that a server is to be made with.
func TestGatherTellsWhatProgramsWithoutAServerAreCompiledFor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	f := s.gather()
	if m, c := f.Machine, f.Data.Control; m.BlockSize == 0 || m.BlockSize != int64(c.BlockSize) || m.WALBlockSize != int64(c.WALBlockSize) || m.SegmentBlocks != int64(c.RelationSegment) {
		t.Errorf("programs for blocks of %d and %d bytes and files of %d, control file: %+v", m.BlockSize, m.WALBlockSize, m.SegmentBlocks, c)
	}
	s.start()
	if m := s.gather().Machine; m.BlockSize != 0 || m.WALBlockSize != 0 || m.SegmentBlocks != 0 || len(m.Libraries) == 0 {
		t.Errorf("of a server that runs: %+v", m)
	}
}

func TestGatherIsCheap(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, h := s.gatherer()
	type calls struct{ Runs, Sessions, Queries, Files int64 }
	count := func() calls {
		return calls{h.runs.Swap(0), h.sessions.Swap(0), h.queries.Swap(0), h.files.Swap(0)}
	}
	gather(t, g)
	if diff := cmp.Diff(calls{Runs: 2, Sessions: 1, Queries: 2}, count()); diff != "" {
		t.Errorf("first: %s", diff)
	}
	second := gather(t, g)
	if diff := cmp.Diff(calls{Runs: 1, Queries: 1}, count()); diff != "" {
		t.Errorf("second: %s", diff)
	}
	if m := second.Machine; len(m.Libraries) == 0 || m.BinDirectory != s.bin || m.BinVersion == 0 || m.Tools["psql"] == "" {
		t.Errorf("what was found out once is forgotten: %+v", m)
	}
	s.stop("fast")
	gather(t, g) // may meet the postmaster on its way out
	count()
	gather(t, g)
	if diff := cmp.Diff(calls{Runs: 1}, count()); diff != "" {
		t.Errorf("server down: %s", diff)
	}
}

func TestAGlanceReadsOnlyWhatChanges(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, h := s.gatherer()
	type calls struct{ Runs, Sessions, Queries, Files int64 }
	count := func() calls {
		return calls{h.runs.Swap(0), h.sessions.Swap(0), h.queries.Swap(0), h.files.Swap(0)}
	}
	look := func() *facts.Host {
		t.Helper()
		f, err := g.Glance(contextOf(t))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := look()
	if diff := cmp.Diff(calls{Runs: 1, Sessions: 1, Queries: 2}, count()); diff != "" {
		t.Errorf("first: %s", diff)
	}
	if !f.Server.Running || f.Data.State != facts.Cluster || f.Server.Limits["max_connections"] == 0 || f.Server.SizeBytes != 0 || f.Machine.Arch != "" || len(f.Machine.Libraries) != 0 {
		t.Errorf("%+v", f)
	}
	look()
	if diff := cmp.Diff(calls{Runs: 1, Queries: 1}, count()); diff != "" {
		t.Errorf("second: %s", diff)
	}
	// A plan asks for more, and a glance after it forgets nothing.
	more := gather(t, g)
	look()
	if again := gather(t, g); more.Server.SizeBytes == 0 || again.Server.SizeBytes != more.Server.SizeBytes || len(again.Machine.Libraries) == 0 {
		t.Errorf("after glances: %d bytes, then %d; libraries: %v", more.Server.SizeBytes, again.Server.SizeBytes, again.Machine.Libraries)
	}
}

func TestGatherFollowsStopAndRestart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	gather(t, g)
	s.stop("fast")
	f := gather(t, g)
	if diff := cmp.Diff(facts.Server{}, f.Server); diff != "" {
		t.Errorf("stopped server: %s", diff)
	}
	if f.Data.State != facts.Cluster || f.Data.PID != 0 || !f.Data.Control.State.Clean() {
		t.Errorf("data directory of a stopped server: %+v", f.Data)
	}
	s.start()
	if f = gather(t, g); !f.Server.Running || f.Data.PID != s.pid() {
		t.Errorf("after a restart: %+v", f.Server)
	}
	// Between two Gathers, without one in between: the session is dead and
	// nobody has noticed.
	s.stop("immediate")
	s.start()
	if f = gather(t, g); !f.Server.Running {
		t.Errorf("after a restart unseen: %+v", f.Server)
	}
	s.stop("immediate")
	if f = gather(t, g); f.Server.Running || f.Data.PID != 0 {
		t.Errorf("after a crash: %+v, pid %d", f.Server, f.Data.PID)
	}
}

// A stale postmaster.pid after a crash may name a process that is somebody
// else's; a missing one may hide a server.
func TestGatherDoesNotTrustPostmasterPID(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	lock := filepath.Join(s.data, "postmaster.pid")
	stale, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	s.stop("fast")
	_, rest, _ := strings.Cut(string(stale), "\n")

	sleeper := exec.Command("sleep", "600") // owned by the server's user, as a recycled pid is
	sleeper.Dir = "/"
	asUser(sleeper, s.user)
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() })
	for name, pid := range map[string]int{"a process of the same user": sleeper.Process.Pid, "init": 1, "nobody": 1 << 22} {
		if err := os.WriteFile(lock, []byte(strconv.Itoa(pid)+"\n"+rest), 0o644); err != nil {
			t.Fatal(err)
		}
		if f := s.gather(); f.Data.PID != 0 || f.Server.Running {
			t.Errorf("pid of %s: taken for a live server (%d)", name, f.Data.PID)
		}
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	s.start()
	pid := s.pid()
	if err := os.Rename(lock, lock+".hidden"); err != nil {
		t.Fatal(err)
	}
	if f := s.gather(); f.Data.PID == 0 {
		t.Error("server without postmaster.pid not seen")
	}
	if err := os.Rename(lock+".hidden", lock); err != nil {
		t.Fatal(err)
	}
	if s.pid() != pid {
		t.Fatal("another server took over")
	}
}

func TestGatherOfAServerThatRefusesSessions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("hot_standby", "off")
	name, text := "standby.signal", ""
	if v, err := postgres.ParseVersion(s.major); err != nil || !v.UsesSignalFiles() {
		name, text = "recovery.conf", "standby_mode = 'on'  # text\n"
	}
	if err := os.WriteFile(filepath.Join(s.data, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	chown(t, filepath.Join(s.data, name), s.user)
	s.must("pg_ctl", "-D", s.data, "-l", filepath.Join(s.sock, "log"), "-W", "start")
	g, _ := s.gatherer()
	ctx := contextOf(t)
	f := gather(t, g)
	for f.Data.PID == 0 || f.Server.NotReady == "" { // pg_ctl -W returns before the postmaster is up
		if ctx.Err() != nil {
			t.Fatalf("never refused: %+v", f.Server)
		}
		f = gather(t, g)
	}
	if f.Server.Running || !f.Data.Standby {
		t.Errorf("server %+v, standby %t", f.Server, f.Data.Standby)
	}
}

func TestGatherNamesAPortThatIsNotTheInventorys(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	inv := s.inventory()
	inv.Postgres.Port = freePort(t)
	f := gather(t, New(&local{}, inv))
	want := "it listens on port " + strconv.Itoa(s.port) + ", not on " + strconv.Itoa(inv.Postgres.Port)
	if f.Server.Running || f.Server.NotReady != want || f.Data.PID != s.pid() {
		t.Errorf("got %q, want %q", f.Server.NotReady, want)
	}
}

func TestGatherFailsWhenTheHostDoes(t *testing.T) {
	t.Parallel()
	s := &server{t: t, data: "/nonexistent/data", user: serverUser(t), major: "15", port: 5432}
	broken := &failing{Host: &local{}, err: errors.New("connection lost")}
	if _, err := New(broken, s.inventory()).Gather(contextOf(t)); !errors.Is(err, broken.err) {
		t.Errorf("got %v", err)
	}
}

func TestGatherNamesAMissingOSUser(t *testing.T) {
	t.Parallel()
	s := &server{t: t, data: "/nonexistent/data", user: "no-such-user", major: "15", port: 5432}
	_, err := New(&local{}, s.inventory()).Gather(contextOf(t))
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("got %v", err)
	}
}

type failing struct {
	host.Host
	err error
}

func (f *failing) Run(context.Context, host.Cmd, host.Stdio) error { return f.err }
