package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// streams asserts that a host is a complete standby of h1, as an observer from
// outside sees it, and that nothing of the run that made it is left.
func (s *site) streams(t *testing.T, name string) {
	t.Helper()
	s.eventually(t, name+" streams from h1", func() bool {
		return s.sql(t, "h1", "postgres", "select state from pg_stat_replication where application_name = '"+name+"'") == "streaming"
	})
	s.caughtUp(t, name)
	v, system, receiver := s.version(), "system_identifier from pg_control_system()", "(select status from pg_stat_wal_receiver), "
	if !v.ControlFunctions() {
		system, receiver = "'not told before 9.6'", "'streaming', "
	}
	got := s.sql(t, name, "postgres", "select pg_is_in_recovery(), "+v.IsReplayPaused()+", "+receiver+system)
	want := "t|f|streaming|" + s.sql(t, "h1", "postgres", "select "+system)
	if got != want {
		t.Errorf("%s: %s, want %s", name, got, want)
	}
	if got := s.sql(t, "h1", "postgres", "select slot_name, slot_type, active, coalesce(to_json(s)->>'wal_status', 'reserved') from pg_replication_slots s"); got != name+"|physical|t|reserved" {
		t.Errorf("slots on h1: %s", got)
	}
	if got := s.at(t, name, `stat -c '%a %U' $data; cd $data; ls -A | grep -e signal -e recovery -e label -e pgrepctl -e '^[.]' || true`); got != "700 postgres\nbackup_label.old\n"+s.recoveryFile() {
		t.Errorf("data directory of %s: %s", name, got)
	}
	s.clean(t)
}

// recoveryFile makes a server of this version a standby.
func (s *site) recoveryFile() string { return s.version().RecoveryFile() }

// caughtUp returns when a host has replayed all that h1 has written by now.
func (s *site) caughtUp(t *testing.T, name string) {
	t.Helper()
	lsn := s.sql(t, "h1", "postgres", "select "+s.version().CurrentWAL())
	s.eventually(t, name+" replays "+lsn, func() bool {
		return s.sql(t, name, "postgres", "select "+s.version().LastReplay()+" >= '"+lsn+"'") == "t"
	})
}

func (s *site) eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); pause(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within two minutes: %s", what)
}

// load runs pgbench on h1 until stop, which asserts that it has written all the
// time and met no error. Its rate is given: at full speed it would take the processors
// from the scenarios beside it, the longer the slower these are for it.
func (s *site) load(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var out buffer
	ended := make(chan error, 1)
	go func() {
		ended <- s.lab.Run(ctx, "h1", []string{"setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups",
			"sh", "-c", "cd /; exec pgbench -n -c 2 -R 100 -T 3600 -P 1 bench"}, host.Stdio{Out: &out, Err: &out})
	}()
	count := func() string { return s.sql(t, "h1", "bench", "select max(id) from pgbench_history") }
	was := count()
	s.eventually(t, "pgbench writes", func() bool { return count() != was })
	return func() {
		t.Helper()
		was := count()
		s.eventually(t, "pgbench still writes", func() bool { return count() != was })
		cancel()
		<-ended
		s.at(t, "h1", "pkill -KILL -x pgbench || true")
		if text := out.String(); strings.Contains(text, "error") || strings.Contains(text, "aborted") {
			t.Errorf("pgbench met an error:\n%s", text)
		}
	}
}

const hashes = `select relname || ' ' || (xpath('/row/h/text()', query_to_xml(format(
  'select md5(string_agg(md5(t::text), '''' order by md5(t::text))) || '' '' || count(*) as h from %I t', relname), false, true, '')))[1]
from pg_class where relkind = 'r' and relnamespace = (select oid from pg_namespace where nspname = 'public') order by relname;`

// hashed runs hashes on a server. What a standby replays may take its locks away from
// it: a vacuum on h1 that cuts off the empty end of a table. PostgreSQL's answer to
// that is to ask again ("Handling Query Conflicts").
func (s *site) hashed(t *testing.T, name, database string) (out string) {
	t.Helper()
	s.eventually(t, name+" reads every table of "+database, func() bool {
		var err error
		out, err = s.query(name, database, hashes)
		if err != nil && strings.Contains(host.StderrOf(err), "due to conflict with recovery") {
			return false
		}
		s.do(t, err)
		return true
	})
	return out
}

// sameTables compares every table of database bench by content, at one position
// of the write-ahead log: h1's writers wait on a lock while it is done.
func (s *site) sameTables(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := s.lab.Run(ctx, "h1", []string{"sh", "-c", asPostgres + "cd /; as psql -XAtqv ON_ERROR_STOP=1 -d bench"}, host.Stdio{In: inR, Out: outW})
		outW.CloseWithError(io.EOF)
		inR.CloseWithError(io.ErrClosedPipe)
		ended <- err
	}()
	_, err := fmt.Fprintf(inW, "begin; lock pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history in share mode;\n%s\nselect 'lsn', %s;\n", hashes, s.version().CurrentWALInsert())
	s.do(t, err)
	var primary []string
	lsn := ""
	for sc := bufio.NewScanner(outR); lsn == "" && sc.Scan(); {
		if l, ok := strings.CutPrefix(sc.Text(), "lsn|"); ok {
			lsn = l
			break
		}
		primary = append(primary, sc.Text())
	}
	if lsn == "" || len(primary) != 4 {
		t.Fatalf("hashes of h1: %q at %q", primary, lsn)
	}
	// Whatever stands before the locks is flushed with the next commit; ask for one.
	s.sql(t, "h1", "postgres", "select pg_switch_wal()")
	s.eventually(t, name+" replays "+lsn, func() bool {
		return s.sql(t, name, "postgres", "select "+s.version().LastReplay()+" >= '"+lsn+"'") == "t"
	})
	standby := strings.Split(s.hashed(t, name, "bench"), "\n")
	_, err = io.WriteString(inW, "commit;\n")
	s.do(t, err)
	s.do(t, inW.Close())
	s.do(t, <-ended)
	if d := cmp.Diff(primary, standby); d != "" {
		t.Errorf("tables differ at %s (-h1 +%s):\n%s", lsn, name, d)
	}
}

// undamaged runs pg_amcheck on a standby, of the host's own packages: it can ask
// every server from 14 on.
func (s *site) undamaged(t *testing.T, name string) {
	t.Helper()
	if out := s.at(t, name, "as /usr/lib/postgresql/*/bin/pg_amcheck --all --heapallindexed 2>&1 || echo damaged"); strings.Contains(out, "damaged") || strings.Contains(out, "ERROR") {
		t.Errorf("pg_amcheck on %s:\n%s", name, out)
	}
}
