package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

// TestOfTwoSimultaneousRunsExactlyOneProceeds starts the same bootstrap twice at
// one instant, by operators who know nothing of each other's journals.
func TestOfTwoSimultaneousRunsExactlyOneProceeds(t *testing.T) {
	s := take(t, dataDirectory)
	was := s.before(t, lenient)
	late, refused := 0, 0
	for range *shared.flags.pairs {
		a, b := newOperator(t, s), newOperator(t, s)
		ca, cb := a.start("standby", "bootstrap", "h2", "--yes"), b.start("standby", "bootstrap", "h2", "--yes")
		winner, loser, won, lost := a, b, ca.wait(), cb.wait()
		if won.code != 0 || strings.Contains(won.stdout, "nothing to do") {
			winner, loser, won, lost = b, a, lost, won
		}
		won.exits(0)
		id := winner.runID()
		switch lost.code {
		case 0:
			lost.says("nothing to do")
			late++
		default:
			lost.exits(7).says(id, "nothing was changed by this command")
			refused++
		}
		loser.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
		s.streams(t, "h2")
		winner.call("runs", "undo", id, "--yes").exits(0)
		s.unchanged(t, was, lenient)
		if t.Failed() {
			t.Fatalf("winner:\n%s%s\nloser:\n%s%s", won.stdout, won.stderr, lost.stdout, lost.stderr)
		}
	}
	var r figures.Report
	r.Note("pairs", float64(*shared.flags.pairs), "count")
	r.Note("the other one was refused", float64(refused), "count")
	r.Note("the other one came too late", float64(late), "count")
	s.do(t, r.Write(filepath.Join("..", "..", "build", "figures", "pairs.jsonl")))
	s.do(t, r.Table(os.Stdout))
}
