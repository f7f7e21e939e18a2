package effect

import (
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// shortDistance is what takes a moment, and is not worth a word: a segment of the usual size.
const shortDistance = 16 << 20

// distance tells how far a standby that is waited for has come: of the WAL that was before it
// when the wait began, and of what came since where the goal moves.
type distance struct {
	env   Env
	what  string // is done with the WAL: "sent", "replayed"
	start postgres.LSN
}

// at tells of a position, and of the one that is waited for.
func (d *distance) at(pos, goal *postgres.LSN) {
	if pos == nil || goal == nil || *pos == 0 {
		return
	}
	if d.start == 0 {
		d.start = *pos
	}
	if total := goal.Sub(d.start); total >= shortDistance {
		d.env.Progress(event.Progress{Bytes: pos.Sub(d.start), Total: total, Note: "WAL " + d.what})
	}
}
