package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// breaksAt has a command on pg2, or a change there, end with why.
func (w *world) breaksAt(t *testing.T, command string, why error) error {
	t.Helper()
	w.hook = func(_ context.Context, name, do string) error {
		if name == "pg2" && (strings.HasPrefix(do, command) || strings.HasSuffix(do, command)) {
			return why
		}
		return nil
	}
	defer func() { w.hook = nil }()
	_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
	if err == nil {
		t.Fatalf("no error at %s", command)
	}
	return err
}

// lostPages is what a power cut makes of a file that was not synced: the name, the size
// and the time are there, and the bytes are not.
func (m *machine) lostPages() {
	m.boots++
	m.fs.Put(m.data("base/5/16384"), "postgres", 0o600, strings.Repeat("\x00", len("shop rows")))
}

const theFsync = "sh -c initdb=$1"

// resumes goes on with the run as its preview says, and sees the copy of the nth backup run.
func (w *world) resumes(t *testing.T, backups int) {
	t.Helper()
	pre, err := w.engine(nil, nil).Preview(t.Context(), w.plan())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(effects(pre), w.apply(t)); diff != "" {
		t.Errorf("-preview +resumed:\n%s", diff)
	}
	if w.backups != backups {
		t.Errorf("%d backups, want %d", w.backups, backups)
	}
	pg1, pg2 := w.hosts["pg1"], w.hosts["pg2"]
	want, _ := pg1.fs.Get(pg1.data("base/5/16384"))
	if got, _ := pg2.fs.Get(pg2.data("base/5/16384")); !pg2.running || got != want {
		t.Errorf("running %v, with %q", pg2.running, got)
	}
}

func TestACopyThatWasNotSyncedBeforeAPowerCutIsComparedAgain(t *testing.T) {
	t.Parallel()
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, l)
			start := w.state()
			_ = w.breaksAt(t, theFsync, errors.New("the connection was lost"))
			w.hosts["pg2"].lostPages()
			w.resumes(t, 2)
			w.undo(t)
			differ(t, "-start +undone", start, w.state())
		})
	}
}

func TestAReseedInPlaceThatWasNotSyncedBeforeAPowerCutIsComparedAgain(t *testing.T) {
	t.Parallel()
	w := damaged(layout{})(t)
	w.plans, w.vars = "reseed-standby", map[string]string{"standby": "pg2", "old": "overwritten", "force": "true"}
	before := w.backups
	_ = w.breaksAt(t, theFsync, errors.New("the connection was lost"))
	w.hosts["pg2"].lostPages()
	w.resumes(t, before+2)
	mended(t, w)
}

func TestACopyIsNotMadeAgainWhereNothingOfItWasLost(t *testing.T) {
	t.Parallel()
	t.Run("it was synced before the power cut", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, layout{})
		w.hosts["pg2"].fs.OnChange(func(change string, done bool) error {
			if strings.HasPrefix(change, "rename ") && strings.HasSuffix(change, postgres.PendingControlFile) && w.hosts["pg2"].boots == 0 {
				return errors.New("the connection was lost")
			}
			return w.tick("pg2: "+change, done)
		})
		if _, err := w.engine(nil, nil).Apply(t.Context(), w.plan()); err == nil {
			t.Fatal("no error")
		}
		w.hosts["pg2"].boots++
		w.resumes(t, 1)
	})
	t.Run("the standby was not booted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, layout{})
		_ = w.breaksAt(t, theFsync, errors.New("the connection was lost"))
		w.resumes(t, 1)
	})
}

// That an earlier copy of this run was synced says nothing of the next one.
func TestTheSyncOfAnEarlierCopyDoesNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	pg2 := w.hosts["pg2"]
	_ = w.breaksAt(t, "pg_ctlcluster 15 main start", errors.New("the connection was lost"))
	// Somebody has put it back where it was, and its slot is lost.
	if err := pg2.fs.Files("postgres").Rename(t.Context(), pg2.data(postgres.ControlFile), pg2.data(postgres.PendingControlFile)); err != nil {
		t.Fatal(err)
	}
	pg2.fs.Put(pg2.data(postgres.RunMarker), "postgres", 0o600, `{"run":"run1","system_id":"`+systemID+`","was_empty":true}`)
	between, err := postgres.ParseLSN("0/1800000")
	if err != nil {
		t.Fatal(err)
	}
	w.keeps = &between
	_ = w.breaksAt(t, theFsync, errors.New("the connection was lost"))
	w.keeps = nil
	pg2.lostPages()
	w.resumes(t, 3)
}

func TestACopyWhoseSyncHasFailedIsRefusedUntilTheStandbyWasBooted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, layout{})
	start := w.state()
	err := w.breaksAt(t, theFsync, &host.ExitError{Cmd: host.Cmd{Argv: []string{"sh"}}, Code: 1, Stderr: "sync: error syncing '/data': Input/output error"})
	var f *fault.Error
	if !errors.As(err, &f) || !strings.Contains(err.Error(), "Input/output error") {
		t.Fatalf("got %v", err)
	}
	for range 2 {
		_, err := w.engine(nil, nil).Apply(t.Context(), w.plan())
		if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "to compare it may read the page cache and not the disk, so only a fresh copy is safe") {
			t.Fatalf("got %v", err)
		}
		if _, err := w.engine(nil, nil).Preview(t.Context(), w.plan()); fault.ClassOf(err) != fault.Refused {
			t.Errorf("the preview: %v", err)
		}
		if w.backups != 1 || w.hosts["pg2"].running {
			t.Errorf("%d backups", w.backups)
		}
	}
	w.hosts["pg2"].lostPages()
	w.resumes(t, 2)
	w.undo(t)
	differ(t, "-start +undone", start, w.state())
}
