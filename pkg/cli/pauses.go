package cli

import (
	"github.com/pgrepctl/pgrepctl/pkg/check"
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
			pause := status.Pause(p)
			res.Pause = &pause
			seen[name] = res
		}
	}
}

// pausesIn reads the journals of this machine.
func pausesIn(dir string) map[string]check.Pause {
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
	return check.PausesOf(all)
}
