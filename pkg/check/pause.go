package check

import (
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// Pause is a pause of replay that a run has made.
type Pause struct {
	Run      string
	Operator string
	At       time.Time
}

// PausesOf reads off the journals of runs which hosts were paused last, and not resumed. To
// take an act back is the opposite act, at its own time.
func PausesOf(runs [][]journal.Record) map[string]Pause {
	type turn struct {
		host   string
		pauses bool // false: it resumes replay
		by     Pause
	}
	var turns []turn
	for _, recs := range runs {
		if len(recs) == 0 || recs[0].Run == nil {
			continue
		}
		begun := journal.Begun{}
		for _, r := range recs {
			begun.Take(r)
		}
		ours := map[int]turn{}
		for _, r := range recs {
			if was, ok := ours[r.Of]; ok && r.Type == journal.Undone {
				was.pauses, was.by.At = !was.pauses, r.At
				turns = append(turns, was)
			}
			if who, a, ok := actOf(r); ok && a.pauses && begun[r.Seq] {
				ours[r.Seq] = turn{who, a.done, Pause{Run: recs[0].Run.ID, Operator: recs[0].Run.Operator, At: r.At}}
				turns = append(turns, ours[r.Seq])
			}
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return a.by.At.Compare(b.by.At) })
	out := map[string]Pause{}
	for _, x := range turns {
		delete(out, x.host)
		if x.pauses {
			out[x.host] = x.by
		}
	}
	return out
}
