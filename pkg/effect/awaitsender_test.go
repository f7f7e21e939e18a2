package effect_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

const (
	standbySays = "query select pg_last_wal_replay_lsn() as replay, (select row_to_json(w) from (select…"
	bySlot      = "query select s.pid, s.state…"
	otherNames  = "query select distinct coalesce(application_name, '') as name from pg_stat_replication…"
)

// A standby that was not made here is called by its cluster_name, or walreceiver.
func TestWaitFindsTheWalsenderByTheSlotThatTheStandbyReceivesBy(t *testing.T) {
	t.Parallel()
	receives := call{Do: standbySays, Out: `[{"replay":"0/200","receiver":{"status":"streaming","slot_name":"pg2","sender_host":"10.0.0.11","sender_port":5432},"writable":false}]`}
	_, in := script(t, call{Do: "connect"},
		call{Do: senders, Out: `[]`}, receives, call{Do: bySlot, Out: `[{"pid":7,"state":"catchup","application":"15/main","mark":"a"}]`},
		call{Do: senders, Out: `[]`}, receives, call{Do: bySlot, Out: `[{"pid":7,"state":"streaming","application":"15/main","mark":"b"}]`},
		call{Do: mark, Out: `[{"lsn":"0/300"}]`}, call{Do: replay, Out: `[{"receive":"0/300","replay":"0/300"}]`})
	e := await(false)
	e.Timeout = 4 * time.Millisecond // the pause between two looks is longer
	do(t, e, in)
}

// After a change of primary_conninfo the walsender of before is there for a moment, and proves
// nothing of the new one.
func TestWaitDoesNotTakeAWalsenderThatIsAboutToEnd(t *testing.T) {
	t.Parallel()
	receives := call{Do: standbySays, Out: `[{"replay":"0/200","receiver":{"status":"streaming","slot_name":"pg2"},"writable":false}]`}
	_, in := script(t, call{Do: "connect"},
		call{Do: senders, Out: `[]`}, receives, call{Do: bySlot, Out: `[{"pid":7,"state":"streaming","application":"15/main","mark":"a"}]`},
		call{Do: senders, Out: `[]`}, receives, call{Do: bySlot, Out: `[{"pid":8,"state":"streaming","application":"pg2","mark":"a"}]`},
		call{Do: senders, Out: `[{"state":"streaming"}]`},
		call{Do: mark, Out: `[{"lsn":"0/300"}]`}, call{Do: replay, Out: `[{"receive":"0/300","replay":"0/300"}]`})
	do(t, await(false), in)
}

// It replays what it receives as long as anybody writes: that is no progress towards a walsender
// of its name, and the wait ends.
func TestWaitEndsForAStandbyThatReceivesByAnotherName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ slot, names, want string }{
		"without a slot":              {"null", `[{"name":"15/main"},{"name":"pg9"}]`, `; those there have "15/main", "pg9"`},
		"by a slot of another server": {`"pg2"`, `[]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := []call{{Do: "connect"}, {Do: senders, Out: `[]`}, {Do: standbySays, Out: `[{"replay":"0/200","receiver":null,"writable":false}]`}, {Do: goal, Out: `[{"goal":"0/300"}]`},
				// Its position is another one now, which would go on for ever.
				{Do: senders, Out: `[]`}, {Do: standbySays, Out: `[{"replay":"0/300","receiver":{"status":"streaming","slot_name":` + c.slot + `,"sender_host":"10.0.0.11","sender_port":5432},"writable":false}]`}}
			if c.slot != "null" {
				calls = append(calls, call{Do: bySlot, Out: `[]`})
			}
			calls = append(calls, call{Do: otherNames, Out: c.names})
			calls = append(calls, call{Do: inRecovery, Out: `[{"in_recovery":true}]`})
			_, in := script(t, calls...)
			e := await(false)
			e.Timeout = 4 * time.Millisecond // the pause between two looks is longer
			_, err := e.Do(t.Context(), in)
			wantFault(t, err, "pg1: wait until it streams from pg1: its walreceiver streams from 10.0.0.11:5432, and pg1 has no walsender with application_name pg2"+c.want, fault.Failed)
			var f *fault.Error
			if !errors.As(err, &f) || !strings.Contains(f.Hint, "application_name=pg2") || f.State != "the standby runs, in recovery" {
				t.Errorf("%+v", f)
			}
		})
	}
}

// What comes out of an archive no walsender shows.
func TestWaitTakesReplayOfAnArchiveForProgress(t *testing.T) {
	t.Parallel()
	at := func(lsn, receiver string) call {
		return call{Do: standbySays, Out: `[{"replay":"` + lsn + `","receiver":` + receiver + `,"writable":false}]`}
	}
	_, in := script(t, call{Do: "connect"},
		call{Do: senders, Out: `[]`}, at("0/100", "null"), call{Do: goal, Out: `[{"goal":"0/300"}]`}, call{Do: senders, Out: `[]`}, at("0/180", `{"status":"waiting"}`), call{Do: senders, Out: `[]`}, at("0/200", "null"),
		call{Do: senders, Out: `[{"state":"streaming"}]`}, call{Do: mark, Out: `[{"lsn":"0/300"}]`}, call{Do: replay, Out: `[{"receive":"0/300","replay":"0/300"}]`})
	e := await(false)
	e.Timeout = 4 * time.Millisecond // the pause between two looks is longer
	do(t, e, in)
}
