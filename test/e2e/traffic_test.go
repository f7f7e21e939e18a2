package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
)

const haproxyConf = `global
  stats socket /run/lab-haproxy.sock user postgres mode 600 level admin
  pidfile /run/lab-haproxy.pid
defaults
  mode tcp
  timeout connect 3s
  timeout client 1h
  timeout server 1h
listen reads
  bind %[1]s:5000
  server h2 %[2]s:5432 check inter 200ms
  server h3 %[3]s:5432 check inter 200ms
`

const pgbouncerConf = `[databases]
bench = host=%[1]s port=5000
[pgbouncer]
listen_addr = %[1]s
listen_port = 6432
unix_socket_dir = /var/run/postgresql
auth_type = trust
auth_file = /etc/pgbouncer/lab.txt
pool_mode = transaction
logfile = /var/log/postgresql/lab-pgbouncer.log
pidfile = /var/run/postgresql/lab-pgbouncer.pid
`

// balancers starts HAProxy and, in front of it, PgBouncer on h1, and lets h1's
// clients in to the standbys.
func (s *site) balancers(t *testing.T) {
	t.Helper()
	address := map[string]string{}
	for _, h := range s.lab.Hosts() {
		address[h.Name] = h.Address.String()
	}
	a := []any{address["h1"], address["h2"], address["h3"]}
	for _, name := range []string{"h2", "h3"} {
		s.at(t, name, fmt.Sprintf("echo 'host bench postgres %s/32 trust' >> $config/pg_hba.conf; echo \"listen_addresses = '*'\" >> $config/postgresql.conf; as pg_ctlcluster $major main restart", address["h1"]))
		s.caughtUp(t, name)
	}
	t.Cleanup(func() {
		s.at(t, "h1", `for f in /run/lab-haproxy.pid /var/run/postgresql/lab-pgbouncer.pid; do if [ -e $f ]; then kill $(cat $f); while kill -0 $(cat $f) 2>/dev/null; do sleep 0.05; done; fi; done
rm -f /run/lab-haproxy.* /var/run/postgresql/lab-pgbouncer.pid /etc/haproxy/lab.cfg /etc/pgbouncer/lab.* /var/log/postgresql/lab-pgbouncer.log`)
	})
	s.at(t, "h1", fmt.Sprintf("cat > /etc/haproxy/lab.cfg <<'CONF'\n"+haproxyConf+"CONF\nhaproxy -D -f /etc/haproxy/lab.cfg >/dev/null 2>&1", a...))
	s.at(t, "h1", fmt.Sprintf("cat > /etc/pgbouncer/lab.ini <<'CONF'\n"+pgbouncerConf+"CONF\necho '\"postgres\" \"\"' > /etc/pgbouncer/lab.txt; chown postgres /etc/pgbouncer/lab.*\n$asp pgbouncer -q -d /etc/pgbouncer/lab.ini >/dev/null 2>&1", a[0]))
}

// traffic is the inventory's section for those balancers, to be put before hosts.
func (s *site) traffic() string {
	return fmt.Sprintf(`traffic:
  drain_timeout: 30s
  balancers:
    lb: {kind: haproxy, address: %[1]s, os_user: postgres, socket: /run/lab-haproxy.sock, backend: reads}
    pool: {kind: pgbouncer, address: %[1]s, databases: bench}
    file: {kind: file, path: /var/lib/postgresql/maintenance}
hosts:
`, s.lab.Hosts()[0].Address.String())
}

// readers reads through PgBouncer and HAProxy until stop, which returns how many reads
// there were and asserts that none failed.
func (s *site) readers(t *testing.T) (stop func() int64) {
	t.Helper()
	var reads atomic.Int64
	end, ended := make(chan struct{}), make(chan string, 1)
	address := s.lab.Hosts()[0].Address.String()
	go func() {
		for {
			select {
			case <-end:
				ended <- ""
				return
			default:
			}
			// Ten clients that keep their connections, each with 50 transactions.
			out, err := s.lab.Exec(t.Context(), "h1", []string{"sh", "-s"}, s.variables("h1")+asPostgres+fmt.Sprintf(
				"echo 'select count(*) from pgbench_branches;' > /tmp/reads.sql; as pgbench -n -c 10 -t 50 -f /tmp/reads.sql -h %s -p 6432 -U postgres bench 2>&1; rm -f /tmp/reads.sql", address))
			if err != nil || strings.Contains(out, "error") || strings.Contains(out, "aborted") {
				ended <- fmt.Sprintf("%v\n%s", err, out)
				return
			}
			reads.Add(500)
		}
	}()
	return func() int64 {
		t.Helper()
		close(end)
		if failed := <-ended; failed != "" {
			t.Errorf("a read failed: %s", failed)
		}
		return reads.Load()
	}
}

func (s *site) balancer(t *testing.T, server string) string {
	t.Helper()
	return s.at(t, "h1", `as perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/lab-haproxy.sock") or die; print $s "show servers state reads\n"; while (<$s>) { @f = split; print "$f[5] $f[6]" if $f[3] eq "`+server+`" }'`)
}

func TestADrainedStandbyIsReadByNobodyAndNoReadFails(t *testing.T) {
	s := take(t, etc)
	plain := newOperator(t, s)
	apply(t, plain, "h2")
	apply(t, plain, "h3")
	s.balancers(t)
	o := newOperator(t, s).with("hosts:\n", s.traffic())
	s.eventually(t, "both serve", func() bool { return s.balancer(t, "h2") == "2 0" && s.balancer(t, "h3") == "2 0" })
	o.call("traffic", "show").exits(0).says("lb", "reads", "h2", "serving", "in front")
	stop := s.readers(t)
	reading := func(name string) bool {
		return s.sql(t, name, "postgres", "select count(*) > 0 from pg_stat_activity where usename = 'postgres' and application_name = 'pgbench'") == "t"
	}
	s.eventually(t, "h2 is read", func() bool { return reading("h2") })

	dry := o.call("traffic", "drain", "h2", "--dry-run").exits(0).says("keep reads away", "reconnect", "wait until", "/var/lib/postgresql/maintenance")
	if s.balancer(t, "h2") != "2 0" {
		t.Errorf("a dry run drained it: %s", dry.stdout)
	}
	o.call("traffic", "drain", "h2", "--yes").exits(0)
	if reading("h2") || s.balancer(t, "h2") != "2 8" || s.at(t, "h2", "cat /var/lib/postgresql/maintenance") == "" {
		t.Errorf("h2 is not drained: %s", s.balancer(t, "h2"))
	}
	o.call("traffic", "drain", "h2", "--yes").exits(0).says("drained already")
	o.call("traffic", "drain", "h3", "--yes").exits(6).says("last server")
	s.eventually(t, "h3 is read", func() bool { return reading("h3") })

	s.sql(t, "h2", "postgres", "select pg_wal_replay_pause()")
	o.call("traffic", "restore", "h2", "--yes").exits(6).says("replay is paused")
	s.sql(t, "h2", "postgres", "select pg_wal_replay_resume()")
	o.call("traffic", "restore", "h2", "--yes").exits(0)
	s.eventually(t, "h2 is read again", func() bool { return reading("h2") })
	if reads := stop(); reads == 0 {
		t.Error("nothing was read")
	}
	if got := s.at(t, "h2", "ls /var/lib/postgresql/maintenance 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("the health file is still there: %s", got)
	}
	// The state found is the state put back.
	s.at(t, "h1", `as perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/lab-haproxy.sock") or die; print $s "set server reads/h2 state maint\n"; <$s>'`)
	var rep engine.Report
	o.call("traffic", "restore", "h2", "--yes", "-o", "json").exits(0).decode(&rep)
	if s.balancer(t, "h2") != "2 0" {
		t.Errorf("h2: %s", s.balancer(t, "h2"))
	}
	o.call("runs", "undo", rep.Run, "--yes").exits(0)
	if got := s.balancer(t, "h2"); !strings.HasSuffix(got, " 1") {
		t.Errorf("the undo of a restore did not put maintenance back: %s", got)
	}
}

// TestNoReadFailsWhileApplyRestartsEachServer: readers of both standbys notice nothing
// of three restarts; a standby that was in maintenance before still is.
func TestNoReadFailsWhileApplyRestartsEachServer(t *testing.T) {
	s := take(t, etc)
	plain := newOperator(t, s)
	apply(t, plain, "h2")
	apply(t, plain, "h3")
	s.balancers(t)
	bothServe := func() bool { return s.balancer(t, "h2") == "2 0" && s.balancer(t, "h3") == "2 0" }
	s.eventually(t, "both serve", bothServe)
	wants := func(connections string) *operator {
		return newOperator(t, s).with("hosts:\n", s.traffic(), "service:", `settings: {listen_addresses: "*", max_connections: `+connections+"}\n  service:")
	}
	o := wants("120")
	was := s.before(t, lenient)
	shown := o.call("plan", "--restart", "rolling", "-o", "json").exits(0).pending()
	s.unchanged(t, was, lenient)
	stop := s.readers(t)
	rep := converge(t, o, "--restart", "rolling")
	if d := cmp.Diff(shown, rep.Done[1:len(rep.Done)-1]); d != "" {
		t.Errorf("-shown +done:\n%s", d)
	}
	if got := restarted(rep); len(got) != 3 || got[2] != "h1" {
		t.Errorf("restarts: %v", got)
	}
	if reads := stop(); reads == 0 {
		t.Error("nothing was read")
	}
	if !bothServe() {
		t.Errorf("h2: %s, h3: %s", s.balancer(t, "h2"), s.balancer(t, "h3"))
	}
	o.drifts(0)

	o.call("traffic", "drain", "h3", "--yes").exits(0)
	o = wants("130")
	o.call("plan", "--restart", "rolling").exits(6).says("h2 is the last server that serves", "traffic drain h2 --last")
	o.call("traffic", "drain", "h2", "--last", "--yes").exits(0)
	converge(t, o, "--restart", "rolling")
	if got := s.balancer(t, "h2") + ", " + s.balancer(t, "h3"); got != "2 8, 2 8" {
		t.Errorf("what was drained before the restarts is %s", got)
	}
	o.call("traffic", "restore", "h2", "--yes").exits(0)
	o.call("traffic", "restore", "h3", "--yes").exits(0)

	// Where none serves, nobody is kept away, and a restart makes it no worse.
	s.at(t, "h1", `p=$(cat /run/lab-haproxy.pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.05; done
sed -i 's/ check inter/ check port 1 inter/' /etc/haproxy/lab.cfg; haproxy -D -f /etc/haproxy/lab.cfg >/dev/null 2>&1`)
	s.eventually(t, "none serves", func() bool { return s.balancer(t, "h2") == "0 0" && s.balancer(t, "h3") == "0 0" })
	o = wants("140")
	o.call("traffic", "show").exits(0).says("down")
	if got := restarted(converge(t, o, "--restart", "rolling")); len(got) != 3 {
		t.Errorf("restarts while none serves: %v", got)
	}
	if got := s.balancer(t, "h2") + ", " + s.balancer(t, "h3"); got != "0 0, 0 0" {
		t.Errorf("what did not serve before the restarts is %s", got)
	}
}
