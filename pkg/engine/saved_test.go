package engine_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// saved is a plan of the world's inventory, as it is in its file.
func (w *world) saved(t *testing.T) []byte {
	t.Helper()
	w.inv.File = filepath.Join(t.TempDir(), "pgrepctl.yaml")
	if err := os.WriteFile(w.inv.File, []byte("cluster: shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := w.engine(nil, nil)
	p := w.converge("rolling")
	pre, err := e.Preview(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Save(p, pre)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{canary, canaryKey, "SCRAM-SHA-256$"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the saved plan holds %q", secret)
		}
	}
	return text
}

// applySaved is what the command line does.
func (w *world) applySaved(t *testing.T, text []byte) (*engine.Preview, *engine.Report, error) {
	t.Helper()
	s, err := engine.ParseSaved("saved.plan", text)
	if err != nil {
		t.Fatal(err)
	}
	e := w.engine(nil, nil)
	p, err := e.Bind(t.Context(), s)
	if err != nil {
		return nil, nil, err
	}
	pre, err := e.Preview(t.Context(), p)
	if err == nil {
		err = e.Same(pre)
	}
	if err != nil {
		return pre, nil, err
	}
	r, err := e.Apply(t.Context(), p)
	return pre, r, err
}

func TestASavedPlanDoesWhatItShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layouts()[0])
	w.wants("max_wal_senders: 20")
	text := w.saved(t)
	var shown engine.Preview
	if err := json.Unmarshal([]byte(strings.Replace(string(text), `"steps"`, `"lines"`, 1)), &shown); err != nil {
		t.Fatal(err)
	}
	_, r, err := w.applySaved(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(effects(&shown), r.Done); diff != "" {
		t.Errorf("-saved +done:\n%s", diff)
	}
	if _, _, err := w.applySaved(t, text); fault.ClassOf(err) != fault.Refused {
		t.Errorf("it was done twice: %v", err)
	}
}

func TestASavedPlanIsRefusedOnceAFactHasChanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(w *world)
		says   string
	}{
		"a file": {func(w *world) {
			m := w.hosts["pg2"]
			m.fs.Put(m.conf("postgresql.conf"), "postgres", 0o644, "max_connections = 90\n")
		}, "pg2: file /etc/postgresql/15/main/postgresql.conf has changed since the plan was made: then sha256:"},
		"a file's mode": {func(w *world) {
			m := w.hosts["pg1"]
			m.fs.Put(m.conf("pg_hba.conf"), "postgres", 0o644, hbaBefore)
		}, "pg1: file /etc/postgresql/15/main/pg_hba.conf has changed"},
		"a setting": {func(w *world) {
			m := w.hosts["pg1"]
			m.loaded["postgresql.conf"] = strings.Replace(m.loaded["postgresql.conf"], "200", "300", 1)
		}, "pg1: setting max_connections has changed since the plan was made: then 200, now 300"},
		"a slot": {func(w *world) { w.slots["new"] = "" }, "pg1: slots has changed since the plan was made: then nothing, now new"},
		"a role": {func(w *world) { w.roles["replicator"] = "SCRAM-SHA-256$x" }, "pg1: role replicator has changed since the plan was made: then nothing, now exists, login, replication"},
		"a data directory": {func(w *world) {
			m := w.hosts["pg2"]
			m.fs.Put(m.data("base/1"), "postgres", 0o600, "x")
		}, "pg2: data directory has changed since the plan was made: then empty, now foreign"},
		"the inventory": {func(w *world) {
			if err := os.WriteFile(w.inv.File, []byte("cluster: shop # \n"), 0o600); err != nil {
				panic(err)
			}
		}, "pgrepctl.yaml has changed since the plan was made"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layouts()[0])
			text := w.saved(t)
			c.change(w)
			before := w.state()
			_, _, err := w.applySaved(t, text)
			if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), c.says) {
				t.Errorf("class %d: %v", fault.ClassOf(err), err)
			}
			differ(t, "-before +after", before, w.state())
		})
	}
}

// Of a passfile no hash is kept: what the plan would do tells.
func TestASavedPlanIsRefusedWhenItWouldDoSomethingElse(t *testing.T) {
	t.Parallel()
	w := converged(t)
	text := w.saved(t)
	const passfile = "/var/lib/postgresql/.pgrepctl/shop.pgpass"
	was, _ := w.hosts["pg2"].fs.Get(passfile)
	w.hosts["pg2"].fs.Put(passfile, "postgres", 0o600, was+"# another line\n")
	_, _, err := w.applySaved(t, text)
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "passfile: the saved plan shows: nothing; now it would: pg2: edit passfile") {
		t.Errorf("class %d: %v", fault.ClassOf(err), err)
	}
}

// What changes after the last look is seen by the step itself.
func TestASavedPlanEndsAtTheStepThatWouldDoSomethingElse(t *testing.T) {
	t.Parallel()
	w := converged(t)
	text := w.saved(t)
	m := w.hosts["pg1"]
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg2" && strings.Contains(do, "restart") {
			m.fs.Put(m.conf("postgresql.conf"), "postgres", 0o644, "max_connections = 250\nmax_wal_senders = 20\nwal_keep_size = 1GB\n")
		}
		return nil
	}
	_, r, err := w.applySaved(t, text)
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "pg1: restart: the saved plan shows: ") {
		t.Errorf("class %d: %v", fault.ClassOf(err), err)
	}
	if r == nil || restarts(r.Done) != "pg2" {
		t.Errorf("done: %+v", r)
	}
}
