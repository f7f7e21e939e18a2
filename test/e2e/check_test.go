package e2e

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
)

// checkFlags make a check that does not have to be waited for long.
var quick = []string{"--max-lag", "8MB", "--min-lag", "4MB", "--hold-down", "2s"}

// TestBalancersFollowTheCheck goes through one cluster: h1 the primary, h2 and h3 its
// standbys. HAProxy itself, with the configuration of examples/haproxy.cfg, is the
// judge.
func TestBalancersFollowTheCheck(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")
	apply(t, o, "h3")

	t.Run("one look at a time remembers the last", func(t *testing.T) { oneLook(t, s, o) })

	closed := newOperator(t, s).with("h3: {address: 10.77.0.13, role: standby", "h3: {address: 10.77.0.13, role: standby, traffic: none")
	closed.home = o.home
	c, at := closed.serve(t)
	hx := balance(t, s, at)

	t.Run("at first", func(t *testing.T) {
		hx.shows(t, "writes", "h1:UP h2:DOWN h3:DOWN")
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:DOWN")
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:UP h3:MAINT")
		// Whether it is synchronous is known by a look at its upstream before it.
		s.eventually(t, "h2 is known to be asynchronous", func() bool { code, _ := at.get(t, "/h2/asynchronous"); return code == 200 })
		for path, want := range map[string]int{"/h1/primary": 200, "/h2/primary": 503, "/h2/replica": 200, "/h2/replica?lag=1MB": 200, "/h2/asynchronous": 200, "/h2/synchronous": 503,
			"/h3/replica": 503, "/h3/health": 200, "/liveness": 200, "/readiness": 200, "/metrics": 200} {
			if code, body := at.get(t, path); code != want {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
	})
	t.Run("a standby whose replay is paused, and comes back after the hold-down", func(t *testing.T) {
		s.sql(t, "h2", "postgres", "select pg_wal_replay_pause()")
		hx.shows(t, "reads", "h1:DOWN h2:DOWN h3:DOWN")
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:DOWN h3:MAINT")
		began := time.Now()
		s.sql(t, "h2", "postgres", "select pg_wal_replay_resume()")
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:DOWN")
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("it is up after %s, and the hold-down is 2s", took)
		}
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:UP h3:MAINT")
	})
	t.Run("a standby that is stopped, and started", func(t *testing.T) {
		s.at(t, "h2", "as pg_ctlcluster 15 main stop -m fast")
		hx.shows(t, "reads", "h1:DOWN h2:DOWN h3:DOWN")
		s.at(t, "h2", "as pg_ctlcluster 15 main start")
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:DOWN")
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:UP h3:MAINT")
	})
	t.Run("a run that keeps traffic away", func(t *testing.T) {
		s.at(t, "h1", `d=~postgres/.pgrepctl/20260112T091500Z-7f3a
as mkdir -p $d
as tee $d/journal.jsonl >/dev/null <<'END'
{"seq":1,"at":"2026-01-12T09:15:00Z","type":"start","run":{"id":"20260112T091500Z-7f3a","cluster":"`+clusterName(t, o)+`","plan":"drain","operator":"anna@desk"}}
{"seq":2,"at":"2026-01-12T09:15:01Z","type":"intent","host":"h1","effect":"balance","inverse":{"kind":"balance","effect":{"host":"h1","server":"h2","serve":true}}}
END`)
		s.eventually(t, "h2 has weight 0", func() bool { return hx.show(t, "reads-by-agent", "weight")["h2"] == "0" })
		hx.shows(t, "reads", "h1:DOWN h2:DOWN h3:DOWN")
		if _, body := at.get(t, "/h2"); !strings.Contains(body, `"reason":"drained"`) || !strings.Contains(body, "7f3a") {
			t.Error(body)
		}
		// Who drains it by hand meanwhile is not overruled when the run has ended.
		hx.tell(t, "set server reads-by-agent/h2 state drain")
		s.at(t, "h1", "rm -r ~postgres/.pgrepctl/20260112T091500Z-7f3a")
		s.eventually(t, "h2 has its weight again", func() bool { return hx.show(t, "reads-by-agent", "weight")["h2"] == "100" })
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:DRAIN h3:MAINT")
		hx.tell(t, "set server reads-by-agent/h2 state ready")
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:UP h3:MAINT")
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:DOWN")
	})
	t.Run("SIGTERM ends it, and what it knew is known to the next", func(t *testing.T) {
		a := c.terminate().exits(0)
		if strings.Contains(a.stderr, "warning") {
			t.Error(a.stderr)
		}
		// h3 may have traffic now.
		c, _ = o.at(t, at)
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:UP h3:UP")
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:UP")
	})
	t.Run("a host that freezes is out, and delays no other", func(t *testing.T) {
		s.do(t, s.lab.Freeze(t.Context(), "h3"))
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:DOWN")
		hx.shows(t, "reads-by-agent", "h1:DOWN h2:UP h3:DOWN")
		if _, body := at.get(t, "/h2"); age(t, body) > 2*time.Second {
			t.Errorf("the last look at h2 is old: %s", body)
		}
		s.do(t, s.lab.Thaw(t.Context(), "h3"))
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:UP")
	})
	t.Run("the primary is gone, and reads go on", func(t *testing.T) {
		s.do(t, s.lab.Kill(t.Context(), "h1"))
		hx.shows(t, "writes", "h1:DOWN h2:DOWN h3:DOWN")
		hx.shows(t, "reads", "h1:DOWN h2:UP h3:UP")
	})
	t.Run("SIGTERM ends it while a host is frozen", func(t *testing.T) {
		s.do(t, s.lab.Freeze(t.Context(), "h2"))
		hx.shows(t, "reads", "h1:DOWN h2:DOWN h3:UP")
		began := time.Now()
		c.terminate().exits(0)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func oneLook(t *testing.T, s *site, all *operator) {
	mine := *all
	o := &mine
	o.t = t
	call := func(code int, more ...string) *answer {
		t.Helper()
		return o.call(append(append([]string{"check"}, quick...), more...)...).exits(code)
	}
	s.streams3(t)
	call(0).says("h1", "takes writes", "h2", "h3")
	call(0, "h2", "--nagios").says("REPLICATION OK - 1 of 1 hosts", "'h2 lag'=")
	s.sql(t, "h2", "postgres", "select pg_wal_replay_pause()")
	call(3).says("OUT", "paused")
	call(2, "--nagios").says("REPLICATION CRITICAL - 2 of 3 hosts", "h2: replay is paused")
	s.sql(t, "h2", "postgres", "select pg_wal_replay_resume()")
	var r check.Report
	call(3, "-o", "json", "--hold-down", "1h").decode(&r)
	if h := r.Hosts[1]; r.OK || h.In || h.Reason != check.HoldDown {
		t.Errorf("just resumed: %+v", h)
	}
	call(1, "--nagios", "--hold-down", "1h").says("WARNING")
	s.eventually(t, "h2 is in again", func() bool {
		return o.call(append([]string{"check", "h2"}, quick...)...).code == 0
	})
	prom := filepath.Join(t.TempDir(), "pgrepctl.prom")
	call(0, "--textfile", prom)
	if b, err := os.ReadFile(prom); err != nil || !strings.Contains(string(b), `host="h2"} 1`) {
		t.Errorf("%v: %s", err, b)
	}
	s.do(t, s.lab.Cut(t.Context(), "h3"))
	call(5, "--connect-timeout", "1s").says("h3", "unreachable")
	call(3, "--connect-timeout", "1s", "--nagios").says("REPLICATION UNKNOWN")
	s.do(t, s.lab.Heal(t.Context(), "h3"))
}

// streams3 awaits that both standbys stream.
func (s *site) streams3(t *testing.T) {
	t.Helper()
	s.eventually(t, "both standbys stream", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_replication where state = 'streaming'") == "2"
	})
}

func clusterName(t *testing.T, o *operator) string {
	t.Helper()
	b, err := os.ReadFile(o.inventory)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^cluster: *"?([^"\s]+)`).FindStringSubmatch(string(b))[1]
}

// served is where a check serves.
type served struct{ http, agent string }

// serve starts a server on ports that are free.
func (o *operator) serve(t *testing.T) (*calling, served) {
	t.Helper()
	return o.at(t, served{"127.0.0.1:0", "127.0.0.1:0"})
}

// at starts a server on given addresses, until the test ends.
func (o *operator) at(t *testing.T, on served) (*calling, served) {
	t.Helper()
	c := o.start(append([]string{"check", "serve", "--listen", on.http, "--agent-listen", on.agent, "--interval", "250ms", "--connect-timeout", "2s"}, quick...)...)
	o.t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			c.terminate()
		}
	})
	find := func(what string) (address string) {
		re := regexp.MustCompile(what + ` on (\S+)`)
		o.await(c, "the address of "+what, 10*time.Millisecond, func() bool {
			m := re.FindStringSubmatch(c.stderr.String())
			if m != nil {
				address = m[1]
			}
			return m != nil
		})
		return address
	}
	return c, served{find("HTTP"), find("agent-check")}
}

// terminate is what an init system does.
func (c *calling) terminate() *answer {
	c.o.t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	return c.wait()
}

func (a served) get(t *testing.T, path string) (int, string) {
	t.Helper()
	r, err := http.Get("http://" + a.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// age of the last look that an answer tells of.
func age(t *testing.T, body string) time.Duration {
	t.Helper()
	var said check.Said
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		t.Fatal(err)
	}
	return time.Since(said.Seen)
}

// haproxy is a HAProxy of the test's own.
type haproxy struct{ socket string }

// balance starts HAProxy with the example's configuration, whose addresses are made
// those of the test, until the test ends.
func balance(t *testing.T, s *site, at served) haproxy {
	t.Helper()
	b, err := os.ReadFile("../../examples/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, httpPort, _ := net.SplitHostPort(at.http)
	_, agentPort, _ := net.SplitHostPort(at.agent)
	text := string(b)
	for _, change := range [][2]string{{`/run/haproxy/admin\.sock`, filepath.Join(dir, "socket")}, {`port 8008`, "port " + httpPort}, {`agent-port 8009`, "agent-port " + agentPort}, {`\bpg([123])\b`, "h$1"},
		{`10\.0\.0\.(1[123])`, "10.77.0.$1"}, {`bind 127\.0\.0\.1:`, "bind " + dir + "/"}, {`inter 1s`, "inter 200ms"}} {
		re := regexp.MustCompile(change[0])
		if !re.MatchString(text) {
			t.Fatalf("examples/haproxy.cfg has no %s", change[0])
		}
		text = re.ReplaceAllString(text, change[1])
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said buffer
	cmd := exec.Command("/usr/sbin/haproxy", "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy:\n%s", said.String())
		}
	})
	h := haproxy{socket: filepath.Join(dir, "socket")}
	s.eventually(t, "haproxy answers: "+said.String(), func() bool {
		c, err := net.Dial("unix", h.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return h
}

// tell sends HAProxy a command, and returns what it answers.
func (h haproxy) tell(t *testing.T, command string) string {
	t.Helper()
	c, err := net.Dial("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// show is a column of the servers of a proxy, by server.
func (h haproxy) show(t *testing.T, proxy, what string) map[string]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(h.tell(t, "show stat "+proxy+" 4 -1"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	out := map[string]string{}
	for _, r := range rows[1:] {
		out[r[column["svname"]]] = r[column[what]]
	}
	return out
}

// status is "h1:UP h2:DOWN …" of a proxy, the first words of what HAProxy shows.
func (h haproxy) status(t *testing.T, proxy string) string {
	t.Helper()
	var out []string
	all := h.show(t, proxy, "status")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		word, _, _ := strings.Cut(all[name], " ")
		if word == "no" { // "no check": an agent alone has not put it down
			word = "UP"
		}
		out = append(out, name+":"+word)
	}
	return strings.Join(out, " ")
}

func (h haproxy) shows(t *testing.T, proxy, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); pause(20 * time.Millisecond) {
		if got = h.status(t, proxy); got == want {
			return
		}
	}
	t.Fatalf("%s: HAProxy shows %s, want %s", proxy, got, want)
}
