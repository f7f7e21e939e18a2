package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/test/figures"
)

// TestRandomRetirements adds a standby and retires it again, under load, and breaks
// both off at random times: what was begun is resumed, or undone and begun again.
// Each round ends without a slot on the primary, and no commit that was
// acknowledged is ever missing. More than one round is done on several labs side by
// side: most of a round is waiting.
func TestRandomRetirements(t *testing.T) {
	chance, todo := shared.seed(t), *shared.flags.retire
	var sites []*site
	if todo == 1 {
		sites = append(sites, take(t, dataDirectory))
	} else {
		for n := range min(todo, *shared.flags.sites) {
			s := newSite(shared, dataDirectory, 2, fmt.Sprintf("retire%d", n+1))
			s.do(t, s.ready(t.Context()))
			sites = append(sites, s)
		}
	}
	var all []*retirements
	for _, s := range sites {
		// Each has chances of its own: what one does must not hang on who is first.
		all = append(all, &retirements{soak: soak{s: s, chance: rand.New(rand.NewPCG(chance.Uint64(), 0)), ledger: s.ledger(t), strikes: map[string]int{}}})
	}
	var wg sync.WaitGroup
	for i, k := range all {
		rounds := (todo + len(all) - 1 - i) / len(all)
		wg.Go(func() { k.run(t, fmt.Sprintf("lab %d", i+1), rounds) })
	}
	wg.Wait()
	var sum retirements
	for _, k := range all {
		sum.orphans, sum.missing, sum.rounds, sum.hits = sum.orphans+k.orphans, sum.missing+k.missing, sum.rounds+k.rounds, sum.hits+k.hits
	}
	var r figures.Report
	r.AtMost("slots without an owner", float64(sum.orphans), "count", 0)
	r.AtMost("acknowledged commits missing", float64(sum.missing), "count", 0)
	r.AtMost("failed rounds", float64(todo-sum.rounds), "count", 0)
	r.Note("rounds", float64(sum.rounds), "count")
	r.Note("struck", float64(sum.hits), "count")
	sites[0].do(t, r.Write(filepath.Join("..", "..", "build", "figures", "retire-soak.jsonl")))
	sites[0].do(t, r.Table(os.Stdout))
}

// retirements are the rounds of one lab.
type retirements struct {
	soak
	orphans int
}

func (k *retirements) run(t *testing.T, lab string, rounds int) {
	for n := range rounds {
		ok := t.Run(fmt.Sprintf("%s round %d", lab, n+1), func(t *testing.T) {
			began := time.Now()
			defer func() { summary(t, began) }()
			k.addAndRetire(t)
			if got := k.s.sql(t, "h1", "postgres", "select count(*) from pg_replication_slots"); got != "0" {
				k.orphans++
				t.Errorf("%s slots without an owner", got)
			}
		})
		if !ok {
			break // the hosts are left as they are
		}
		k.rounds++
	}
}

func (k *soak) addAndRetire(t *testing.T) {
	s, o := k.s, newOperator(t, k.s)
	unload := s.stubbornLoad(t)
	k.through(t, o, "standby", "bootstrap", "h2", "--yes")
	s.streams(t, "h2")
	k.through(t, o, "standby", "retire", "h2", "--yes", "--erase-data", "h2")
	unload()
	s.nothingLeftOf(t, "h2", "10.77.0.12")
	if left := s.at(t, "h2", "find $data -mindepth 1 2>/dev/null || true"); left != "" {
		t.Errorf("left on h2:\n%s", left)
	}
	if lost := k.ledger.missing(t, "h1"); len(lost) > 0 {
		k.missing += len(lost)
		t.Errorf("h1 has not the acknowledged commits %v", lost)
	}
}

// through breaks a command off, and sees to it that it ends as it should.
func (k *soak) through(t *testing.T, o *operator, args ...string) {
	t.Helper()
	k.hit(t, o, o.start(args...))
	for open := k.openRun(o); open != ""; open = k.openRun(o) {
		switch k.chance.IntN(4) {
		case 0:
			k.hit(t, o, o.start("runs", "resume", open, "--yes"))
		case 1:
			// Past the point of no return it is refused, and nothing is changed.
			if a := o.insist("runs", "undo", open, "--yes"); a.code != 0 && a.code != 6 {
				t.Fatalf("undo: exit code %d\n%s%s", a.code, a.stdout, a.stderr)
			}
		default:
			o.insist("runs", "resume", open, "--yes").exits(0)
		}
		if undone := k.undoing(o); undone != "" {
			o.insist("runs", "undo", undone, "--yes").exits(0)
		}
	}
	o.insist(args...).exits(0) // finds nothing to do, or does what was undone
}

// openRun is the operator's run that is not finished; empty if there is none.
func (k *soak) openRun(o *operator) string {
	sum, recs := o.records()
	if recs == nil || !sum.Open() {
		return ""
	}
	return sum.ID
}

// undoing is an open run of which an undo was begun: that is its only way.
func (k *soak) undoing(o *operator) string {
	sum, recs := o.records()
	if recs == nil || !sum.Open() {
		return ""
	}
	back := false
	for _, r := range recs {
		if r.Type == journal.Undoing {
			back = true
		}
		if r.Type == journal.End && r.NoReturn != "" {
			back = false
		}
	}
	if back {
		return sum.ID
	}
	return ""
}
