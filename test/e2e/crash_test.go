package e2e

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// moments are journal records after which the tool is killed: spread over a
// bootstrap, and each in the midst of another kind of act.
func moments() map[string]func(journal.Record) bool {
	begun := func(step, effect string) func(journal.Record) bool {
		return func(r journal.Record) bool {
			return r.Type == journal.Intent && r.Step == step && r.Effect == effect
		}
	}
	return map[string]func(journal.Record) bool{
		"edit of pg_hba.conf": begun("pg_hba", "write-file"),
		"temporary slot":      begun("backup", "hold-slot"),
		"slot":                begun("slot", "keep-slot"),
		"standby.signal":      begun("standby-config", "write-file"),
		"key on the primary":  begun("copy-key", "add-line"),
		"start of the backup": begun("backup", "start-backup"),
		"pg_control":          begun("rsync", "fetch-control"),
		"end of the backup":   begun("backup", "stop-backup"),
		"backup_label":        begun("backup-label", "write-file"),
		"start of the server": begun("server", "service"),
	}
}

func TestKilledAtAJournalRecordItIsResumedToTheSameEnd(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"temporary slot", "slot", "key on the primary", "start of the backup", "end of the backup", "backup_label", "start of the server"} {
		t.Run(name, func(t *testing.T) {
			s := take(t, dataDirectory)
			o := newOperator(t, s)
			s.killedAt(t, o, moments()[name])
			o.call("standby", "bootstrap", "h2", "--yes").exits(0).says(o.runID())
			s.streams(t, "h2")
			s.sameTables(t, "h2")
			if sum, _ := o.records(); sum.Status != journal.Succeeded {
				t.Errorf("the run is %s", sum.Status)
			}
			o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
		})
	}
}

func TestKilledAtAJournalRecordItIsUndoneToWhereItBegan(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"edit of pg_hba.conf", "standby.signal", "pg_control", "start of the server"} {
		t.Run(name, func(t *testing.T) {
			s := take(t, dataDirectory)
			o := newOperator(t, s)
			was := s.before(t, lenient)
			s.killedAt(t, o, moments()[name])
			o.call("runs", "undo", o.runID(), "--yes").exits(0).says("undone")
			s.unchanged(t, was, lenient)
		})
	}
}

// The session of the backup has the slot that keeps the copy's WAL, and ends with the
// tool: nothing fills the primary's disk until somebody comes.
func TestNoSlotIsLeftWhenTheToolIsKilledInTheCopy(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.killedAt(t, o, moments()["pg_control"])
	s.eventually(t, "no slot is left", func() bool { return s.slotNames(t, "h1") == "" })
	o.call("runs", "resume", o.runID(), "--yes").exits(0)
	s.streams(t, "h2")
	if got := s.slotNames(t, "h1"); got != "h2" {
		t.Errorf("slots: %s", got)
	}
}

// killedAt kills a bootstrap of h2 as soon as a record is in its journal.
func (s *site) killedAt(t *testing.T, o *operator, moment func(journal.Record) bool) {
	t.Helper()
	c := o.start("standby", "bootstrap", "h2", "--yes")
	o.awaitRecord(c, moment)
	if a := c.kill(); a.code != -1 {
		t.Fatalf("it ended by itself (exit %d) before the kill:\n%s%s", a.code, a.stdout, a.stderr)
	}
}
