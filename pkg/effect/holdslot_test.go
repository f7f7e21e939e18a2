package effect_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// backups is a server with sessions that are told what answers them.
type backups struct {
	*hosttest.Script
	said   []string
	opened int
	closed int
	taken  int // how often the temporary slot's name is found taken
	full   int // how often there is no room for another slot
	lost   chan struct{}
}

func newBackups(t *testing.T) *backups {
	return &backups{Script: hosttest.NewScript(t, "pg0", hosttest.NewFS()), lost: make(chan struct{})}
}

func (b *backups) SQL(context.Context, host.Database) (host.SQL, error) {
	b.opened++
	return b, nil
}
func (b *backups) Lost() <-chan struct{}       { return b.lost }
func (b *backups) Close(context.Context) error { b.closed++; return nil }

func (b *backups) Exec(ctx context.Context, sql string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.said = append(b.said, sql)
	if strings.Contains(sql, "true, true") && b.taken > 0 {
		b.taken--
		return &host.SQLError{Code: "42710", Message: "slot exists"}
	}
	return nil
}

func (b *backups) Query(_ context.Context, rows any, sql string, _ ...any) error {
	b.said = append(b.said, sql)
	answer := `[{"lsn": "0/1000028", "labelfile": "LABEL: x", "spcmapfile": null}]`
	if strings.Contains(sql, "as room") {
		answer = `[{"room": true}]`
		if b.full > 0 {
			b.full--
			answer = `[{"room": false}]`
		}
	}
	return json.Unmarshal([]byte(answer), rows)
}

// order is what of said has one of the words, by the word.
func (b *backups) order(words ...string) (out []string) {
	for _, q := range b.said {
		for _, w := range words {
			if strings.Contains(q, w) {
				out = append(out, w)
			}
		}
	}
	return out
}

func backupOf() (*effect.HoldSlot, *effect.StartBackup, *effect.KeepSlot, *effect.StopBackup) {
	return &effect.HoldSlot{Host: "pg0", Version: 150000}, &effect.StartBackup{Host: "pg0", Label: "pgrepctl", Start: "select pg_backup_start", Stop: "select pg_backup_stop"},
		&effect.KeepSlot{Host: "pg0", Slot: "pg1", Version: 150000}, &effect.StopBackup{Host: "pg0"}
}

func TestTheSessionOfTheBackupHasTheSlotThatKeepsItsWAL(t *testing.T) {
	b := newBackups(t)
	in := newEnv(b)
	hold, start, keep, stop := backupOf()
	for _, e := range []effect.Effect{hold, start, keep, stop} {
		do(t, e, in)
	}
	if b.opened != 1 || b.closed != 1 || len(in.held) != 0 {
		t.Errorf("%d sessions, %d closed, held: %v", b.opened, b.closed, in.held)
	}
	want := []string{"'pgrepctl_run1', true, true", "pg_backup_start", "'pgrepctl_run1', 'pg1', false", "pg_backup_stop"}
	if got := b.order(want...); !slices.Equal(got, want) {
		t.Errorf("%q", b.said)
	}
}

func TestTheSlotOfAnAttemptThatWasKilledIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackups(t)
		b.taken = 2
		in := newEnv(b)
		hold, start, _, stop := backupOf()
		do(t, hold, in)
		if got := b.order("true, true", "pg_terminate_backend"); !slices.Equal(got, []string{"true, true", "pg_terminate_backend", "true, true", "pg_terminate_backend", "true, true"}) {
			t.Errorf("%q", b.said)
		}
		do(t, start, in)
		do(t, stop, in)
	})
}

// A statement that fails would end the temporary slot, and a copy of hours with it.
func TestTheSlotIsMadeWhenThereIsRoomForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackups(t)
		b.full = 3
		in := newEnv(b)
		hold, start, keep, stop := backupOf()
		for _, e := range []effect.Effect{hold, start, keep, stop} {
			do(t, e, in)
		}
		if got := b.order("as room", "false) as s"); !slices.Equal(got, []string{"as room", "as room", "as room", "as room", "false) as s"}) {
			t.Errorf("%q", got)
		}
		if len(in.warnings) != 1 || !strings.Contains(in.warnings[0], "slot pg1") {
			t.Errorf("%q", in.warnings)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBackups(t)
		b.full = 1 << 20
		in := newEnv(b)
		hold, start, keep, _ := backupOf()
		do(t, hold, in)
		do(t, start, in)
		_, err := keep.Do(t.Context(), in)
		if !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), "max_replication_slots leaves no room") || b.closed != 1 {
			t.Errorf("%v, %d sessions closed", err, b.closed)
		}
		if got := b.order("false) as s"); got != nil {
			t.Errorf("%q", b.said)
		}
	})
}

func TestABackupWhoseSessionIsLostIsNotGoneOnWith(t *testing.T) {
	b := newBackups(t)
	in := newEnv(b)
	hold, start, keep, _ := backupOf()
	do(t, hold, in)
	close(b.lost)
	if _, err := start.Do(t.Context(), in); err == nil || b.closed != 1 {
		t.Errorf("the start: %v, %d sessions closed", err, b.closed)
	}
	if _, err := keep.Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("the slot: %v", err)
	}
}
