package main

import (
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

func TestWaitingIsTheTimeOfTheActsThatAwait(t *testing.T) {
	recs := []journal.Record{
		{Seq: 1, Type: journal.Start, At: at(0)},
		{Seq: 2, Type: journal.Intent, Effect: "balance", At: at(10)},
		{Seq: 3, Type: journal.Done, Of: 2, At: at(50)},
		{Seq: 4, Type: journal.Intent, Effect: "await-drained", At: at(60)},
		{Seq: 5, Type: journal.Done, Of: 4, At: at(760)},
		{Seq: 6, Type: journal.Intent, Effect: "await-serving", At: at(800)},
		{Seq: 7, Type: journal.Failed, Of: 6, At: at(900)},
		{Seq: 8, Type: journal.Intent, Effect: "replay", At: at(900)},
		{Seq: 9, Type: journal.Done, Of: 8, At: at(930)},
		{Seq: 10, Type: journal.Intent, Effect: "await-serving", At: at(1000)}, // the tool died
	}
	if got, err := waiting(recs); err != nil || got != 830*time.Millisecond {
		t.Errorf("waited %s, %v", got, err)
	}
}

func TestOfTheAttemptsOfADDLAllButTheLastAreWaiting(t *testing.T) {
	recs := []journal.Record{
		{Seq: 1, Type: journal.Intent, Effect: "ddl", At: at(0)},
		{Seq: 2, Type: "note", Of: 1, At: at(8000)},
		{Seq: 3, Type: journal.Done, Of: 1, At: at(8100), Output: map[string]string{effect.DDLSeconds: "0.250"}},
	}
	if got, err := waiting(recs); err != nil || got != 7850*time.Millisecond {
		t.Errorf("waited %s, %v", got, err)
	}
}
