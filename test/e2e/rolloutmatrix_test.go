package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/test/figures"
)

// TestRolloutMatrix breaks a schema change off at every act of it, in each of
// rolloutStrikes, beside readers that keep their connections and never try again. After
// each no read has failed, no standby is paused or drained, and the change is everywhere or
// nowhere, as what ended the run said. Plainly it is a sample; -matrix=full is all of
// it, on each version of -deploy.
func TestRolloutMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("makes real hosts")
	}
	if *shared.flags.matrix != "full" {
		m := &rollouts{grid: newGrid(rolloutStrikes()), sites: []*site{take(t, etc)}}
		m.learn(t)
		m.run(t, m.sample(shared.seed(t)), 1, m.cell)
		return
	}
	var all []*rollouts
	whole := true
	for _, major := range strings.Fields(*shared.flags.deploy) {
		m := &rollouts{grid: newGrid(rolloutStrikes()), major: major}
		for n := range *shared.flags.sites {
			s := newSite(shared, etc, 3, fmt.Sprintf("rollout%s-%d", major, n+1))
			s.major = major
			s.do(t, s.ready(context.Background()))
			m.sites = append(m.sites, s)
		}
		t.Run(major, func(t *testing.T) {
			m.learn(t)
			m.run(t, m.cells(), len(m.sites), m.cell)
		})
		for _, s := range m.sites {
			s.do(t, s.lab.Down(context.Background()))
		}
		all, whole = append(all, m), whole && m.whole()
	}
	if whole {
		writeRollouts(t, all)
	}
}

// rollouts is the matrix of one version of PostgreSQL.
type rollouts struct {
	major     string
	sites     []*site
	operators []*operator // one for each site
	grid
	columns atomic.Int64 // that were tried

	failedReads, left, halfMade atomic.Int64
}

// rolloutStrikes are of the tool, its connections, and the primary. A standby's host that
// dies takes the reads along that it has.
func rolloutStrikes() []strike {
	kill := func(_ *testing.T, _ *site, c *calling) { _ = c.cmd.Process.Kill() }
	return []strike{
		{name: "tool killed, resumed", hit: kill},
		{name: "tool killed, aborted", hit: kill, back: true},
		{name: "SSH to primary cut", hit: cutLogins("h1")},
		{name: "SSH to first standby cut", hit: cutLogins("h2")},
		{name: "SSH to second standby cut", hit: cutLogins("h3")},
		{name: "postmaster of primary killed", hit: func(t *testing.T, s *site, _ *calling) { s.crash(t) }},
	}
}

// learn makes the standbys of each site, with balancers in front, and rolls a change out that
// nobody disturbs.
func (m *rollouts) learn(t *testing.T) {
	t.Helper()
	m.operators = make([]*operator, len(m.sites))
	for i, s := range m.sites {
		plain := newOperator(t, s)
		apply(t, plain, "h2")
		apply(t, plain, "h3")
		s.balancers(t)
		m.operators[i] = newOperator(t, s).with("hosts:\n", s.traffic())
		s.eventually(t, "both serve", s.bothServe(t))
	}
	o := m.operators[0]
	o.call("ddl", "deploy", addColumn(t, "learned"), "--database", "bench", "--yes").exits(0)
	_, recs := o.records()
	m.moments = momentsOf(recs)
	o.s.hasColumn(t, "learned", true)
}

// cell breaks off one rollout.
func (m *rollouts) cell(t *testing.T, site int, c cell) {
	began, phase, verdict := time.Now(), "break off", ""
	defer func() {
		if t.Failed() {
			verdict = "**failed**: " + phase
		}
		m.note(c, verdict)
		summary(t, began)
	}()
	s, o := m.sites[site], *m.operators[site]
	o.t, o.home = t, t.TempDir()
	column := fmt.Sprintf("cell%d", m.columns.Add(1))
	args := []string{"ddl", "deploy", addColumn(t, column), "--database", "bench", "--yes"}

	stop := s.readers(t)
	stopped := false
	reads := func() {
		if !stopped {
			stopped = true
			none(t, &m.failedReads, func() {
				if stop() == 0 {
					t.Error("nothing was read")
				}
			})
		}
	}
	defer reads()
	k := m.strike(c)
	call := o.start(args...)
	if o.reach(t, call, c.moment) {
		call.strike(t, s, k)
	}
	a := call.wait()
	said := []*answer{a}
	defer func() {
		for _, a := range said {
			if t.Failed() {
				t.Logf("%v: exit code %d\n%s%s", a.args, a.code, a.stdout, a.stderr)
			}
		}
	}()
	finish := func(args ...string) *answer {
		said = append(said, o.insist(args...))
		return said[len(said)-1]
	}
	if a.code == -1 && a.took >= callTimeout {
		t.Fatalf("%v: not within %s:\n%s%s", a.args, a.took, a.stdout, a.stderr)
	}

	there := true
	switch sum, _ := o.records(); {
	case sum.Open() && k.back:
		phase, verdict = "abort", "abort"
		if b := finish("ddl", "abort", "--yes"); b.code == 6 {
			b.says("ddl resume")
			phase, verdict = "resume", "forward"
			finish("ddl", "resume", "--yes").exits(0)
		} else {
			b.exits(0)
			there = false
		}
	case sum.Open():
		phase, verdict = "resume", "resume"
		if a.code != -1 && !strings.Contains(a.stderr, "ddl resume") { // or, when all but the end is done
			a.says("runs resume " + o.runID())
		}
		finish("ddl", "resume", "--yes").exits(0)
	case sum.Status == journal.Succeeded:
		phase, verdict = "done", "done"
	default:
		phase, verdict = "again", "again"
		s.hasColumn(t, column, false)
		finish(args...).exits(0)
	}
	phase = "reads"
	reads()
	phase = "everywhere or nowhere"
	none(t, &m.halfMade, func() { s.hasColumn(t, column, there) })
	phase = "residue"
	none(t, &m.left, func() {
		s.ddlLeft(t)
		s.clean(t)
	})
}

func writeRollouts(t *testing.T, all []*rollouts) {
	t.Helper()
	var r figures.Report
	var page strings.Builder
	page.WriteString(rolloutPage)
	for _, m := range all {
		on := "PostgreSQL " + m.major + ": "
		r.Note(on+"cells run", float64(len(m.verdicts)), "count")
		r.Note(on+"cells in all", float64(len(m.cells())), "count")
		r.AtMost(on+"failed cells", float64(m.failed()), "count", 0)
		r.AtMost(on+"with a failed read", float64(m.failedReads.Load()), "count", 0)
		r.AtMost(on+"with a change on some hosts only", float64(m.halfMade.Load()), "count", 0)
		r.AtMost(on+"with residue", float64(m.left.Load()), "count", 0)
		fmt.Fprintf(&page, "\n## PostgreSQL %s\n\n%d of %d cells run, in random order: %d failed, %d with a failed read, %d with the change on some hosts only, %d with residue.\n\n%s",
			m.major, len(m.verdicts), len(m.cells()), m.failed(), m.failedReads.Load(), m.halfMade.Load(), m.left.Load(), m.table())
	}
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "rollout-matrix.md"), []byte(page.String()), 0o644); err != nil {
		t.Error(err)
	}
	if err := r.Write(filepath.Join("..", "..", "build", "figures", "rollout-matrix.jsonl")); err != nil {
		t.Error(err)
	}
	if err := r.Table(os.Stdout); err != nil {
		t.Error(err)
	}
}

const rolloutPage = `# The rollout matrix

Written by ` + "`make rollout-matrix`" + `. A schema change on a primary and two standbys, behind HAProxy and PgBouncer, is broken off at each act that its
journal announces (the rows), in each of these ways (the columns). Ten clients read through the balancers all the time; they keep their connections
and never try again. After each: no read has failed, both standbys serve and replay, no session, process, trigger, lock or file is left, and the
change is on all hosts or on none.

| cell | means |
| --- | --- |
| resume | the run ended or was killed; ` + "`ddl resume`" + ` made the change |
| abort | the tool was killed; ` + "`ddl abort`" + ` left nothing of the change |
| forward | the tool was killed after its COMMIT; ` + "`ddl abort`" + ` refused and said so, and ` + "`ddl resume`" + ` made the change |
| again | the run took itself back, or had changed nothing; the same command, typed again, made the change |
| done | the run ended well all the same |
| - | not run: the time that was given (BUDGET) was over |
`
