package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// damaged is a standby of which something is wrong that nothing tells of: pages that
// differ, a file that is not there any more, one that never was, WAL of another history.
func damaged(l layout) func(t *testing.T) *world {
	return func(t *testing.T) *world {
		t.Helper()
		w := newStandby(t, l)
		pg1, pg2 := w.hosts["pg1"], w.hosts["pg2"]
		if !l.waited { // else commits would hang without pg2, and it is refused
			text, _ := pg1.fs.Get(pg1.conf("postgresql.conf"))
			text, _, _ = strings.Cut(text, "synchronous_standby_names")
			pg1.fs.Put(pg1.conf("postgresql.conf"), "postgres", 0o644, text)
			pg1.load()
		}
		for _, ts := range w.spaces {
			for _, m := range w.hosts {
				m.fs.Dir(m.data("pg_tblspc"), "postgres", 0o700)
				if err := m.fs.Files("postgres").Symlink(t.Context(), ts.Location, m.data("pg_tblspc/"+fmt.Sprint(ts.OID))); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.keeps = new(postgres.LSN) // from before any backup on
		if l.waited {
			w.accept = []string{steps.SyncQuorum}
		}
		pg2.fs.Put(pg2.data("base/5/16384"), "postgres", 0o600, "damaged!!")
		pg2.fs.Put(pg2.data("base/5/16384.1"), "postgres", 0o600, "of a table that was truncated")
		pg2.fs.Put(pg2.data("pg_wal/000000020000000000000009"), "postgres", 0o600, "of another timeline")
		pg2.fs.Put(pg2.data("pg_replslot/old/state"), "postgres", 0o600, "keeps WAL")
		pg2.fs.Put(pg2.data("pg_log_of_its_own"), "postgres", 0o600, "hello")
		return w
	}
}

// mended: no copy of pg2 that runs has anything of that.
func mended(t *testing.T, w *world) {
	t.Helper()
	pg1, pg2 := w.hosts["pg1"], w.hosts["pg2"]
	if !pg2.running {
		return
	}
	want, _ := pg1.fs.Get(pg1.data("base/5/16384"))
	if got, _ := pg2.fs.Get(pg2.data("base/5/16384")); got != want && got != "damaged!!" {
		t.Errorf("a half-made copy runs: %q", got)
	} else if got == want {
		for _, name := range []string{"base/5/16384.1", "pg_wal/000000020000000000000009", "pg_replslot/old/state", "global/pg_control.pgrepctl.old"} {
			if pg2.fs.Has(pg2.data(name)) {
				t.Errorf("%s is left", name)
			}
		}
	}
}

// withoutSignal is a promoted primary that was stopped: no signal file is there, and
// the slot has lost its WAL.
func withoutSignal(t *testing.T) *world {
	t.Helper()
	w := damaged(layout{})(t)
	pg2 := w.hosts["pg2"]
	w.mu.Lock()
	defer w.mu.Unlock()
	pg2.running, pg2.recovery = false, false
	pg2.fs.Delete(pg2.data("standby.signal"))
	pg2.fs.Delete(pg2.data("postmaster.pid"))
	w.slots["pg2"] = ""
	w.lost = map[string]bool{"pg2": true}
	return w
}

// lostSlot leaves out of a state that a slot which had lost its WAL was dropped: it cannot
// be made as it was, and is worth nothing.
func lostSlot(state string) string {
	return strings.ReplaceAll(state, "slot pg2 used by \"\"\n", "")
}

func reseedCases() []crashCase {
	const gone = "what /var/lib/postgresql/15/main held before is overwritten"
	of := func(old string) map[string]string {
		return map[string]string{"standby": "pg2", "old": old, "force": "true"}
	}
	return []crashCase{
		{name: "reseed in place", plan: "reseed-standby", vars: of("overwritten"), world: damaged(layout{}), noReturn: gone, always: mended, repeats: true, every: 6},
		{name: "reseed in place, configuration in the data directory", plan: "reseed-standby", vars: of("overwritten"), world: damaged(layout{configInData: true}), noReturn: gone, always: mended, repeats: true, every: 9},
		{name: "reseed in place, tablespace", plan: "reseed-standby", vars: of("overwritten"), world: damaged(layout{tablespace: true}), noReturn: "what", always: mended, repeats: true, every: 9},
		{name: "reseed in place, synchronous", plan: "reseed-standby", vars: of("overwritten"), world: damaged(layout{waited: true}), noReturn: gone, always: mended, repeats: true, every: 9},
		{name: "reseed of a promoted one with a lost slot", plan: "reseed-standby", vars: map[string]string{"standby": "pg2"}, world: withoutSignal, noReturn: gone, loses: lostSlot, always: mended, repeats: true, every: 6},
		{name: "reseed, old data erased", plan: "reseed-standby", vars: of("erased"), world: damaged(layout{tablespace: true}), noReturn: "the data of pg2 are gone", always: mended, repeats: true, every: 6},
		{name: "reseed, old data kept", plan: "reseed-standby", vars: of("kept"), world: damaged(layout{tablespace: true}), always: mended, repeats: true, every: 6},
	}
}
