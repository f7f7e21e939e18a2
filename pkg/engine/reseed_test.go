package engine_test

import (
	"errors"
	"testing"
)

func TestAReseedInPlaceHasOnePointOfNoReturn(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]layout{"plain": {}, "a tablespace": {tablespace: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := damaged(l)(t)
			pre, err := w.engine(nil, nil).Preview(t.Context(), w.builtin("reseed-standby", map[string]string{"standby": "pg2", "old": "overwritten", "force": "true"}))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, l := range pre.Lines {
				for _, d := range l.Effects {
					if d.NoReturn != "" {
						said = append(said, d.String()+": "+d.NoReturn)
					}
				}
			}
			if len(said) != 1 {
				t.Errorf("%q", said)
			}
		})
	}
}

// The link of its pg_wal is the standby's own, and not the run's.
func TestUndoOfAReseedInPlaceLeavesTheLinkToTheWAL(t *testing.T) {
	t.Parallel()
	w := damaged(layout{})(t)
	pg2 := w.hosts["pg2"]
	pg2.inv.Postgres.WALDirectory = "/wal/pg2"
	pg2.fs.Dir("/wal/pg2", "postgres", 0o700)
	pg2.fs.Delete(pg2.data("pg_wal")) // and not what is below, which is looked for by that name
	if err := pg2.fs.Files("postgres").Symlink(t.Context(), "/wal/pg2", pg2.data("pg_wal")); err != nil {
		t.Fatal(err)
	}
	start := w.state()
	w.plans, w.vars = "reseed-standby", map[string]string{"standby": "pg2", "old": "overwritten", "force": "true"}
	_ = w.breaksAt(t, "pgrepctl-deadman", errors.New("the connection was lost"))
	if pg2.fs.Has(pg2.data("global/pg_control")) {
		t.Fatal("it was not fenced")
	}
	w.undo(t)
	differ(t, "-start +undone", start, w.state())
	if to, err := pg2.fs.Files("postgres").ReadLink(t.Context(), pg2.data("pg_wal")); err != nil || to != "/wal/pg2" {
		t.Errorf("pg_wal leads to %q, %v", to, err)
	}
}
