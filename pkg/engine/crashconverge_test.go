package engine_test

import (
	"os"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// newFirst is a primary whose settings have drifted, and a host without a standby.
func newFirst(l layout) func(t *testing.T) *world {
	return func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t, l)
		pg1 := w.hosts["pg1"]
		pg1.config("max_connections = 200\nwal_level = replica\nmax_wal_senders = 12\nssl = on\nwal_keep_size = 64MB # drifted\n")
		pg1.load()
		w.slots["old"] = "" // of nobody
		from := postgres.LSN(0x1000000)
		w.keeps = &from
		return w
	}
}

// newDrifted is a cluster that was as its inventory says, until somebody took a rule
// away on the standby, changed a setting on both servers and left a slot behind.
func newDrifted(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, layout{})
	w.run(t, w.converge("no"))
	w.forget(t)
	pg2 := w.hosts["pg2"]
	pg2.fs.Put(pg2.conf("pg_hba.conf"), "postgres", 0o640, hbaBefore)
	for _, m := range []*machine{w.hosts["pg1"], pg2} {
		text, _ := m.fs.Get(m.conf("postgresql.conf"))
		m.fs.Put(m.conf("postgresql.conf"), "postgres", 0o644, strings.Replace(text, "wal_keep_size = 1GB", "wal_keep_size = 64MB", 1))
		m.load()
	}
	w.slots["old"] = ""
	from := postgres.LSN(0x1000000)
	w.keeps = &from
	return w
}

// newSlotless is a cluster whose standby has lost its slot, and so its stream.
func newSlotless(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, layout{})
	w.run(t, w.converge("no"))
	w.forget(t)
	delete(w.slots, "pg2")
	return w
}

// newOutgrown is a cluster that is as its inventory says, until that says other
// values: one goes up, and one down.
func newOutgrown(t *testing.T) *world {
	t.Helper()
	w := converged(t)
	w.forget(t)
	return w
}

// newServing is the same behind a balancer, which has the standby in a state.
func newServing(found string) func(t *testing.T) *world {
	return func(t *testing.T) *world {
		t.Helper()
		w := newOutgrown(t)
		w.behindHAProxy(found)
		w.wants("max_wal_senders: 15, max_connections: 250")
		w.restarted = func(m *machine) {
			if m.name == "pg2" && strings.HasPrefix(w.readBy(), "ready") {
				t.Errorf("pg2 is restarted under its readers: %s", w.readBy())
			}
		}
		return w
	}
}

// forget makes the next run the first that anybody knows of.
func (w *world) forget(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.hosts {
		kept := []string{"/var/lib/postgresql/.pgrepctl/run1"}
		m.fs.Walk(kept[0], func(p string, _ bool, _ string) { kept = append(kept, p) })
		for _, p := range kept {
			m.fs.Delete(p)
		}
	}
	w.hosts["pg1"].fs.Delete("/var/lib/postgresql/.pgrepctl") // an empty directory by now
	w.revive()
}

func convergeCases() []crashCase {
	report := map[string]string{"restart": "no"}
	absent := map[string]string{"restart": "no", "orphans": "absent"}
	return []crashCase{
		{name: "converge, a first standby", plan: "converge", vars: absent, world: newFirst(layout{}), every: 8},
		{name: "converge, a first standby, with a tablespace and its configuration in the data", plan: "converge", vars: report,
			world: newFirst(layout{configInData: true, tablespace: true}), every: 24},
		{name: "converge, what has drifted", plan: "converge", vars: absent, world: newDrifted, every: 2},
		{name: "converge, a slot that was lost", plan: "converge", vars: report, world: newSlotless},
		{name: "converge, one server restarted after the other", plan: "converge", vars: map[string]string{"restart": "rolling"}, world: newOutgrown,
			noReturn: "it runs with the new values from then on", every: 4},
		{name: "converge, restarted while nobody reads from it", plan: "converge", vars: map[string]string{"restart": "rolling"}, world: newServing("ready"),
			noReturn: "it runs with the new values from then on", every: 5},
	}
}
