package check

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

func TestAPauseIsOfTheRunThatMadeItLast(t *testing.T) {
	t.Parallel()
	run := func(id string, recs ...journal.Record) []journal.Record {
		return append([]journal.Record{{Seq: 1, Type: journal.Start, Run: &journal.Run{ID: id, Operator: "anna@desk"}}}, recs...)
	}
	act := func(seq int, seconds float64, host string, pauses bool) journal.Record {
		return journal.Record{Seq: seq, At: at(seconds), Type: journal.Intent, Effect: "replay", Host: host,
			Inverse: fmt.Appendf(nil, `{"kind":"replay","effect":{"host":%q,"pause":%t}}`, host, !pauses)}
	}
	refused := func(seq, of int) journal.Record {
		return journal.Record{Seq: seq, Type: journal.Failed, Of: of, Untouched: true}
	}
	drained := journal.Record{Seq: 3, At: at(2), Type: journal.Intent, Effect: "balance", Host: "pg2", Inverse: []byte(`{"effect":{"host":"pg2","serve":true}}`)}
	of := func(id string, seconds float64) map[string]Pause {
		return map[string]Pause{"pg2": {Run: id, Operator: "anna@desk", At: at(seconds)}}
	}
	for name, c := range map[string]struct {
		runs [][]journal.Record
		want map[string]Pause
	}{
		"none":             {nil, map[string]Pause{}},
		"paused":           {[][]journal.Record{run("a", act(2, 1, "pg2", true))}, of("a", 1)},
		"resumed":          {[][]journal.Record{run("b", act(2, 5, "pg2", false)), run("a", act(2, 1, "pg2", true))}, map[string]Pause{}},
		"paused again":     {[][]journal.Record{run("a", act(2, 1, "pg2", true), act(3, 2, "pg2", false)), run("b", act(2, 5, "pg2", true))}, of("b", 5)},
		"undone":           {[][]journal.Record{run("a", act(2, 1, "pg2", true), journal.Record{Seq: 3, At: at(2), Type: journal.Undone, Of: 2})}, map[string]Pause{}},
		"by an undo":       {[][]journal.Record{run("b", act(2, 5, "pg2", false), journal.Record{Seq: 3, At: at(8), Type: journal.Undone, Of: 2}), run("a", act(2, 1, "pg2", true))}, of("b", 8)},
		"not resumed":      {[][]journal.Record{run("b", act(2, 5, "pg2", false), refused(3, 2)), run("a", act(2, 1, "pg2", true))}, of("a", 1)},
		"not paused again": {[][]journal.Record{run("a", act(2, 1, "pg2", true)), run("b", act(2, 5, "pg2", true), refused(3, 2))}, of("a", 1)},
		"refused alone":    {[][]journal.Record{run("b", act(2, 5, "pg2", true), refused(3, 2))}, map[string]Pause{}},
		"perhaps resumed":  {[][]journal.Record{run("a", act(2, 1, "pg2", true), act(3, 2, "pg2", false), journal.Record{Seq: 4, Type: journal.Failed, Of: 3})}, map[string]Pause{}},
		"reads moved":      {[][]journal.Record{run("a", act(2, 1, "pg2", true), drained)}, of("a", 1)},
		"something else":   {[][]journal.Record{run("a", journal.Record{Seq: 2, Type: journal.Intent, Effect: "write-file", Host: "pg2"})}, map[string]Pause{}},
		"without inverse":  {[][]journal.Record{run("a", journal.Record{Seq: 2, Type: journal.Intent, Effect: "replay", Host: "pg2"})}, map[string]Pause{}},
		"another host too": {[][]journal.Record{run("a", act(2, 1, "pg2", true), act(3, 2, "pg3", true), act(4, 3, "pg3", false))}, of("a", 1)},
	} {
		if diff := cmp.Diff(c.want, PausesOf(c.runs)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
