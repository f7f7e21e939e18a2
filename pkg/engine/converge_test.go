package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
	"github.com/pgrepctl/pgrepctl/templates"
)

// wants gives the inventory of the world other settings.
func (w *world) wants(settings string) {
	w.t.Helper()
	text := strings.Replace(inventoryText(w.layout), "settings: {wal_keep_size: 1GB}", "settings: {wal_keep_size: 1GB, "+settings+"}", 1)
	if w.balanced {
		text += trafficText
	}
	inv, err := inventory.Parse("pgrepctl.yaml", []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	w.inv = inv
	for _, h := range inv.Hosts {
		w.hosts[h.Name].inv = h
	}
}

func (w *world) converge(restart string) *plan.Plan {
	w.t.Helper()
	text, err := templates.Plans.ReadFile("plans/converge.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := plan.Load("converge.yaml", text, w.inv, map[string]string{"restart": restart})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// converged is a cluster of two that is as its inventory says, and then gets another
// one: one setting goes up and one down.
func converged(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, layouts()[0])
	w.wants("max_wal_senders: 20")
	if _, err := w.engine(nil, nil).Apply(t.Context(), w.converge("rolling")); err != nil {
		t.Fatal(err)
	}
	w.ticks, w.changes, w.last, w.instants, w.trace = 0, 0, "", nil, nil
	w.wants("max_wal_senders: 15, max_connections: 250")
	return w
}

func (w *world) converges(t *testing.T, restart string) []string {
	t.Helper()
	pre, err := w.engine(nil, nil).Preview(t.Context(), w.converge(restart))
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.engine(nil, nil).Apply(t.Context(), w.converge(restart))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(effects(pre), r.Done); diff != "" {
		t.Errorf("-preview +apply:\n%s", diff)
	}
	if r.Status != journal.Succeeded {
		t.Errorf("status %s", r.Status)
	}
	return r.Done
}

// restarts are the hosts of the restarts among effects, in order.
func restarts(done []string) string {
	var out []string
	for _, d := range done {
		if name, what, _ := strings.Cut(d, ": "); strings.HasPrefix(what, "restart the server") {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

func TestTheWholeInventoryIsAppliedAsPreviewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layouts()[0])
	w.wants("max_wal_senders: 20")
	if got := restarts(w.converges(t, "rolling")); got != "pg1" {
		t.Errorf("restarts: %s", got)
	}
	if got := w.converges(t, "rolling"); len(got) > 0 {
		t.Errorf("a second run did: %s", strings.Join(got, "; "))
	}
	w.wants("max_wal_senders: 15, max_connections: 250")
	state := w.state()
	if got := w.converges(t, "no"); len(got) > 0 {
		t.Errorf("without being allowed to restart it did: %s", strings.Join(got, "; "))
	}
	differ(t, "-before +after", state, w.state())
	pre, err := w.engine(nil, nil).Preview(t.Context(), w.converge("no"))
	if err != nil || pre.Pending() != 2 {
		t.Errorf("%d differences pending, want one for each host: %v", pre.Pending(), err)
	}
	if got := restarts(w.converges(t, "rolling")); got != "pg2 pg1 pg2" {
		t.Errorf("restarts: %s", got)
	}
	if got := w.converges(t, "rolling"); len(got) > 0 {
		t.Errorf("a second run did: %s", strings.Join(got, "; "))
	}
}

// Where no server serves, new reads fail already: none is kept away, so that each serves
// as soon as its check lets it.
func TestRollingRestartIsDoneWhereNobodyServes(t *testing.T) {
	t.Parallel()
	w := newServing("ready")(t)
	w.restarted = nil
	w.hosts["lb"].fs.Put("/haproxy/checks-fail", "", 0o600, "")
	done := w.converges(t, "rolling")
	if restarts(done) != "pg2 pg1 pg2" {
		t.Errorf("restarts: %s", restarts(done))
	}
	for _, d := range done {
		if strings.HasPrefix(d, "lb: ") {
			t.Errorf("HAProxy was told: %s", d)
		}
	}
	if got := w.readBy(); got != "ready" {
		t.Errorf("left %s", got)
	}
}

// A standby that is restarted is read by nobody meanwhile, and gets its readers back:
// but for one that somebody else keeps them away from.
func TestRollingRestartKeepsReadersAwayAndBringsThemBack(t *testing.T) {
	t.Parallel()
	for found, let := range map[string]int{"ready": 4, "maint": 0} { // twice, at two balancers
		t.Run(found, func(t *testing.T) {
			t.Parallel()
			w := newServing(found)(t)
			was := w.readBy()
			done := w.converges(t, "rolling")
			if restarts(done) != "pg2 pg1 pg2" {
				t.Errorf("restarts: %s", restarts(done))
			}
			if got := w.readBy(); got != was {
				t.Errorf("found %s, and left %s", was, got)
			}
			if got := strings.Count(strings.Join(done, "\n"), "let reads in"); got != let {
				t.Errorf("reads are let in %d times, want %d:\n%s", got, let, strings.Join(done, "\n"))
			}
		})
	}
}

// What a dead run leaves of a rolling restart is done by the next call: all that is
// read off the servers themselves.
func TestRollingRestartGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	c := converged(t)
	if _, err := c.engine(nil, nil).Apply(t.Context(), c.converge("rolling")); err != nil {
		t.Fatal(err)
	}
	end := withoutRuns(c.state())
	for i, k := range c.instants {
		if i%raced != 0 {
			continue
		}
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			w := converged(t)
			if !w.crash(k, func() { _, _ = w.engine(nil, nil).Apply(t.Context(), w.converge("rolling")) }) {
				t.Fatal("the run ended before that")
			}
			w.converges(t, "rolling")
			differ(t, "-clean +resumed", end, withoutRuns(w.state()))
			if t.Failed() {
				t.Logf("the tool died at %s", c.trace[i])
			}
		})
	}
}

// withoutRuns leaves out the images of files, which are named after runs.
func withoutRuns(state string) string {
	var out []string
	for _, line := range strings.Split(state, "\n") {
		if !strings.Contains(line, "/.pgrepctl/run") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// A value that the server takes no start with: nobody has the cluster lock of a server that is
// down, and what keeps it down is to be taken back. Where others were restarted before it, they
// keep theirs.
func TestARestartThatTheServerDoesNotSurviveIsTakenBack(t *testing.T) {
	t.Parallel()
	for wants, others := range map[string]bool{"max_wal_senders: 15": false, "max_wal_senders: 30": true} {
		t.Run(wants, func(t *testing.T) {
			t.Parallel()
			w := converged(t)
			w.wants(wants)
			start := w.state()
			pg1 := w.hosts["pg1"]
			was, _ := pg1.fs.Get(pg1.conf("postgresql.conf"))
			w.hook = pg1.diesRestarting
			_, err := w.engine(nil, nil).Apply(t.Context(), w.converge("rolling"))
			w.hook = nil
			if err == nil || pg1.running {
				t.Fatalf("got %v", err)
			}
			var text strings.Builder
			_ = ui.PrintError(&text, err, ui.ErrorOptions{})
			for _, want := range []string{"sudo -u postgres cp ", "sudo -u postgres pg_ctlcluster 15 main start", "pgrepctl runs undo"} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, text.String())
				}
			}
			if !others {
				w.undo(t)
				differ(t, "-start +undone", start, w.state())
				return
			}
			_, err = w.engine(nil, nil).Undo(t.Context(), w.found(t))
			if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "cannot be undone") {
				t.Errorf("got %v", err)
			}
			if now, _ := pg1.fs.Get(pg1.conf("postgresql.conf")); !pg1.running || now != was {
				t.Errorf("pg1 runs: %t, with\n%s", pg1.running, now)
			}
		})
	}
}

// diesRestarting is a server that stops, and does not start again.
func (m *machine) diesRestarting(_ context.Context, name, do string) error {
	if name != m.name || !strings.Contains(do, "15 main restart") {
		return nil
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.running = false
	for _, s := range slices.Clone(m.w.sessions) {
		if s.m == m {
			s.end()
		}
	}
	m.fs.Delete(m.data("postmaster.pid"))
	return &host.ExitError{Cmd: host.Cmd{Argv: []string{"pg_ctlcluster"}}, Code: 1, Stderr: "could not start server"}
}
