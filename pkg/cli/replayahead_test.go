package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

func TestTheWALToLookThroughIsWhatWasReceivedAndNotReplayed(t *testing.T) {
	t.Parallel()
	lsn := func(l postgres.LSN) *postgres.LSN { return &l }
	f := facts.New("pg4", nil)
	f.Server.Timeline = 2
	for what, c := range map[string]struct {
		received *postgres.LSN
		to       postgres.LSN
	}{
		"it has more than it has replayed":                    {lsn(0x5000), 0x5000},
		"all is replayed: nothing is left to look through":    {lsn(0x3000), 0x3000},
		"it never streamed since its start":                   {nil, 0},
		"it streamed, and replays what it has from elsewhere": {lsn(0x1000), 0},
	} {
		w := walOf(&inventory.Host{}, f, replay.Progress{Receive: c.received, Replay: lsn(0x3000)})
		if w.From != 0x3000 || w.To != c.to || w.Timeline != 2 {
			t.Errorf("%s: %+v", what, w)
		}
	}
}

// It is restarted with the target: what is behind its last restart point it replays again, on the
// timeline that this is on.
func TestTheWALToLookThroughBeginsAtTheRestartPoint(t *testing.T) {
	t.Parallel()
	at := postgres.LSN(0x3000)
	for timeline, from := range map[uint32]postgres.LSN{2: 0x2000, 1: 0x3000} {
		f := facts.New("pg4", nil)
		f.Server.Timeline, f.Data.Control.Timeline, f.Data.Control.RedoLSN = 2, timeline, 0x2000
		if w := walOf(&inventory.Host{}, f, replay.Progress{Replay: &at}); w.From != from || w.Reached != at {
			t.Errorf("a restart point on timeline %d: %+v", timeline, w)
		}
	}
}

// answers are what the commands of a host print, one after the other; the last again
// and again.
type answers struct {
	text []string
	code int // of all of them
}

func (a *answers) Run(_ context.Context, c host.Cmd, stdio host.Stdio) error {
	text := a.text[0]
	if len(a.text) > 1 {
		a.text = a.text[1:]
	}
	if a.code != 0 {
		return &host.ExitError{Cmd: c, Code: a.code}
	}
	_, err := io.WriteString(stdio.Out, text)
	return err
}

func TestATargetInWALThatWasNotReadIsRefused(t *testing.T) {
	t.Parallel()
	const files, lock = "wal 000000010000000000000003\nsize 16777216\n", "rmgr: Standby len (rec/tot): 42/42, tx: 741, lsn: 0/03000100, prev 0/0, desc: LOCK xid 741 db 5 rel 7 \n" +
		"stop rmgr: Transaction len (rec/tot): 34/34, tx: 741, lsn: 0/03000200, prev 0/0, desc: COMMIT 2026-11-26 07:10:00.000000 UTC\n"
	h := &inventory.Host{Name: "pg4"}
	w := replay.WALSource{Program: "pg_waldump", Timeline: 1, From: 0x3000028, To: 0x3000500}
	for what, c := range map[string]struct {
		on         answers
		locked     bool
		hint, says string
		note       string
		target     replay.Kind
	}{
		"the timeline's file is not there": {on: answers{text: []string{"wal 000000020000000000000003\nsize 16777216\n"}}, hint: "add --locked", says: "no file with 0/3000028"},
		"pg_waldump reads nothing":         {on: answers{text: []string{files, "unread 1\n"}}, hint: "add --locked", says: "ended with 1"},
		"there is no pg_waldump":           {on: answers{text: []string{""}, code: 125}, hint: "install it; or add --locked", says: "no such program"},
		"it is accepted":                   {on: answers{text: []string{""}, code: 125}, locked: true, target: replay.Time},
		"no commit that late has come":     {on: answers{text: []string{files, ""}}, note: "has not received all WAL up to the target", target: replay.Time},
		"a lock is found":                  {on: answers{text: []string{files, lock, "0\n"}}, note: "the target is moved", target: replay.LSN},
	} {
		var notes strings.Builder
		a := &app{Stdio: Stdio{Err: &notes}}
		got, err := a.outOfLocks(t.Context(), &c.on, h, w, replay.Target{Kind: replay.Time, Time: time.Date(2026, 11, 26, 7, 10, 0, 0, time.UTC)}, 0, c.locked)
		if c.says != "" {
			var refused *fault.Error
			if !errors.As(err, &refused) || refused.Class != fault.Refused || !strings.HasPrefix(refused.Hint, c.hint) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil || got.Kind != c.target || !strings.Contains(notes.String(), c.note) || (c.note == "") != (notes.Len() == 0) {
			t.Errorf("%s: %+v, %v\n%s", what, got, err, notes.String())
		}
	}
}

func TestARestorePointInWALThatWasNotReadIsNotCalledMissing(t *testing.T) {
	t.Parallel()
	h, name := &inventory.Host{Name: "pg4"}, replay.Target{Kind: replay.Name, Name: "x"}
	w := replay.WALSource{Program: "pg_waldump", Timeline: 2, From: 0x3000028}
	_, err := restorePointOf(t.Context(), &answers{text: []string{"wal 000000010000000000000003\nsize 16777216\n"}}, h, w, name)
	if fault.ClassOf(err) != fault.Refused || errors.Is(err, replay.ErrNoRestorePoint) || !strings.Contains(err.Error(), "cannot be looked for") {
		t.Error(err)
	}
}
