package cli

import (
	"encoding/json"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

// explainPauses adds to hosts whose replay is paused which run of this machine
// paused it, and when: the server does not know.
func explainPauses(dir string, seen map[string]status.Result) {
	paused := false
	for _, res := range seen {
		paused = paused || res.Facts != nil && res.Facts.Server.Replay.Paused
	}
	if !paused {
		return
	}
	pauses := pausesIn(dir)
	for name, res := range seen {
		if p, ok := pauses[name]; ok && res.Facts != nil && res.Facts.Server.Replay.Paused {
			res.Pause = &p
			seen[name] = res
		}
	}
}

// pausesIn reads the journals of this machine.
func pausesIn(dir string) map[string]status.Pause {
	runs, err := journal.List(dir)
	if err != nil {
		return nil // it is an explanation, and nothing that is true of a host
	}
	var all [][]journal.Record
	for _, r := range runs {
		if recs, err := journal.Read(r.Path); err == nil {
			all = append(all, recs)
		}
	}
	return pausesOf(all)
}

// pausesOf reads off journals which hosts were paused last, and not resumed. An act
// on replay is told by its inverse, which does the opposite.
func pausesOf(runs [][]journal.Record) map[string]status.Pause {
	type act struct {
		host   string
		pauses bool
		at     status.Pause
	}
	var acts []act
	for _, recs := range runs {
		if len(recs) == 0 || recs[0].Run == nil {
			continue
		}
		ours := map[int]act{}
		for _, r := range recs {
			var inverse struct {
				Effect struct {
					Pause *bool `json:"pause"`
				} `json:"effect"`
			}
			switch was, known := ours[r.Of]; {
			case r.Type == journal.Intent && r.Effect == "replay" && json.Unmarshal(r.Inverse, &inverse) == nil && inverse.Effect.Pause != nil:
				a := act{r.Host, !*inverse.Effect.Pause, status.Pause{Run: recs[0].Run.ID, Operator: recs[0].Run.Operator, At: r.At}}
				ours[r.Seq] = a
				acts = append(acts, a)
			case r.Type == journal.Undone && known:
				was.pauses, was.at.At = !was.pauses, r.At
				acts = append(acts, was)
			}
		}
	}
	slices.SortStableFunc(acts, func(a, b act) int { return a.at.At.Compare(b.at.At) })
	out := map[string]status.Pause{}
	for _, a := range acts {
		delete(out, a.host)
		if a.pauses {
			out[a.host] = a.at
		}
	}
	return out
}
