package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
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
	m := &matrix{verdicts: map[cell]string{}}
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
		cells = m.sample(cells, shared.seed(t))
	}
	m.run(t, cells)
	if *shared.flags.matrix == "full" && m.whole(cells) {
		m.write(t, cells)
	}
}

// whole: a part that -run chose would leave a table with holes. What -budget left
// out is said in the table.
func (m *matrix) whole(cells []cell) bool {
	return len(m.verdicts) == len(cells) || *shared.flags.budget > 0 && len(m.verdicts) > 0
}

// matrix is the cells, what became of them, and what must be none.
type matrix struct {
	sites   []*matrixSite
	moments []moment

	mu       sync.Mutex
	verdicts map[cell]string
	proof
}

// matrixSite is a lab, and what a clean run leaves on it.
type matrixSite struct {
	*site
	first, cleanRun snapshot
}

type cell struct {
	moment moment
	strike string
}

func (m *matrix) cells() []cell {
	var out []cell
	for _, k := range strikes() {
		for _, at := range m.moments {
			if k.possible == nil || k.possible(at) {
				out = append(out, cell{at, k.name})
			}
		}
	}
	return out
}

// sample has each strike once, at a moment of its own; of the two cables it has
// one, because each costs a minute of waiting for keepalives.
func (m *matrix) sample(cells []cell, r *rand.Rand) []cell {
	r.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	var out []cell
	mute := false
	for _, k := range strikes() {
		if k.mute && mute {
			continue
		}
		mute = mute || k.mute
		out = append(out, cells[slices.IndexFunc(cells, func(c cell) bool { return c.strike == k.name })])
	}
	return out
}

// run does the cells, as many at a time as there are sites: most of what a cut
// cable takes is waiting.
func (m *matrix) run(t *testing.T, cells []cell) {
	// Strikes that wait and strikes that work side by side.
	queue := slices.Clone(cells)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
	todo := make(chan cell, len(queue))
	for _, c := range queue {
		todo <- c
	}
	close(todo)
	var wg sync.WaitGroup
	began := time.Now()
	for _, s := range m.sites {
		wg.Go(func() {
			for c := range todo {
				if b := *shared.flags.budget; b > 0 && time.Since(began) > b {
					return
				}
				t.Run(c.moment.String()+"/"+c.strike, func(t *testing.T) { m.cell(t, s, c) })
			}
		})
	}
	wg.Wait()
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
		m.mu.Lock()
		defer m.mu.Unlock()
		m.verdicts[c] = verdict
		summary(t, began)
	}()
	if err := s.ready(context.Background()); err != nil || s.cleanRun == nil {
		// What was not in order was a failure of the cell before: this one
		// gets a new lab.
		s.learn(t)
		s.do(t, s.ready(context.Background()))
	}
	began = time.Now()
	k := strikes()[slices.IndexFunc(strikes(), func(k strike) bool { return k.name == c.strike })]

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
		m.none(t, &m.residue, func() { s.unchanged(t, s.first, lenient) })
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
	m.none(t, &m.unequal, func() { s.sameTables(t, "h2") })
	phase = "residue"
	m.none(t, &m.residue, func() {
		s.clean(t)
		s.same(t, s.cleanRun, s.before(t, lenient).withoutNames(), "a clean run leaves (-) and this one left (+)")
	})
}
