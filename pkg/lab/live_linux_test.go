package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// asPlainUser is set for the run that TestAPlainUserHasALabToo makes.
const asPlainUser = "LAB_TEST_AS_PLAIN_USER"

// needHosts is for tests that make real hosts.
func needHosts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("makes real hosts")
	}
	if os.Geteuid() != 0 && os.Getenv(asPlainUser) == "" {
		t.Skip("needs root")
	}
}

// up makes a lab for a test, and removes it after.
func up(t *testing.T, o Options) *Lab {
	t.Helper()
	needHosts(t)
	if o.State == "" {
		o.State = t.TempDir()
	}
	if o.Binary == "" {
		self, err := os.Executable() // see standIn
		do(t, err)
		o.Binary = self
	}
	l, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(describe(err))
	}
	t.Cleanup(func() {
		if err := Down(context.Background(), o.State, l.Name); err != nil {
			t.Error(err)
		}
	})
	return l
}

func describe(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return fmt.Sprintf("%v\n%s", err, f.Stderr)
	}
	return err.Error()
}

// login is an SSH connection as a user of the lab would make it: the host key
// is verified.
func login(t *testing.T, l *Lab, name, user string) (*ssh.Client, error) {
	t.Helper()
	key, err := os.ReadFile(l.IdentityPath())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(l.KnownHostsPath())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.DialContext(t.Context(), "tcp", name+":22")
	if err != nil {
		return nil, err
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, name+":22", &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: check,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() { client.Close() })
	return client, nil
}

func remote(t *testing.T, c *ssh.Client, command string) string {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.CombinedOutput(command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func in(t *testing.T, l *Lab, name string, argv ...string) string {
	t.Helper()
	out, err := l.Exec(t.Context(), name, argv, "")
	if err != nil {
		t.Fatalf("%s: %v: %v\n%s", name, argv, err, host.StderrOf(err))
	}
	return strings.TrimSpace(out)
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(describe(err))
	}
}

func TestHostIsReachedBySSHAndBecomesRoot(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 2})
	for _, user := range []string{"admin", "postgres", "root"} {
		c, err := login(t, l, "h2", user)
		do(t, err)
		if got := remote(t, c, "id -un; hostname"); got != user+"\nh2" {
			t.Errorf("logged in as %q", got)
		}
	}
	c, err := login(t, l, "h1", "admin")
	do(t, err)
	if got := remote(t, c, "sudo -n id -un; sudo -n -u postgres id -un"); got != "root\npostgres" {
		t.Errorf("sudo: %q", got)
	}
	if got := remote(t, c, "getent hosts h2 | cut -d' ' -f1"); got != "10.77.0.12" {
		t.Errorf("h1 knows h2 as %q", got)
	}
	if got := remote(t, c, "ip route"); strings.Contains(got, "default") {
		t.Errorf("h1 has a way out: %s", got)
	}
}

func TestHostKeepsItsDiskAndIdentityThroughAPowerCut(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	c, err := login(t, l, "h1", "admin")
	do(t, err)
	before := remote(t, c, "echo kept > ~/file; touch /tmp/lost; cat /etc/machine-id")
	began := time.Now()
	do(t, l.Kill(t.Context(), "h1"))
	do(t, l.Kill(t.Context(), "h1")) // a host that is off stays off
	if _, err := login(t, l, "h1", "admin"); err == nil {
		t.Error("a host without power answers")
	}
	if _, err := l.Exec(t.Context(), "h1", []string{"true"}, ""); err == nil || !strings.Contains(host.StderrOf(err), "is off") {
		t.Errorf("exec: %v", err)
	}
	if took := time.Since(began); took > DialTimeout+2*time.Second {
		t.Errorf("it took %s to notice", took)
	}
	do(t, l.Start(t.Context(), "h1"))
	c, err = login(t, l, "h1", "admin")
	do(t, err)
	if got := remote(t, c, "cat /etc/machine-id; cat ~/file; ls /tmp"); got != before+"\nkept" {
		t.Errorf("after the power cut: %q, want %q and the file", got, before)
	}
	if err := l.Start(t.Context(), "h1"); err == nil || !strings.Contains(describe(err), "already on") {
		t.Errorf("start of a running host: %v", err)
	}
}

func TestFilesOfPostgreSQLCanLieOnTheDiskItself(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1, PlainData: true})
	const look = "stat -f -c %T /; stat -f -c %T /var/lib/postgresql; stat -c %U /var/lib/postgresql; ls -A /var/lib/postgresql"
	was := in(t, l, "h1", "sh", "-c", look)
	if types := strings.Fields(was); len(types) < 3 || types[0] == types[1] || types[2] != "postgres" {
		t.Errorf("/, /var/lib/postgresql: %q", was)
	}
	in(t, l, "h1", "touch", "/var/lib/postgresql/kept")
	do(t, l.Kill(t.Context(), "h1"))
	do(t, l.Start(t.Context(), "h1"))
	if got := in(t, l, "h1", "sh", "-c", look); !strings.Contains(got, "kept") || !strings.HasPrefix(got, was) {
		t.Errorf("after a power cut: %q, was %q", got, was)
	}
}

func TestExecIsRootWithACleanEnvironment(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	out, err := l.Exec(t.Context(), "h1", []string{"sh", "-c", "id -un; cat; env | cut -d= -f1 | sort | tr '\n' ' '"}, "text\n")
	do(t, err)
	if want := "root\ntext\nHOME LANG PATH PWD TERM "; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	_, err = l.Exec(t.Context(), "h1", []string{"sh", "-c", "echo why >&2; exit 7"}, "")
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Stderr != "why\n" || exit.Host != "h1" {
		t.Errorf("exit: %#v", err)
	}
	_, err = l.Exec(t.Context(), "h1", []string{"sh", "-c", "kill -KILL $$"}, "")
	if !errors.As(err, &exit) || exit.Signal != "KILL" {
		t.Errorf("signal: %#v", err)
	}
	if _, err = l.Exec(t.Context(), "h9", []string{"true"}, ""); fault.ClassOf(err) != fault.Usage {
		t.Errorf("no such host: %v", err)
	}
}

func TestExecEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- l.Run(ctx, "h1", []string{"sh", "-c", "echo runs; exec sleep 12345"}, host.Stdio{Out: w})
		w.Close()
	}()
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	await(t, "the command to end", func() bool {
		return !strings.Contains(in(t, l, "h1", "ps", "-eo", "args"), "sleep 12345")
	})
}

func TestPID1ReapsOrphans(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	pid := in(t, l, "h1", "sh", "-c", "setsid sleep 0.01 >/dev/null & echo $!")
	await(t, "the orphan to be reaped", func() bool {
		_, err := l.Exec(t.Context(), "h1", []string{"test", "-d", "/proc/" + pid}, "")
		return err != nil
	})
}

// await polls for what cannot be waited for otherwise.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// namespacesOf returns the namespaces that the processes of a lab are in and
// this process is not.
func namespacesOf(t *testing.T, l *Lab) map[string]bool {
	t.Helper()
	_, err := l.pid1()
	do(t, err)
	found := map[string]bool{}
	roots, err := processes(func(argv []string) bool { return strings.Contains(strings.Join(argv, " "), l.dir) })
	do(t, err)
	for _, pid := range roots {
		for _, kind := range []string{"mnt", "net", "pid", "uts", "ipc"} {
			theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
			ours, _ := os.Readlink("/proc/self/ns/" + kind)
			if err != nil || theirs == ours || found[theirs] {
				continue
			}
			// Open, so that its number is not given to another lab's.
			f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
			do(t, err)
			t.Cleanup(func() { f.Close() })
			found[theirs] = true
		}
	}
	return found
}

// nothingLeft fails if anything of a lab is there.
func nothingLeft(t *testing.T, dir string, namespaces map[string]bool) {
	t.Helper()
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	do(t, err)
	if bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("a mount of %s is left", dir)
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/*")
	do(t, err)
	for _, link := range links {
		ns, err := os.Readlink(link)
		if err != nil || !namespaces[ns] {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		// A zombie has ended; PID 1 of the machine has yet to notice.
		if status, err := os.ReadFile(filepath.Join(process, "status")); err == nil && !bytes.Contains(status, []byte("\nState:\tZ")) {
			t.Errorf("%s is in %s of the lab:\n%s", process, ns, status)
		}
	}
	if pids := running(dir); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
}

func TestDownLeavesNothing(t *testing.T) {
	t.Parallel()
	disks := t.TempDir()
	l := up(t, Options{Hosts: 2, Disks: disks})
	do(t, l.Cut(t.Context(), "h1"))
	do(t, l.Freeze(t.Context(), "h2"))
	c, err := l.DialContext(t.Context(), "tcp", "h2:22")
	do(t, err)
	defer c.Close()
	namespaces := namespacesOf(t, l)
	if len(namespaces) < 5 {
		t.Fatalf("found only the namespaces %v", namespaces)
	}
	do(t, l.Down(t.Context()))
	nothingLeft(t, l.dir, namespaces)
	if entries, err := os.ReadDir(disks); err != nil || len(entries) > 0 {
		t.Errorf("disks are left: %v %v", entries, err)
	}
	if _, err := l.DialContext(t.Context(), "tcp", "h2:22"); fault.ClassOf(err) != fault.Refused {
		t.Errorf("dial into a lab that is gone: %v", err)
	}
}

func TestSecondUpIsRefusedAndTheFirstLives(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	l := up(t, Options{Hosts: 1, State: state})
	if _, err := Up(t.Context(), Options{Hosts: 1, State: state}); fault.ClassOf(err) != fault.Refused {
		t.Errorf("second up: %v", err)
	}
	if got := in(t, l, "h1", "hostname"); got != "h1" {
		t.Errorf("first lab: %q", got)
	}
}

func TestTwoLabsWithTheSameAddressesDoNotMeet(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	a := up(t, Options{Name: "a", Hosts: 1, State: state})
	b := up(t, Options{Name: "b", Hosts: 1, State: state})
	in(t, a, "h1", "touch", "/root/a")
	ca, err := login(t, a, "h1", "root")
	do(t, err)
	cb, err := login(t, b, "h1", "root")
	do(t, err)
	if got := remote(t, ca, "ls") + "/" + remote(t, cb, "ls"); got != "a/" {
		t.Errorf("files of a/b: %q", got)
	}
	names, err := List(state)
	do(t, err)
	if diff := cmp.Diff([]string{"a", "b"}, names); diff != "" {
		t.Error(diff)
	}
	do(t, a.Down(t.Context()))
	again, err := Open(state, "b")
	do(t, err)
	if got := in(t, again, "h1", "hostname"); got != "h1" {
		t.Errorf("b after a went down: %q", got)
	}
}

func TestSpliceEndsWithEitherSide(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	dial := func() net.Conn {
		conn, err := l.DialContext(t.Context(), "tcp", "h1:22")
		do(t, err)
		return conn
	}
	var out bytes.Buffer
	// sshd ends the connection at a line that is not SSH.
	do(t, Splice(dial(), strings.NewReader("hello\r\n"), &out))
	if !strings.HasPrefix(out.String(), "SSH-2.0-") {
		t.Errorf("got %q", out.String())
	}
	do(t, l.Freeze(t.Context(), "h1"))
	began := time.Now()
	if err := Splice(dial(), strings.NewReader(""), io.Discard); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("hung host: %v", err)
	}
	if took := time.Since(began); took > DialTimeout+3*time.Second {
		t.Errorf("it took %s", took)
	}
}
