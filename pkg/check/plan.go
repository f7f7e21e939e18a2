package check

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// Plan is what a run of ours did to a host, as far as it is not taken back.
type Plan struct {
	Run      string
	Operator string
	// Going: the run holds the cluster lock; it was not interrupted.
	Going bool
	// Drained: it keeps reads away. Paused: it paused replay.
	Drained, Paused bool
}

func (p Plan) String() string { return "run " + p.Run + " (by " + p.Operator + ")" }

// act is what an effect of a run does to a host's traffic or replay.
type act struct {
	drains, pauses bool
	done           bool // it does so; false: it ends it
}

// inverse are the fields of a journalled inverse that tell what the act was. They
// are read by their names: an effect that a newer version writes is none of ours,
// and no error.
type inverse struct {
	Effect struct {
		Host   string `json:"host"`
		Server string `json:"server"` // a balancer's name of a standby
		Serve  *bool  `json:"serve"`  // the inverse lets reads in
		Pause  *bool  `json:"pause"`  // the inverse pauses replay
	} `json:"effect"`
}

// actOf reads what a record's act does, and to which host or server.
func actOf(r journal.Record) (who string, a act, ok bool) {
	var inv inverse
	_ = json.Unmarshal(r.Inverse, &inv) // without one nothing is known of it
	who = r.Host
	switch r.Effect {
	case "balance", "health-file":
		if len(r.Inverse) == 0 {
			return standbyOf(r), act{drains: true}, true
		}
		if inv.Effect.Serve == nil {
			return "", act{}, false
		}
		if inv.Effect.Server != "" {
			who = inv.Effect.Server
		}
		return who, act{drains: true, done: *inv.Effect.Serve}, true
	case "replay":
		if inv.Effect.Pause == nil {
			return "", act{}, false
		}
		return who, act{pauses: true, done: !*inv.Effect.Pause}, true
	}
	return "", act{}, false
}

// standbyOf is the host of a record's step. Where a run lets reads in that it has kept away
// itself, the record has no inverse that says of whom, and its own host may be the balancer.
func standbyOf(r journal.Record) string { return r.Node[strings.LastIndexByte(r.Node, '@')+1:] }

// PlansOf reads off a run's journal what it did to hosts and has not taken back.
func PlansOf(recs []journal.Record, going bool, members []Member) map[string]Plan {
	out := map[string]Plan{}
	if len(recs) == 0 || recs[0].Run == nil {
		return out
	}
	stands := journal.Begun{}
	for _, r := range recs {
		if stands.Take(r); r.Type == journal.Undone {
			delete(stands, r.Of)
		}
	}
	for _, r := range recs {
		if !stands[r.Seq] {
			continue
		}
		who, a, ok := actOf(r)
		i := slices.IndexFunc(members, func(m Member) bool { return m.Name == who || m.Server == who || m.Balanced == who })
		if !ok || i < 0 {
			continue
		}
		name := members[i].Name
		p := out[name]
		p.Run, p.Operator, p.Going = recs[0].Run.ID, recs[0].Run.Operator, going
		if a.drains {
			p.Drained = a.done
		}
		if a.pauses {
			p.Paused = a.done
		}
		out[name] = p
	}
	for name, p := range out {
		if !p.Drained && !p.Paused {
			delete(out, name)
		}
	}
	return out
}
