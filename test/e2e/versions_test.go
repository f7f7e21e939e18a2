package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/doctor"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/test/figures"
)

// scenario is what every version must do, on hosts that it leaves as it found
// them.
type scenario struct {
	name string
	run  func(*testing.T, *site)
}

func scenarios() []scenario {
	return []scenario{
		{"bootstrap under load, equal hashes, undo", bootstrapAndUndo},
		{"pg_wal and a tablespace on other disks", otherDisks},
		{"killed during the copy, resume", killedDuringTheCopy},
	}
}

// TestEveryVersion runs the scenarios on hosts of each version.
func TestEveryVersion(t *testing.T) {
	ownHosts(t)
	majors := strings.Fields(*shared.flags.majors)
	all := *shared.flags.majors == "all"
	if all {
		majors = strings.Fields("10 11 12 13 14 15 16 17 18")
	}
	table := versionTable{}
	for _, major := range majors {
		s := newSite(shared, etc, 2, "pg"+major)
		s.major = major
		table.rows = append(table.rows, oneVersion(t, s))
	}
	if bin := os.Getenv("PGREPCTL_TEST_BINDIR"); bin != "" {
		table.rows = append(table.rows, oneVersion(t, ownBuild(t, bin)))
	}
	table.write(t, all)
}

// ownBuild is a site for the build that has a directory of binaries.
func ownBuild(t *testing.T, bin string) *site {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		t.Fatalf("PGREPCTL_TEST_BINDIR: %v", err)
	}
	v, err := postgres.ParseVersion(string(out))
	if err != nil {
		t.Fatalf("PGREPCTL_TEST_BINDIR: %v", err)
	}
	s := newSite(shared, etc, 2, "own")
	s.major, s.build = v.Major(), filepath.Dir(bin)
	return s
}

// oneVersion makes its hosts and takes them down again.
func oneVersion(t *testing.T, s *site) (row versionRow) {
	row.major = s.major
	for _, sc := range scenarios() {
		row.passed = append(row.passed, t.Run(fmt.Sprintf("%s: %s", s.major, sc.name), func(t *testing.T) {
			began := time.Now()
			defer func() { summary(t, began) }()
			s.do(t, s.ready(context.Background()))
			row.release = strings.Fields(s.sql(t, "h1", "postgres", "show server_version"))[0]
			row.system = s.at(t, "h1", `. /etc/os-release; echo "Debian $VERSION_ID"`)
			sc.run(t, s)
		}))
	}
	also := func(name string, run func(t *testing.T)) { row.also = append(row.also, t.Run(name, run)) }
	if s.major == "18" && s.build == "" {
		also("minors that must not be mixed", func(t *testing.T) { refusedPair(t, s) })
	}
	if s.major == "17" && s.build == "" {
		also("17: amcheck and checksums", func(t *testing.T) { soundByTheServersOwnPrograms(t, s) })
	}
	if s.made {
		s.do(t, s.lab.Down(context.Background()))
	}
	if s.major == "17" && s.build == "" {
		also("17: as a unit of systemd", ofSystemd)
	}
	return row
}

func bootstrapAndUndo(t *testing.T, s *site) {
	o := newOperator(t, s)
	s.directories(t)
	s.tablespace(t)
	was := s.before(t, lenient)
	o.call("status").exits(0).says("empty", "h2 missing")
	// h2 is still to be made, and nothing is in its way. An old release has warnings of its own.
	var said struct{ Findings []doctor.Finding }
	o.call("doctor", "h2", "-o", "json").decode(&said)
	for _, f := range said.Findings {
		if f.Severity == doctor.Block {
			t.Errorf("doctor: %s %s: %s", f.Host, f.ID, f.Found)
		}
	}
	stop := s.load(t)
	apply(t, o, "h2")
	s.sameTables(t, "h2")
	stop()
	s.inTablespace(t, "h2")
	s.streams(t, "h2")
	s.logIsFreeOfFatal(t, "h2")
	if s.version().AtLeast(14) {
		s.undamaged(t, "h2")
	}
	o.call("status").exits(0).says("streaming", "h2 active")
	o.call("check", "h1", "h2").exits(0).says("takes writes") // a third one may wait for its bootstrap
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do", "streams from h1")
	o.call("runs", "undo", o.runID(), "--yes").exits(0).says("undone")
	s.unchanged(t, was, lenient)
	if left := s.at(t, "h2", listTablespace); left != freeTablespace {
		t.Errorf("left on h2:\n%s", left)
	}
	o.call("slot", "create", "retired", "--yes").exits(0)
	o.call("slot", "list", "h1", "--sample", "0").exits(0).says("orphan", "slot drop retired --on h1")
	o.call("slot", "drop", "retired", "--on", "h1", "--yes").exits(0)
	o.call("slot", "create", "left", "--yes").exits(0)
	o.call("slot", "prune", "--yes").exits(0)
	s.unchanged(t, was, lenient)
}

func otherDisks(t *testing.T, s *site) {
	o := newOperator(t, s).with("h2: {address: 10.77.0.12, role: standby}",
		"h2: {address: 10.77.0.12, role: standby, postgres: {wal_directory: /elsewhere/wal, tablespaces: {"+placeOfTablespace+": /elsewhere/slow}}}")
	s.at(t, "h1", "mkdir -m 755 /ts; install -d -o postgres -g postgres -m 700 "+placeOfTablespace)
	s.at(t, "h2", "mkdir -m 755 /elsewhere; install -d -o postgres -g postgres -m 700 /elsewhere/wal /elsewhere/slow")
	s.tablespace(t)
	was := s.before(t, lenient)
	apply(t, o, "h2")
	s.sameTables(t, "h2")
	wal := s.version().WALDir()
	if got := s.at(t, "h2", "cd $data; readlink "+wal+"; ls "+wal+"/0* | head -n 1; test ! -e /ts"); !strings.HasPrefix(got, "/elsewhere/wal\n"+wal+"/0000") {
		t.Errorf("%s of h2: %s", wal, got)
	}
	file := s.sql(t, "h2", "bench", "select pg_relation_filepath('pgbench_tellers')")
	if real := s.at(t, "h2", "cd $data; test -s "+file+"; readlink -f "+file); !strings.HasPrefix(real, "/elsewhere/slow/PG_"+s.major+"_") {
		t.Errorf("pgbench_tellers on h2 is in %s", real)
	}
	s.streams(t, "h2")
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	s.unchanged(t, was, lenient)
	if left := s.at(t, "h2", "find /elsewhere -mindepth 1 | sort"); left != "/elsewhere/slow\n/elsewhere/wal" {
		t.Errorf("left on h2:\n%s", left)
	}
}

func killedDuringTheCopy(t *testing.T, s *site) {
	o := newOperator(t, s)
	was := s.before(t, lenient)
	s.do(t, s.lab.Slow(t.Context(), "h2", "40mbit"))
	c := o.start("standby", "bootstrap", "h2", "--yes")
	o.awaitRecord(c, func(r journal.Record) bool {
		return r.Type == journal.Intent && strings.Contains(r.Text, "copy the data directory")
	})
	o.await(c, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 3<<20 })
	c.kill()
	p := &proof{}
	p.fenced(t, s)
	s.fullSpeed(t)
	id := o.runID()
	o.call("status").says("runs resume " + id)
	o.insist("runs", "resume", id, "--yes").exits(0)
	p.fenced(t, s)
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	o.call("runs", "undo", id, "--yes").exits(0)
	s.unchanged(t, was, lenient)
}

// refusedPair: a standby of 18.2 stops when it replays a multixact truncation of a
// primary of 18.1.
func refusedPair(t *testing.T, s *site) {
	began := time.Now()
	defer func() { summary(t, began) }()
	ctx := context.Background()
	s.do(t, s.ready(ctx))
	s.at(t, "h1", "pg_ctlcluster 18 main stop")
	s.do(t, s.lab.InstallRelease(ctx, "h1", "18.1"))
	s.do(t, s.lab.InstallRelease(ctx, "h2", "18.2"))
	s.at(t, "h1", "pg_ctlcluster 18 main start")
	o := newOperator(t, s)
	was := s.before(t, strict)
	const id = "release.multixact-truncation-skew"
	o.call("doctor").exits(3).says(id, "18.1", "18.2")
	o.call("standby", "bootstrap", "h2", "--yes").exits(6).says(id, "update the standby first, or keep it on the primary's release")
	s.unchanged(t, was, strict)
	// Who knows better says so, and the journal keeps it.
	o.call("standby", "bootstrap", "h2", "--yes", "--accept", id).exits(0).says(id)
	s.streams(t, "h2")
	o.call("runs", "show", o.runID()).exits(0).says(id)
}

// soundByTheServersOwnPrograms is about pg_amcheck and pg_checksums of another release
// than the one that all other tests have; only Debian's packages bring them.
func soundByTheServersOwnPrograms(t *testing.T, s *site) {
	began := time.Now()
	defer func() { summary(t, began) }()
	s.do(t, s.ready(context.Background()))
	o := newOperator(t, s)
	apply(t, o, "h2")
	o.call("standby", "verify", "h2", "--level", "amcheck").exits(0).says("amcheck bench", "heaps and B-tree indexes are sound")
	s.at(t, "h2", "as $bin/pg_ctl -s -w -D $data -m fast stop")
	o.call("standby", "verify", "h2", "--level", "checksums").exits(0).says("Bad checksums: 0")
	file := s.sql(t, "h1", "bench", "select pg_relation_filepath('pgbench_branches')")
	s.at(t, "h2", "printf XX | dd of=$data/"+file+" bs=1 seek=4000 conv=notrunc status=none")
	o.call("standby", "verify", "h2", "--level", "checksums").exits(3).says("FAILED", "Bad checksums: 1", file)
}

// ofSystemd is the scenario of a unit on hosts that systemd boots.
func ofSystemd(t *testing.T) {
	began := time.Now()
	defer func() { summary(t, began) }()
	s := newSite(shared, etc, 2, "systemd17")
	s.major, s.systemd = "17", true
	s.do(t, s.ready(context.Background()))
	keptByItsUnit(t, s)
	s.do(t, s.lab.Down(context.Background()))
}

type versionRow struct {
	major           string
	release, system string
	passed          []bool // as scenarios
	also            []bool // what is about this version alone
}

type versionTable struct{ rows []versionRow }

// write leaves the figures, and of all versions the table for people.
func (v versionTable) write(t *testing.T, all bool) {
	t.Helper()
	var r figures.Report
	for _, row := range v.rows {
		failed := 0
		for _, ok := range append(slices.Clone(row.passed), row.also...) {
			if !ok {
				failed++
			}
		}
		r.AtMost(fmt.Sprintf("failed scenarios on PostgreSQL %s", row.major), float64(failed), "count", 0)
	}
	dir := filepath.Join("..", "..", "build", "figures")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(filepath.Join(dir, "matrix.jsonl")); err != nil {
		t.Error(err)
	}
	if !all {
		return
	}
	path := filepath.Join("..", "..", "docs", "versions.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(old), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if err := os.WriteFile(path, []byte(before+tableBegin+v.markdown()+tableEnd+after), 0o644); err != nil {
		t.Error(err)
	}
}

const (
	tableBegin = "<!-- written by make matrix -->\n"
	tableEnd   = "<!-- end -->\n"
)

func (v versionTable) markdown() string {
	var b strings.Builder
	b.WriteString("| PostgreSQL | release | on |")
	rule := "\n| --- | --- | --- |"
	for _, sc := range scenarios() {
		b.WriteString(" " + sc.name + " |")
		rule += " --- |"
	}
	b.WriteString(rule + "\n")
	for _, row := range v.rows {
		fmt.Fprintf(&b, "| %s | %s | %s |", row.major, row.release, row.system)
		for _, ok := range row.passed {
			b.WriteString(map[bool]string{true: " ok |", false: " **failed** |"}[ok])
		}
		b.WriteString("\n")
	}
	return b.String()
}
