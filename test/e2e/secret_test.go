package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// privateKey is what every private key of OpenSSH has in it: the words of its first line,
// and the first bytes of what is under that, should somebody take the line away.
var privateKey = []string{"PRIVATE KEY", "b3BlbnNzaC1rZXktdjE"}

// searched is where a host could have kept something.
const searched = " /etc /home /root /var /tmp /dev/shm /run /usr/local 2>/dev/null || true"

// TestPasswordIsSeenNowhereButInThePassfile runs a bootstrap with a password
// that occurs nowhere else, and looks for it wherever a password was ever found; and for
// the private key of the copy, which is on the memory file system while the copy lasts, and
// nowhere after that.
func TestPasswordIsSeenNowhereButInThePassfile(t *testing.T) {
	s := take(t, dataDirectory)
	canary := fmt.Sprintf("canary-%d-'\"\\ $(x)", time.Now().UnixNano())
	o := newOperator(t, s).with(s.lab.PasswordPath(), file(t, "password", canary))
	s.sql(t, "h1", "postgres", "alter system set log_statement = 'all';\nalter system set log_min_duration_statement = 0;\nalter system set log_connections = on;\nselect pg_reload_conf();")
	s.eventually(t, "everything is logged", func() bool { return s.sql(t, "h1", "postgres", "show log_statement") == "all" })

	needle := []byte(fmt.Sprintf("%.26s", canary))
	// Those of sshd and of the server's TLS were there before.
	keys := map[string]string{}
	for _, h := range s.names() {
		keys[h] = s.keyFiles(t, h)
		if !strings.Contains(keys[h], "/etc/ssh/ssh_host_ed25519_key") {
			t.Fatalf("the search for keys does not find that of sshd on %s, but %q", h, keys[h])
		}
	}
	spy := watch(needle, []byte(privateKey[0]), []byte(privateKey[1]))
	// The watch has teeth: it sees a process that is as careless as can be.
	t.Cleanup(func() { s.at(t, "h2", "pkill -KILL -x -f 'sleep 600' || true") })
	s.at(t, "h2", "env careless='"+string(needle)+"' sleep 600 >/dev/null 2>&1 & sh -c 'sleep 600; : "+string(needle)+"' >/dev/null 2>&1 & sh -c 'sleep 600; : "+privateKey[0]+"' >/dev/null 2>&1 & sh -c 'sleep 600; : "+privateKey[1]+"' >/dev/null 2>&1 &")
	s.eventually(t, "the watch sees all careless processes", func() bool {
		return spy.sees("environ of sleep 600") && spy.sees("cmdline of sh -c sleep 600; : "+string(needle)) &&
			spy.sees("cmdline of sh -c sleep 600; : "+privateKey[0]) && spy.sees("cmdline of sh -c sleep 600; : "+privateKey[1])
	})
	s.at(t, "h2", "pkill -KILL -x -f 'sleep 600'")
	s.eventually(t, "no careless process is left", func() bool { return s.at(t, "h2", "pgrep -f 'sleep 60[0]' || true") == "" })
	spy.take()
	a := o.call("standby", "bootstrap", "h2", "--yes", "-vv").exits(0)
	seen, rounds := spy.stop()
	for _, p := range seen {
		t.Error("in a process: " + p)
	}
	if rounds < 50 {
		t.Errorf("only %d looks in %s", rounds, a.took)
	}
	s.streams(t, "h2")

	verifier := s.sql(t, "h1", "postgres", "select rolpassword from pg_authid where rolname = 'replicator'")
	if !strings.HasPrefix(verifier, "SCRAM-SHA-256$4096:") {
		t.Errorf("the role has %.20s…", verifier)
	}
	log := s.at(t, "h1", "cat $log")
	if !strings.Contains(log, "pg_create_physical_replication_slot") {
		t.Error("the log of h1 has not everything: the test proves nothing")
	}
	private := append([]string{string(needle), verifier, strings.Split(verifier, "$")[2]}, privateKey...)
	for what, text := range map[string]string{"stdout": a.stdout, "stderr": a.stderr, "log of h1": log, "log of h2": s.at(t, "h2", "cat $log /var/lib/postgresql/.pgrepctl/*.log 2>/dev/null || true"),
		"primary_conninfo": s.sql(t, "h2", "postgres", "select conninfo from pg_stat_wal_receiver; show primary_conninfo")} {
		for _, p := range private {
			if strings.Contains(text, p) {
				t.Errorf("%q is in %s", p, what)
			}
		}
	}
	err := filepath.WalkDir(o.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		for _, p := range private {
			if bytes.Contains(read(t, path), []byte(p)) {
				t.Errorf("%q is in %s", p, path)
			}
		}
		return nil
	})
	s.do(t, err)
	for _, h := range s.names() {
		want := ""
		if h == "h2" {
			want = "/var/lib/postgresql/.pgrepctl/" + s.lab.Name + ".pgpass"
		}
		if got := s.at(t, h, "grep -rlF -e '"+string(needle)+"'"+searched); got != want {
			t.Errorf("on %s it is in: %s", h, got)
		}
		if got := s.keyFiles(t, h); got != keys[h] {
			t.Errorf("on %s private keys are in:\n%s\nand were in:\n%s", h, got, keys[h])
		}
	}
}

// keyFiles are the files of a host that have a private key in them, sorted.
func (s *site) keyFiles(t *testing.T, name string) string {
	t.Helper()
	files := strings.Fields(s.at(t, name, "grep -rlF -e '"+privateKey[0]+"' -e '"+privateKey[1]+"'"+searched))
	slices.Sort(files)
	return strings.Join(files, "\n")
}

// spy looks at the arguments and environments of all processes of this machine,
// which the labs' hosts share with it.
type spy struct {
	mu     sync.Mutex
	seen   map[string]bool
	known  map[string]bool // taken once: not seen again
	rounds int
	quit   chan struct{}
	ended  chan struct{}
}

func watch(needles ...[]byte) *spy {
	s := &spy{seen: map[string]bool{}, known: map[string]bool{}, quit: make(chan struct{}), ended: make(chan struct{})}
	tick := time.NewTicker(10 * time.Millisecond)
	go func() {
		defer close(s.ended)
		defer tick.Stop()
		for {
			select {
			case <-s.quit:
				return
			case <-tick.C:
				s.look(needles)
			}
		}
	}()
	return s
}

func (s *spy) look(needles [][]byte) {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rounds++
	for _, p := range procs {
		for _, f := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile(filepath.Join(p, f))
			if err != nil || !slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(b, n) }) {
				continue
			}
			args, _ := os.ReadFile(filepath.Join(p, "cmdline"))
			what := f + " of " + strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " ")
			if !s.known[what] {
				s.seen[what] = true
			}
		}
	}
}

// sees says whether it has seen such a thing.
func (s *spy) sees(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[what]
}

// take returns what was seen. It is not told again: other processes of this machine may
// have a key in their environment for as long as they live.
func (s *spy) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for what := range s.seen {
		out = append(out, what)
		s.known[what] = true
	}
	clear(s.seen)
	s.rounds = 0
	return out
}

func (s *spy) stop() ([]string, int) {
	close(s.quit)
	<-s.ended
	rounds := s.rounds
	return s.take(), rounds
}
