package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// lateTablespace is made at the last moment before the backup begins: the facts
// that the copy is planned from do not have it.
func (w *world) lateTablespace() facts.Tablespace {
	late := facts.Tablespace{OID: 16500, Name: "aaa", Location: "/ts/late"} // sorts before "fast"
	var once sync.Once
	w.hook = func(_ context.Context, name, do string) error {
		if strings.Contains(do, "pg_backup_start") {
			once.Do(func() {
				w.hosts["pg1"].fill(late)
				w.mu.Lock()
				defer w.mu.Unlock()
				w.spaces = append([]facts.Tablespace{late}, w.spaces...)
			})
		}
		return nil
	}
	return late
}

func TestATablespaceMadeBeforeTheBackupIsNoticedAndCopiedByAResume(t *testing.T) {
	t.Parallel()
	for _, l := range []layout{{name: "the only one"}, {name: "one of two", tablespace: true}} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, l)
			pg2 := w.hosts["pg2"].fs
			pg2.Dir("/ts/late", "postgres", 0o700)
			start := pg2.Dump("/")
			late := w.lateTablespace()
			_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
			if fault.ClassOf(err) != fault.Failed || !strings.Contains(err.Error(), "a tablespace in /ts/late was made while this run prepared the copy") {
				t.Fatalf("got %v", err)
			}
			if pg2.Has(w.hosts["pg2"].data("global/pg_control")) || pg2.Has(w.hosts["pg2"].data("backup_label")) {
				t.Error("the copy could start")
			}
			if _, err := w.engine(nil, nil).Resume(t.Context(), w.found(t)); err != nil {
				t.Fatal(err)
			}
			if w.backups != 2 {
				t.Errorf("%d backups", w.backups)
			}
			for _, ts := range w.spaces {
				if got, _ := pg2.Get(ts.Location + "/PG_15_" + w.hosts["pg1"].catalog + "/5/16400"); got != ts.Name+" rows" {
					t.Errorf("in %s: %q", ts.Location, got)
				}
			}
			if spaces, _ := pg2.Get(w.hosts["pg2"].data("tablespace_map")); !strings.Contains(spaces, "16500 "+late.Location+"\n") {
				t.Errorf("tablespace_map: %q", spaces)
			}
			w.undo(t)
			if diff := cmp.Diff(start, pg2.Dump("/")); diff != "" {
				t.Errorf("-start +undone:\n%s", diff)
			}
		})
	}
}

func TestAResumeTouchesNoPlaceOfALateTablespaceThatIsNotFree(t *testing.T) {
	t.Parallel()
	const theirs = "/ts/late/PG_15_202209061/5/1"
	for _, c := range []struct {
		name, want string
		prepare    func(w *world)
	}{
		{"missing", "pg2: no directory /ts/late for tablespace aaa", func(*world) {}},
		{"taken", "pg2: /ts/late/PG_15_202209061, where tablespace aaa goes, is not empty",
			func(w *world) { w.hosts["pg2"].fs.Put(theirs, "postgres", 0o600, "theirs") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layout{})
			w.lateTablespace()
			if _, err := w.engine(nil, nil).Apply(t.Context(), w.plan()); err == nil {
				t.Fatal("no error")
			}
			c.prepare(w)
			_, err := w.engine(nil, nil).Resume(t.Context(), w.found(t))
			if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			w.undo(t)
			if got, _ := w.hosts["pg2"].fs.Get(theirs); c.name == "taken" && got != "theirs" {
				t.Errorf("what was there: %q", got)
			}
		})
	}
}

// The end of a backup names each link in pg_tblspc; the facts have what the catalog has.
func TestALinkThatNoTablespaceHasIsRefusedBeforeAnythingIsCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{name: "one", tablespace: true})
	pg1 := w.hosts["pg1"]
	link := pg1.data("pg_tblspc/16999")
	if err := pg1.Files("postgres").Symlink(t.Context(), "/ts/dropped", link); err != nil {
		t.Fatal(err)
	}
	_, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), link+" is a link that no tablespace has") {
		t.Fatalf("got %v", err)
	}
}
