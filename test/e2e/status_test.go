package e2e

import (
	"encoding/json"
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
		if h.Host != s.names()[i+1] || h.State != status.Streaming || h.Upstream != "h1" || h.SlotState != status.SlotActive || h.Timeline != 1 || h.LagBytes == nil {
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

	s.do(t, s.lab.Kill(t.Context(), "h3"))
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
	if r.Hosts[1].State != status.Partial || r.Hosts[1].SlotState != status.SlotInactive {
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
