package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// pending is what a plan would do, without the taking and releasing of the lock, as
// "host: description", and what it leaves, as "host * what".
func (a *answer) pending() []string {
	a.t.Helper()
	var doc ui.Preview
	a.decode(&struct {
		Format  string
		Summary any
		*ui.Preview
	}{Preview: &doc})
	var out []string
	for _, l := range doc.Lines {
		for _, e := range l.Effects {
			if !strings.HasSuffix(e.Subject, "the cluster lock") {
				out = append(out, e.Host+": "+e.String())
			}
		}
		for _, h := range l.Held {
			out = append(out, l.Host+" * "+h.What)
		}
	}
	return out
}

// drifts asserts what a plan has to do, word for word, and that it says so by its
// exit code.
func (o *operator) drifts(code int, want ...string) {
	o.t.Helper()
	got := o.call("plan", "--exit-code", "-o", "json").exits(code).pending()
	for i := range got {
		got[i] = lineNumber.ReplaceAllString(got[i], "line N")
	}
	if d := cmp.Diff(want, got); d != "" {
		o.t.Errorf("pending (-want +got):\n%s", d)
	}
}

var lineNumber = regexp.MustCompile(`line \d+`)

// One lab, one story: a primary and two empty hosts, of which the one shall stream from
// the other, and what becomes of them.
func TestPlanAndApplyMakeTheHostsWhatTheInventorySays(t *testing.T) {
	s := take(t, etc)
	inventory := func(t *testing.T, settings string) *operator {
		return newOperator(t, s).with("service:", `settings: {listen_addresses: "*", wal_retrieve_retry_interval: 500ms, `+settings+"}\n  service:", "h3: {", "h3: {upstream: h2, ")
	}
	const first = "work_mem: 9MB, max_connections: 130, max_prepared_transactions: 3"
	o := inventory(t, first)
	hba, conf, auto := "/etc/postgresql/15/main/pg_hba.conf", "/etc/postgresql/15/main/postgresql.conf", "/var/lib/postgresql/15/main/postgresql.auto.conf"

	was := s.before(t, lenient)
	o.call("plan", "--restart", "rolling", "--exit-code").exits(2).says("the primary: no writes meanwhile; max_connections 100 to 130", "h2", "h3", "copy the data directory from h1", "work_mem = 9MB")
	s.unchanged(t, was, lenient)

	// The primary is restarted alone, and the standbys are made with what it has then.
	if restarts := restarted(converge(t, o, "--restart", "rolling")); !slices.Equal(restarts, []string{"h1"}) {
		t.Errorf("restarted: %v", restarts)
	}
	for h, up := range map[string]string{"h2": "h1", "h3": "h2"} {
		if got := s.sql(t, up, "postgres", "select application_name, state, (select string_agg(slot_name, ' ') from pg_replication_slots where active) from pg_stat_replication"); got != h+"|streaming|"+h {
			t.Errorf("what streams from %s: %s", up, got)
		}
		s.caughtUp(t, h)
		if got := s.sql(t, h, "postgres", "show work_mem"); got != "9MB" {
			t.Errorf("%s: work_mem = %s", h, got)
		}
	}
	s.clean(t)
	o.call("plan", "--detailed-exitcode").exits(0).says("nothing to do")

	t.Run("drift", func(t *testing.T) {
		o := inventory(t, first)
		s.at(t, "h2", "sed -i 's/^work_mem.*/work_mem = 1MB/' "+conf+"; as psql -XAtqc 'select pg_reload_conf()'")
		s.at(t, "h1", "sed -i '/10.77.0.12/d' "+hba+"; as psql -XAtqc 'select pg_reload_conf()'; as psql -XAtqc \"select pg_create_physical_replication_slot('forgotten')\"; as psql -XAtqc \"alter system set work_mem = '1MB'\" -c 'select pg_reload_conf()'")
		s.at(t, "h3", `as psql -XAtqc "alter system set primary_slot_name = ''" -c "select pg_reload_conf()"`)
		s.eventually(t, "h3 streams without a slot", func() bool {
			return s.sql(t, "h2", "postgres", "select active, (select state from pg_stat_replication) from pg_replication_slots") == "f|streaming"
		})
		s.sql(t, "h2", "postgres", "select pg_drop_replication_slot('h3')")
		o.drifts(2,
			"h1: edit "+auto+" (without work_mem, which ALTER SYSTEM has set)",
			"h1: reload the server (for work_mem)",
			"h1: edit "+hba+" (+1 rule at line N)",
			"h1: reload the server (for pg_hba.conf)",
			"h2: edit "+conf+" (work_mem = 9MB)",
			"h2: reload the server (for work_mem)",
			"h2: create slot h3 (physical, keeps WAL from now on)",
			"h3: edit "+auto+" (primary_slot_name)",
			"h3: reload the server (for primary_slot_name)",
			"h3: wait until it streams from h2 and has replayed what h2 wrote after its start (gives up after 10m0s without progress)",
			"h3: verify the standby (in recovery, same system and timeline, slot in use, replay not paused), then a restart point",
			"h1 * slot forgotten is used by nobody, and by no host of the inventory",
		)
		converge(t, o)
		o.drifts(0, "h1 * slot forgotten is used by nobody, and by no host of the inventory")
		if got := s.sql(t, "h2", "postgres", "select slot_name, active from pg_replication_slots"); got != "h3|t" {
			t.Errorf("slots of h2: %s", got)
		}
		o.call("apply", "--prune", "--yes").exits(0).says("drop slot forgotten")
	})

	t.Run("saved plan", func(t *testing.T) {
		o := inventory(t, strings.Replace(first, "9MB", "7MB", 1))
		file := filepath.Join(t.TempDir(), "saved.plan")
		shown := o.call("plan", "--out", file, "-o", "json").exits(0).says("work_mem = 7MB", " apply "+file).pending()
		info, err := os.Stat(file)
		s.do(t, err)
		if text := string(read(t, file)); info.Mode().Perm() != 0o600 || strings.Contains(text, s.password(t)) || strings.Contains(text, "SCRAM-SHA-256") {
			t.Errorf("the saved plan has mode %o, or holds a secret", info.Mode().Perm())
		}
		s.at(t, "h3", "echo '# a remark' >> "+conf)
		was := s.before(t, lenient)
		o.call("apply", file, "--yes").exits(6).says("h3", "file "+conf+" has changed since the plan was made", "then sha256:", "now sha256:", "plan --out")
		s.unchanged(t, was, lenient)
		s.at(t, "h3", "sed -i '$d' "+conf)
		s.sql(t, "h1", "postgres", "select pg_create_physical_replication_slot('new')")
		o.call("apply", file, "--yes").exits(6).says("h1", "slots has changed", "then h2, now h2, new")
		s.sql(t, "h1", "postgres", "select pg_drop_replication_slot('new')")

		var rep engine.Report
		o.call("apply", file, "--yes", "-o", "json").exits(0).decode(&rep)
		if d := cmp.Diff(shown, rep.Done[1:len(rep.Done)-1]); d != "" { // but for the lock
			t.Errorf("-shown +done:\n%s", d)
		}
		o.call("apply", file, "--yes").exits(6).says("has changed since the plan was made")
	})

	t.Run("rolling restart", func(t *testing.T) {
		// One up, one down, at once, and one that no order binds.
		o := inventory(t, "work_mem: 7MB, max_connections: 150, max_prepared_transactions: 1, shared_buffers: 20MB")
		held := "max_connections 130 to 150, max_prepared_transactions 3 to 1, shared_buffers 128MB to 20MB: needs a restart"
		o.drifts(2, "h3 * "+held, "h2 * "+held, "h1 * "+held)
		before := s.settings(t)
		o.call("apply", "--yes").exits(0).says("left as it is: 3", "--restart=rolling")
		if d := cmp.Diff(before, s.settings(t)); d != "" {
			t.Errorf("it did something without being allowed to:\n%s", d)
		}
		// A restart would end a pause that somebody wants.
		o.call("replay", "pause", "h3", "--yes").exits(0)
		o.call("apply", "--restart", "rolling", "--yes").exits(6).says("h3", "paused", "replay resume h3")
		if d := cmp.Diff(before, s.settings(t)); d != "" {
			t.Errorf("it restarted beside a pause:\n%s", d)
		}
		o.call("replay", "resume", "h3", "--yes").exits(0)
		shown := o.call("plan", "--restart", "rolling", "-o", "json").exits(0).pending()
		rep := converge(t, o, "--restart", "rolling")
		if d := cmp.Diff(shown, rep.Done[1:len(rep.Done)-1]); d != "" {
			t.Errorf("-shown +done:\n%s", d)
		}
		if d := cmp.Diff([]string{"h3", "h2", "h1", "h2", "h3"}, restarted(rep)); d != "" {
			t.Errorf("restarts:\n%s", d)
		}
		for h, got := range s.settings(t) {
			if got != "150 1 20MB" {
				t.Errorf("%s runs with %s", h, got)
			}
		}
		for _, h := range []string{"h2", "h3"} {
			if bad := s.at(t, h, `grep -e 'insufficient parameter' -e PANIC $log || true`); bad != "" {
				t.Errorf("log of %s:\n%s", h, bad)
			}
		}
		o.drifts(0)
		s.clean(t)
	})

	t.Run("a slot that was lost", func(t *testing.T) {
		slotOfALiveStandby(t, s, inventory(t, "work_mem: 7MB, max_connections: 150, max_prepared_transactions: 1, shared_buffers: 20MB"))
	})

	t.Run("without a host", func(t *testing.T) {
		leavesOut(t, s, inventory(t, "work_mem: 8MB, max_connections: 160, max_prepared_transactions: 1, shared_buffers: 20MB"))
	})
}

// A standby that has lost its slot gets one, and the undo takes that away again, though
// the standby uses it.
func slotOfALiveStandby(t *testing.T, s *site, o *operator) {
	lost := func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_replication_slots, pg_stat_replication") == "0"
	}
	s.at(t, "h1", `until as psql -XAtqc "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null; select pg_drop_replication_slot('h2')" >/dev/null 2>&1; do sleep 0.1; done`)
	s.eventually(t, "h2 has lost its slot", lost)
	converge(t, o)
	s.follows(t, "h2", "h1")
	a := o.call("runs", "undo", o.lastRun(), "--yes").exits(0)
	if !lost() {
		t.Error("the undo has left the slot, or the stream")
	}
	if a.took > 30*time.Second {
		t.Errorf("the undo took %s: it waited for a walsender that never ends", a.took)
	}
	converge(t, o)
	s.follows(t, "h2", "h1")
	s.caughtUp(t, "h3")
}

// A host that lets nobody in, or has no power, ends a plan, and is left out with what
// streams from it.
func leavesOut(t *testing.T, s *site, o *operator) {
	s.sql(t, "h1", "postgres", "alter system set wal_sender_timeout = '3s'")
	s.sql(t, "h1", "postgres", "select pg_reload_conf()")
	keys := "/home/admin/.ssh/authorized_keys"
	s.at(t, "h2", "mv "+keys+" /root/keys")
	o.call("plan").exits(4).says("h2", "the same command with --without h2")
	o.call("plan", "--without", "h1").exits(65).says("cannot be left out")
	o.call("plan", "--without", "h2", "--prune").exits(64)
	without := func() *answer {
		return o.call("plan", "--without", "h2", "--restart", "rolling", "--exit-code", "-o", "json").exits(2).says("not looked at: h2\n", "not looked at: h3, which streams from h2\n")
	}
	// It streams, and may have less than what the primary would get.
	held := "max_connections 150 to 160: h2, h3 may have less, and would stop"
	if got := without().pending(); !slices.Contains(got, "h1 * "+held) || strings.Contains(strings.Join(got, "\n"), "\nh2") {
		t.Errorf("without h2 and h3 there is pending:\n%s", strings.Join(got, "\n"))
	}
	o.call("apply", "--without", "h2", "--yes").exits(0).says("not looked at: h2\n")
	if got := s.sql(t, "h1", "postgres", "show work_mem"); got != "8MB" {
		t.Errorf("work_mem of h1 is %s", got)
	}
	s.at(t, "h2", "mv /root/keys "+keys)
	s.do(t, s.lab.Kill(t.Context(), "h2"))
	s.eventually(t, "the walsender of h2 has ended", func() bool {
		return s.sql(t, "h1", "postgres", "select count(*) from pg_stat_replication") == "0"
	})
	o.call("plan", "--connect-timeout", "2s").exits(5).says("h2", "the same command with --without h2")
	if got := strings.Join(without().pending(), "\n"); !strings.Contains(got, "h1: restart the server (the primary: no writes meanwhile; max_connections 150 to 160") {
		t.Errorf("nobody streams, and there is pending:\n%s", got)
	}
}

// TestARestartThatANewStandbyNeedsHasOneWay: h3 shall stream from h2, which listens to
// nobody until it is restarted.
func TestARestartThatANewStandbyNeedsHasOneWay(t *testing.T) {
	s := take(t, etc)
	apply(t, newOperator(t, s), "h2")
	o := newOperator(t, s).with("h3: {", "h3: {upstream: h2, ")
	const way = "apply --restart=rolling --without h3"
	o.call("standby", "bootstrap", "h3", "--yes").exits(6).says("listen_addresses of h2", "listen_addresses: '*' under settings: of h2 in the inventory", way)
	o = o.with("service:", "settings: {listen_addresses: \"*\"}\n  service:")
	o.call("plan", "--restart", "rolling").exits(6).says("listen_addresses of h2", way)
	if got := restarted(converge(t, o, "--restart=rolling", "--without", "h3")); !slices.Equal(got, []string{"h2"}) {
		t.Errorf("restarted: %v", got)
	}
	converge(t, o)
	s.follows(t, "h3", "h2")
	o.drifts(0)
}

// restarted are the hosts whose servers were restarted, in order.
func restarted(rep engine.Report) []string {
	var out []string
	for _, d := range rep.Done {
		if name, what, _ := strings.Cut(d, ": "); strings.HasPrefix(what, "restart the server") {
			out = append(out, name)
		}
	}
	return out
}

// settings are those of every host that a restart brings.
func (s *site) settings(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, h := range s.names() {
		out[h] = s.sql(t, h, "postgres", "select current_setting('max_connections') || ' ' || current_setting('max_prepared_transactions') || ' ' || current_setting('shared_buffers')")
	}
	return out
}

// converge applies the inventory and returns the report.
func converge(t *testing.T, o *operator, args ...string) engine.Report {
	t.Helper()
	var rep engine.Report
	o.call(append([]string{"apply", "--yes", "-o", "json"}, args...)...).exits(0).decode(&rep)
	return rep
}
