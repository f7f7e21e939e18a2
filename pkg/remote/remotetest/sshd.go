package remotetest

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHD is a real sshd on the loopback.
type SSHD struct {
	Address    string
	Port       int
	User       string
	Key        Key
	KnownHosts string
	HostKey    ssh.PublicKey
	Pid        int
	Log        string // a file
}

// SSHDConfig changes a real sshd.
type SSHDConfig struct {
	// User logs in; root when empty. Its login shell and home are the real
	// ones.
	User string
	// Lines are added to sshd_config.
	Lines []string
	// HostKey is used instead of a new ed25519 key. A certificate beside it
	// (File + "-cert.pub") is presented.
	HostKey *Key
	// Files are seen by this sshd and what it starts instead of those of the
	// machine, in a mount namespace: path to content.
	Files map[string]string
	// Authorized replaces the authorized_keys file's content.
	Authorized string
}

// StartSSHD runs sshd until the end of the test. It needs root and OpenSSH's
// server, and fails without them; -short skips.
func StartSSHD(t testing.TB, config SSHDConfig) *SSHD {
	t.Helper()
	if testing.Short() {
		t.Skip("a real sshd is started only without -short")
	}
	if os.Getuid() != 0 {
		t.Fatal("run the tests of real servers as root, or with -short")
	}
	bin := Program(t, "openssh-server", "/usr/sbin/sshd", "/usr/bin/sshd")
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	s := &SSHD{Address: "127.0.0.1", User: config.User, Key: NewKey(t)}
	if s.User == "" {
		s.User = "root"
	}
	hostKey := config.HostKey
	if hostKey == nil {
		k := NewKey(t)
		hostKey = &k
	}
	s.HostKey = hostKey.Signer.PublicKey()
	// sshd reads authorized_keys as the user.
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	authorized := config.Authorized
	if authorized == "" {
		authorized = string(ssh.MarshalAuthorizedKey(s.Key.Signer.PublicKey()))
	}
	keys := filepath.Join(dir, "authorized_keys")
	WriteFile(t, keys, []byte(authorized))
	if err := os.Chmod(keys, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Log = filepath.Join(dir, "log")
	lines := append([]string{
		"HostKey " + hostKey.File,
		"PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no",
		"KbdInteractiveAuthentication no", "PermitRootLogin yes", "LogLevel VERBOSE",
		"AuthorizedKeysFile " + keys,
	}, config.Lines...)
	if _, err := os.Stat(hostKey.File + "-cert.pub"); err == nil {
		lines = append(lines, "HostCertificate "+hostKey.File+"-cert.pub")
	}
	s.listen(t, append(overlay(t, dir, config.Files), bin), dir, lines)
	s.KnownHosts = KnownHosts(t, s.Address, s.Port, s.HostKey)
	return s
}

// listen starts sshd on a free port; somebody else may take the port between
// the choice and the start.
func (s *SSHD) listen(t testing.TB, program []string, dir string, lines []string) {
	t.Helper()
	var said []byte
	for range 5 {
		s.Port = FreePort(t)
		conf := filepath.Join(dir, "sshd_config")
		head := fmt.Sprintf("ListenAddress 127.0.0.1:%d\n", s.Port)
		WriteFile(t, conf, []byte(head+strings.Join(lines, "\n")+"\n"))
		argv := append(slices.Clone(program), "-D", "-e", "-f", conf)
		cmd := exec.Command(argv[0], argv[1:]...)
		log, err := os.Create(s.Log)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			_ = log.Close()
			close(done)
		}()
		if Await(t, 10*time.Second, func() bool {
			select {
			case <-done:
				return true
			default:
			}
			b, err := os.ReadFile(s.Log)
			return err == nil && bytes.Contains(b, []byte("Server listening"))
		}) {
			select {
			case <-done:
			default:
				s.Pid = cmd.Process.Pid
				t.Cleanup(func() {
					for _, child := range children(s.Pid) {
						if p, err := os.FindProcess(child); err == nil {
							_ = p.Kill()
						}
					}
					_ = cmd.Process.Kill()
					<-done
				})
				return
			}
		}
		_ = cmd.Process.Kill()
		<-done
		said, _ = os.ReadFile(s.Log)
	}
	t.Fatalf("sshd does not start: %s", said)
}

// overlay is a command prefix that mounts files over those of the machine.
func overlay(t testing.TB, dir string, files map[string]string) []string {
	t.Helper()
	if len(files) == 0 {
		return nil
	}
	var script strings.Builder
	for i, path := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(dir, "file"+strconv.Itoa(i))
		if err := os.WriteFile(file, []byte(files[path]), 0o440); err != nil { //nolint:gosec // sudoers' own mode
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "mount --bind '%s' '%s' && ", file, path)
	}
	return []string{"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script.String() + `exec "$0" "$@"`}
}

// KillSessions kills the processes of sshd that serve connections: for their
// clients the server has gone.
func (s *SSHD) KillSessions(t testing.TB) {
	t.Helper()
	for _, pid := range children(s.Pid) {
		for _, sub := range append(children(pid), pid) {
			if name, err := os.ReadFile("/proc/" + strconv.Itoa(sub) + "/comm"); err != nil || !strings.HasPrefix(string(name), "sshd") {
				continue
			}
			if p, err := os.FindProcess(sub); err == nil {
				_ = p.Kill()
			}
		}
	}
}

func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// Program is the first of the paths that exists. The test fails without one,
// naming the package to install.
func Program(t testing.TB, pkg string, paths ...string) string {
	t.Helper()
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Fatalf("none of %s is here: install %s (.ci/run does), or run the tests with -short", strings.Join(paths, ", "), pkg)
	return ""
}

// FreePort is a TCP port of the loopback that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// Await asks until cond holds, and reports whether it did within limit.
func Await(t testing.TB, limit time.Duration, cond func() bool) bool {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Crypt is a password as /etc/shadow has it.
func Crypt(t testing.TB, password string) string {
	t.Helper()
	Program(t, "perl", "/usr/bin/perl")
	return run(t, "perl", "-e", `print crypt($ARGV[0], '$6$remotetest$')`, password)
}
