package e2e

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/verify"
)

func TestStandbyUnderLoadIsVerifiedRowByRow(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	apply(t, o, "h2")
	stop := s.load(t)
	var rep verify.Report
	o.call("standby", "verify", "h2", "--level", "stream", "--level", "hashes", "--database", "bench", "-o", "json").exits(0).decode(&rep)
	stop() // no transaction failed: the writers only waited
	if !rep.OK || !rep.Whole || rep.Longest == nil {
		t.Errorf("%+v", rep)
	}
	compared := map[string]bool{}
	for _, c := range rep.Checks {
		if c.Table != "" && c.Rows != nil && c.BlockedSeconds != nil {
			compared[c.Table] = true
		}
	}
	for _, name := range []string{"accounts", "branches", "tellers", "history"} {
		if !compared[`"public"."pgbench_`+name+`"`] {
			t.Errorf("pgbench_%s was not compared: %+v", name, rep.Checks)
		}
	}
	o.call("standby", "verify", "h2", "--level", "amcheck").exits(0).says("amcheck bench", "heaps and B-tree indexes are sound", "amcheck postgres", "not possible", "on h1, in this database: create extension amcheck")
	s.clean(t)
	was := s.before(t, strict)
	o.call("standby", "verify", "h2").exits(0).says("h1 shows it streaming", "replayed ", "slot h2 of h1 is in use")
	s.unchanged(t, was, strict)

	s.sql(t, "h2", "postgres", "select pg_wal_replay_pause()")
	o.call("standby", "verify", "h2", "--level", "all,hashes").exits(3).says("replay is paused", " replay resume h2", "amcheck bench")
	s.sql(t, "h2", "postgres", "select pg_wal_replay_resume()")
}

func TestDamageOnAStandbyIsFound(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	apply(t, o, "h2")
	verify := func(level string) *answer {
		t.Helper()
		return o.call("standby", "verify", "h2", "--level", level)
	}
	s.sql(t, "h1", "bench", "create table damaged (t text); insert into damaged values ('untouched')")
	defer s.sql(t, "h1", "bench", "drop table damaged")
	file := s.sql(t, "h1", "bench", "select pg_relation_filepath('damaged')")
	stop := func() {
		t.Helper()
		s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data -m fast stop")
	}
	start := func() {
		t.Helper()
		s.at(t, "h2", "HOME=/var/lib/postgresql $asp $bin/pg_ctl -s -w -D $data -l $log start") // libpq looks there
		s.streams(t, "h2")
	}
	damage := func(was, becomes string) {
		t.Helper()
		s.at(t, "h2", `cd $data
at=$(LC_ALL=C grep -abo `+was+" "+file+` | cut -d: -f1)
printf %s `+becomes+` | dd of=`+file+` bs=1 seek=$at conv=notrunc status=none`)
	}
	// What stands before its restart point the standby does not write again. The
	// first reader writes hints, which checksums have in the WAL.
	s.sql(t, "h1", "bench", "select from damaged; checkpoint")
	s.caughtUp(t, "h2")
	verify("hashes").exits(0).says(`"public"."damaged"`, "1 row equal")

	// A server that knows no checksums reads what is there.
	stop()
	s.at(t, "h2", "as $bin/pg_checksums --disable -D $data >/dev/null")
	verify("checksums").exits(6).says("its data checksums are off", "--level hashes")
	damage("untouched", "unTouched")
	start()
	verify("hashes").exits(3).says("FAILED", "1 row on both, not the same ones")
	verify("stream").exits(0)

	// One that does, refuses to.
	stop()
	s.at(t, "h2", "as $bin/pg_checksums --enable -D $data >/dev/null")
	start()
	verify("checksums").exits(6).says("its server runs", "stop it first, on h2", "pg_ctl stop")
	stop()
	verify("checksums").exits(0).says("Bad checksums: 0")
	damage("unTouched", "uNTouched")
	verify("checksums").exits(3).says("FAILED", "Bad checksums: 1", file)
	start()
	if a := verify("hashes").exits(3); !strings.Contains(a.stdout, "h2: invalid page in block 0 of relation "+file) {
		t.Error(a.stdout)
	}
}
