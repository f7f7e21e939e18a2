package e2e

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// The tablespace lies outside of what a snapshot compares: a server writes in it.
const (
	placeOfTablespace = "/ts/fast"
	listTablespace    = `find /ts -mindepth 1 -printf '%y %p %m %u\n'`
	freeTablespace    = "d " + placeOfTablespace + " 700 postgres"
)

// directories makes the place of a tablespace on h1 and h2.
func (s *site) directories(t *testing.T) {
	t.Helper()
	for _, name := range []string{"h1", "h2"} {
		s.at(t, name, "mkdir -m 755 /ts; install -d -o postgres -g postgres -m 700 "+placeOfTablespace)
	}
}

// tablespace moves a table there that pgbench writes to.
func (s *site) tablespace(t *testing.T) {
	t.Helper()
	s.sql(t, "h1", "bench", "create tablespace fast location '"+placeOfTablespace+"';\nalter table pgbench_tellers set tablespace fast;")
}

// inTablespace asserts that a host's table is there and not in the data directory.
func (s *site) inTablespace(t *testing.T, name string) {
	t.Helper()
	file := s.sql(t, name, "bench", "select pg_relation_filepath('pgbench_tellers')")
	real := s.at(t, name, "cd $data; test -s "+file+"; readlink -f "+file)
	if !strings.HasPrefix(real, placeOfTablespace+"/PG_"+s.major+"_") {
		t.Errorf("pgbench_tellers on %s is in %s", name, real)
	}
}

func TestTablespaceComesAlongAndAnUndoTakesItAway(t *testing.T) {
	bootstrapAndUndo(t, take(t, etc))
}

func TestTablespaceMadeDuringTheRunIsNoticedAndCopiedByAResume(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	s.directories(t)
	c := o.start("standby", "bootstrap", "h2", "--yes")
	// From here on the primary's facts are not read again before the backup.
	o.awaitRecord(c, func(r journal.Record) bool {
		return r.Type == journal.Intent && strings.Contains(r.Text, "pgrepctl.run")
	})
	thaw := c.freeze()
	s.tablespace(t)
	thaw()
	c.wait().exits(6).says("is a link that no tablespace has", "if a tablespace was made just now, type the same command again")
	o.call("runs", "resume", o.runID(), "--yes").exits(0)
	s.sameTables(t, "h2")
	s.inTablespace(t, "h2")
	s.streams(t, "h2")
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	if left := s.at(t, "h2", listTablespace); left != freeTablespace {
		t.Errorf("left on h2:\n%s", left)
	}
}
