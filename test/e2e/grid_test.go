package e2e

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// grid is every moment of a run, broken off in every way, and what became of each cell.
type grid struct {
	strikes []strike
	moments []moment

	mu       sync.Mutex
	verdicts map[cell]string
}

type cell struct {
	moment moment
	strike string
}

func newGrid(strikes []strike) grid { return grid{strikes: strikes, verdicts: map[cell]string{}} }

func (g *grid) cells() []cell {
	var out []cell
	for _, k := range g.strikes {
		for _, at := range g.moments {
			if k.possible == nil || k.possible(at) {
				out = append(out, cell{at, k.name})
			}
		}
	}
	return out
}

func (g *grid) strike(c cell) strike {
	return g.strikes[slices.IndexFunc(g.strikes, func(k strike) bool { return k.name == c.strike })]
}

// sample has each strike once, at a moment of its own; of the two cables it has
// one, because each costs a minute of waiting for keepalives.
func (g *grid) sample(r *rand.Rand) []cell {
	cells := g.cells()
	r.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	var out []cell
	mute := false
	for _, k := range g.strikes {
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
func (g *grid) run(t *testing.T, cells []cell, sites int, do func(t *testing.T, site int, c cell)) {
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
	for site := range sites {
		wg.Go(func() {
			for c := range todo {
				if b := *shared.flags.budget; b > 0 && time.Since(began) > b {
					return
				}
				t.Run(c.moment.String()+"/"+c.strike, func(t *testing.T) { do(t, site, c) })
			}
		})
	}
	wg.Wait()
}

func (g *grid) note(c cell, verdict string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.verdicts[c] = verdict
}

// whole: a part that -run chose would leave a table with holes. What -budget left
// out is said in the table.
func (g *grid) whole() bool {
	return len(g.verdicts) == len(g.cells()) || *shared.flags.budget > 0 && len(g.verdicts) > 0
}

func (g *grid) failed() int {
	n := 0
	for _, v := range g.verdicts {
		if strings.Contains(v, "failed") {
			n++
		}
	}
	return n
}

// table is the same for the same outcome: it has no times and no dates.
func (g *grid) table() string {
	var b strings.Builder
	b.WriteString("| act |")
	rule := "\n| --- |"
	for _, k := range g.strikes {
		b.WriteString(" " + k.name + " |")
		rule += " --- |"
	}
	b.WriteString(rule + "\n")
	for _, at := range g.moments {
		b.WriteString("| " + at.String() + " |")
		for _, k := range g.strikes {
			v, ok := g.verdicts[cell{at, k.name}]
			switch {
			case !ok && k.possible != nil && !k.possible(at):
				v = "n/a"
			case !ok:
				v = "-"
			}
			b.WriteString(" " + v + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
