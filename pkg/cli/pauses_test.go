package cli

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

func TestAPauseIsOfTheRunThatMadeItLast(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 12, minute, 0, 0, time.UTC) }
	run := func(id string, recs ...journal.Record) []journal.Record {
		return append([]journal.Record{{Seq: 1, Type: journal.Start, Run: &journal.Run{ID: id, Operator: "anna@desk"}}}, recs...)
	}
	act := func(seq, minute int, host string, pauses bool) journal.Record {
		return journal.Record{Seq: seq, At: at(minute), Type: journal.Intent, Effect: "replay", Host: host,
			Inverse: fmt.Appendf(nil, `{"kind":"replay","effect":{"host":%q,"pause":%t}}`, host, !pauses)}
	}
	of := func(id string, minute int) map[string]status.Pause {
		return map[string]status.Pause{"pg2": {Run: id, Operator: "anna@desk", At: at(minute)}}
	}
	for name, c := range map[string]struct {
		runs [][]journal.Record
		want map[string]status.Pause
	}{
		"none":             {nil, map[string]status.Pause{}},
		"paused":           {[][]journal.Record{run("a", act(2, 1, "pg2", true))}, of("a", 1)},
		"resumed":          {[][]journal.Record{run("b", act(2, 5, "pg2", false)), run("a", act(2, 1, "pg2", true))}, map[string]status.Pause{}},
		"paused again":     {[][]journal.Record{run("a", act(2, 1, "pg2", true), act(3, 2, "pg2", false)), run("b", act(2, 5, "pg2", true))}, of("b", 5)},
		"undone":           {[][]journal.Record{run("a", act(2, 1, "pg2", true), journal.Record{Seq: 3, At: at(2), Type: journal.Undone, Of: 2})}, map[string]status.Pause{}},
		"something else":   {[][]journal.Record{run("a", journal.Record{Seq: 2, Type: journal.Intent, Effect: "write-file", Host: "pg2"})}, map[string]status.Pause{}},
		"without inverse":  {[][]journal.Record{run("a", journal.Record{Seq: 2, Type: journal.Intent, Effect: "replay", Host: "pg2"})}, map[string]status.Pause{}},
		"another host too": {[][]journal.Record{run("a", act(2, 1, "pg2", true), act(3, 2, "pg3", true), act(4, 3, "pg3", false))}, of("a", 1)},
	} {
		if diff := cmp.Diff(c.want, pausesOf(c.runs)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
