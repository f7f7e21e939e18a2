package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// TestCrashMatrix breaks a bootstrap off at every act of it in every way, and
// asserts each time that nothing half-made can start, that nobody can write on
// the standby, and that the run is then resumed to what a clean run leaves, or
// undone to where it began. The acts are those of a clean run's journal. Plainly
// it is a sample; -matrix=full is all of it.
func TestCrashMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("makes real hosts")
	}
	m := &matrix{grid: newGrid(strikes())}
	if *shared.flags.matrix == "full" {
		for n := range *shared.flags.sites {
			m.sites = append(m.sites, &matrixSite{site: newSite(shared, dataDirectory, 2, fmt.Sprintf("matrix%d", n+1))})
		}
	} else {
		m.sites = []*matrixSite{{site: take(t, dataDirectory)}}
	}
	m.moments = m.sites[0].learn(t)
	cells := m.cells()
	if *shared.flags.matrix != "full" {
		cells = m.sample(shared.seed(t))
	}
	m.run(t, cells, len(m.sites), func(t *testing.T, site int, c cell) { m.cell(t, m.sites[site], c) })
	if *shared.flags.matrix == "full" && m.whole() {
		m.write(t)
	}
}

// matrix is the cells of a bootstrap, what became of them, and what must be none.
type matrix struct {
	sites []*matrixSite
	grid
	proof
}

// matrixSite is a lab, and what a clean run leaves on it.
type matrixSite struct {
	*site
	first, cleanRun snapshot
}

// learn runs a bootstrap that nobody disturbs.
func (s *matrixSite) learn(t *testing.T) []moment {
	t.Helper()
	s.do(t, s.ready(context.Background()))
	s.first = s.before(t, lenient)
	o := newOperator(t, s.site)
	apply(t, o, "h2")
	s.streams(t, "h2")
	s.cleanRun = s.before(t, lenient).withoutNames()
	_, recs := o.records()
	return momentsOf(recs)
}

// hostsNotice returns when the hosts have ended what hung on connections that
// nobody closed: by the missing beats, within 90 s.
func (s *site) hostsNotice(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); pause(time.Second) {
		now, err := s.snapshotOnce(context.Background(), lenient)
		s.do(t, err)
		if left = now.leftovers(); len(left) == 0 {
			return
		}
	}
	t.Errorf("the hosts have not noticed that the connection is dead: %q", left)
}

// cell breaks off one run.
func (m *matrix) cell(t *testing.T, s *matrixSite, c cell) {
	began, phase := time.Now(), "prepare the hosts"
	verdict := ""
	defer func() {
		if t.Failed() {
			verdict = "**failed**: " + phase
		}
		m.note(c, verdict)
		summary(t, began)
	}()
	if err := s.ready(context.Background()); err != nil || s.cleanRun == nil {
		// What was not in order was a failure of the cell before: this one
		// gets a new lab.
		s.learn(t)
		s.do(t, s.ready(context.Background()))
	}
	began = time.Now()
	k := m.strike(c)

	phase = "break off"
	o := newOperator(t, s.site)
	if c.moment.copies() {
		s.do(t, s.lab.Slow(t.Context(), "h2", "40mbit"))
	}
	call := o.start("standby", "bootstrap", "h2", "--yes")
	if o.reach(t, call, c.moment) {
		if c.moment.copies() {
			o.await(call, "a part of the copy", 20*time.Millisecond, func() bool { return s.bytesOn(t, "h2") > 3<<20 })
		}
		call.strike(t, s.site, k)
	}
	a := call.wait()
	id := o.runID()
	phase = "the end of the tool"
	if sum, _ := o.records(); sum.Open() && a.code != -1 {
		a.says("runs resume " + id)
	}
	if a.code == 0 && k.back || a.code == -1 && a.took >= callTimeout {
		t.Fatalf("%v: exit code %d after %s:\n%s%s", a.args, a.code, a.took, a.stdout, a.stderr)
	}

	phase = "between"
	m.fenced(t, s.site)
	if k.mend != nil {
		k.mend(t, s.site)
	}
	if c.moment.copies() {
		s.fullSpeed(t)
	}
	m.fenced(t, s.site)

	if k.back {
		phase = "undo"
		o.insist("runs", "undo", id, "--yes").exits(0).says("undone")
		none(t, &m.residue, func() { s.unchanged(t, s.first, lenient) })
		verdict = "undo"
		return
	}
	verdict = "done" // the run ended well all the same
	switch sum, _ := o.records(); {
	case sum.Open():
		phase, verdict = "resume", "resume"
		o.insist("runs", "resume", id, "--yes").exits(0)
	case sum.Status != journal.Succeeded: // it had not begun to change anything
		phase, verdict = "again", "again"
		o.insist("standby", "bootstrap", "h2", "--yes").exits(0)
	}
	phase = "streaming"
	m.fenced(t, s.site)
	if k.mute {
		s.hostsNotice(t)
	}
	s.streams(t, "h2")
	phase = "equal tables"
	none(t, &m.unequal, func() { s.sameTables(t, "h2") })
	phase = "residue"
	none(t, &m.residue, func() {
		s.clean(t)
		s.same(t, s.cleanRun, s.before(t, lenient).withoutNames(), "a clean run leaves (-) and this one left (+)")
	})
}
