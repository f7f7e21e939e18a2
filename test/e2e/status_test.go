package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

func TestStatusTellsOfEveryHostAndOfTheOneThatIsDead(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	// Hosts that wait for their bootstrap.
	if r := o.status(t); r.Hosts[0].State != status.Running || r.Hosts[0].Role != inventory.Primary || r.Hosts[1].State != status.Empty || r.Hosts[2].State != status.Empty || r.Healthy {
		t.Errorf("before: %+v", r)
	}
	apply(t, o, "h2")
	apply(t, o, "h3")
	var r status.Report
	s.eventually(t, "all is well", func() bool { r = o.status(t); return r.Healthy })
	for i, h := range r.Hosts[1:] {
		if h.Host != s.names()[i+1] || h.State != status.Streaming || h.Upstream != "h1" || h.SlotState != status.SlotActive || h.Timeline != r.Hosts[0].Timeline || h.LagBytes == nil {
			t.Errorf("%+v", h)
		}
	}
	o.call("status", "--exit-code").exits(0).says("h1", "h2", "h3", "streaming")

	s.sql(t, "h2", "postgres", "select pg_wal_replay_pause()")
	s.sql(t, "h1", "bench", "update pgbench_branches set bbalance = bbalance + 1")
	s.eventually(t, "the lag of a paused standby is seen", func() bool {
		r := o.status(t)
		return r.Hosts[1].ReplayPaused && r.Hosts[1].LagBytes != nil && *r.Hosts[1].LagBytes > 0
	})

	o.call("status").exits(0).says("replay is paused", "replay resume h2")

	showsEachDanger(t, s, o)

	watch := o.start("status", "--watch=200ms", "--connect-timeout", "3s")
	blocks := func() []string { return strings.Split(watch.stdout.String(), "\n\n") }
	o.await(watch, "three blocks", 20*time.Millisecond, func() bool { return len(blocks()) > 3 })
	sessions := `select string_agg(pid::text, ' ' order by pid) from pg_stat_activity where application_name = 'pgrepctl'`
	was := s.sql(t, "h1", "postgres", sessions)
	s.do(t, s.lab.Kill(t.Context(), "h3"))
	o.await(watch, "the dead host among those that answer", 20*time.Millisecond, func() bool {
		b := blocks()
		last := b[len(b)-2]
		return strings.Contains(last, "h3    ?        unreachable") && strings.Contains(last, "h1    primary  running")
	})
	if now := s.sql(t, "h1", "postgres", sessions); now != was || was == "" {
		t.Errorf("sessions of a watch on h1: %q, then %q", was, now)
	}
	watch.interrupt()
	watch.wait().exits(0)

	began := time.Now()
	a := o.call("status", "-o", "json", "--connect-timeout", "3s", "--exit-code").exits(3)
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("with a dead host it took %s", took)
	}
	a.decode(&r)
	if r.Hosts[0].State != status.Running || r.Hosts[1].State != status.Paused || r.Hosts[2].State != status.Unreachable {
		t.Errorf("with a dead host: %s %s %s", r.Hosts[0].State, r.Hosts[1].State, r.Hosts[2].State)
	}
	o.call("status", "--connect-timeout", "3s").exits(0).says("unreachable", "paused")
	var fields map[string]any
	if err := json.Unmarshal([]byte(a.stdout), &fields); err != nil || !strings.HasPrefix(fields["format"].(string), "pgrepctl.status/") {
		t.Errorf("%v: %s", err, a.stdout)
	}
}

// showsEachDanger damages a cluster of h1 and its standbys h2 and h3, one thing
// after the other.
func showsEachDanger(t *testing.T, s *site, o *operator) {
	t.Helper()
	// Each kind of trouble is a problem with the command that ends it.
	is := func(host, id, hint string) {
		t.Helper()
		s.eventually(t, host+": "+id, func() bool {
			for _, h := range o.status(t).Hosts {
				for _, n := range h.Notes {
					if h.Host == host && n.ID == id && n.Severity == status.Problem && strings.Contains(n.Hint, hint) {
						return true
					}
				}
			}
			return false
		})
	}
	tree := func() string { return o.call("topology").exits(0).stdout }

	pid := s.sql(t, "h3", "postgres", "select pid from pg_stat_wal_receiver")
	s.at(t, "h3", "kill -STOP "+pid)
	s.sql(t, "h1", "bench", "create table wide as select repeat('x', 1000) from generate_series(1, 20000)")
	is("h3", "receiver-stuck", "pg_terminate_backend")
	s.at(t, "h3", "kill -CONT "+pid)
	s.eventually(t, "the receiver goes on", func() bool { return o.status(t).Hosts[2].State == status.Streaming })

	s.at(t, "h1", "mkdir /var/tmp/received; chown postgres /var/tmp/received; setsid $asp $bin/pg_receivewal -D /var/tmp/received >/dev/null 2>&1 </dev/null &")
	s.sql(t, "h1", "postgres", "select pg_create_physical_replication_slot('old', true)")
	s.eventually(t, "the tree has all that streams", func() bool {
		var lines []string
		for line := range strings.Lines(tree()) {
			if f := strings.Fields(line); strings.HasPrefix(line, "├") || strings.HasPrefix(line, "└") {
				lines = append(lines, f[1])
			}
		}
		return strings.Join(lines, " ") == "h2 h3 pg_receivewal slot"
	})
	o.call("topology", "--exit-code").exits(3).says("slot drop old --on h1")

	s.sql(t, "h1", "postgres", "alter system set max_connections = 123")
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	is("h1", "pending-restart", "restart")

	s.sql(t, "h3", "postgres", "select pg_promote()")
	is("h3", "writable-twin", "standby reseed h3")
	is("h1", "two-primaries", "stop")
	if got := tree(); !strings.Contains(got, "\nh3 ") {
		t.Errorf("a second root is missing:\n%s", got)
	}
	s.at(t, "h3", "as touch $data/standby.signal; pg_ctlcluster $major main restart -m fast")
	is("h3", "diverged", "standby reseed h3")

	s.sql(t, "h1", "postgres", "alter system set max_slot_wal_keep_size = '1MB'")
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	for range 4 {
		s.sql(t, "h1", "postgres", "select txid_current(), pg_switch_wal()")
	}
	s.sql(t, "h1", "postgres", "checkpoint")
	is("h3", "slot-lost", "standby reseed h3")
}

func (o *operator) status(t *testing.T) status.Report {
	t.Helper()
	var r status.Report
	o.call("status", "-o", "json").exits(0).decode(&r)
	return r
}

func TestStatusNamesWhatAnInterruptedRunOwes(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.copying(t, o).kill()
	s.fullSpeed(t)
	o.call("status").exits(0).says("partial copy", o.runID(), "runs resume")
	r := o.status(t)
	if r.Hosts[1].State != status.Partial || r.Hosts[1].SlotState != status.SlotMissing || slices.ContainsFunc(r.Hosts[1].Notes, func(n status.Note) bool { return n.ID == "slot-missing" }) {
		t.Errorf("%+v", r.Hosts[1])
	}
}

func TestDoctorFindsWhatIsInTheWayWithAnIDToAccept(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	was := s.before(t, strict)
	o.call("doctor").exits(0)
	s.unchanged(t, was, strict)
	s.at(t, "h2", "mv /usr/bin/rsync /usr/bin/rsync.away")
	o.call("doctor").exits(3).says("rsync.missing", "h2")
	o.call("doctor", "-o", "json").exits(3).says(`"rsync.missing"`)
}
