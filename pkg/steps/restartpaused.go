package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// A restart ends a pause of replay, in every version: the standby replays what somebody
// has held back, an accident, say. A restart of the server that it streams from ends its
// walreceiver, and none is started again while replay is paused: until that is over it
// receives nothing, and its slot keeps WAL. Both are refused, for nobody has asked for that.

// refusePaused refuses the restarts of the tree as long as one of them would do that. All
// are looked at before the first, so that no half of them is done.
func (in In) refusePaused(t *restarts) error {
	for _, r := range t.list {
		m := t.members[r.Node]
		if _, wait := m.behind(in, r); wait {
			continue // it is not restarted, and neither is what comes after it
		}
		if m.facts.Server.Replay.Paused {
			return endsPause(r.Node)
		}
		for _, d := range t.below(in.Cluster, r.Node) {
			switch {
			case !d.facts.Server.Replay.Paused:
			case d.inv.UpstreamName == r.Node:
				return endsWALReceiver(d.inv.Name, r.Node)
			case d.inv.ApplyDelay == 0: // see gates
				return pausedRefusal(d.inv.Name, fmt.Errorf("replay is paused: after the restart of %s it would be waited for until it has replayed what %s wrote", r.Node, r.Node))
			}
		}
	}
	return nil
}

// refusePausedBy is the same for the restart of one server, h.
func (in In) refusePausedBy(ctx context.Context, h *facts.Host) error {
	if h.Server.Replay.Paused {
		return endsPause(in.Self.Name)
	}
	for _, d := range in.Cluster.Downstreams(in.Self) {
		if slices.Contains(in.Without, d.Name) {
			continue
		}
		f, err := in.Facts.Of(ctx, d.Name)
		if fault.ClassOf(err) == fault.Unreachable {
			continue // a host that is gone keeps nobody from a restart
		}
		if err != nil {
			return err
		}
		if f.Server.Replay.Paused {
			return endsWALReceiver(d.Name, in.Self.Name)
		}
	}
	return nil
}

func endsPause(name string) error {
	return pausedRefusal(name, errors.New("replay is paused: a restart of its server would end the pause, and it would replay what it is kept from"))
}

func endsWALReceiver(name, upstream string) error {
	return pausedRefusal(name, fmt.Errorf("replay is paused: a restart of %s would end its walreceiver, and none is started again during a pause: it would receive nothing until that is over", upstream))
}

func pausedRefusal(name string, err error) error {
	return fault.Refuse(name, "when the pause is no longer wanted: pgrepctl replay resume "+name+"; then type the same command again", err)
}

// refusePaused is for a standby that shall stream from another host, and has not begun to
// move: before 13 it is restarted for that; later it gets no walreceiver during a pause, and
// would be waited for in vain, unless it is a delayed one.
func (m moves) refusePaused(in In) error {
	reloads := m.v.PrimaryConninfoReloads()
	switch {
	case !m.self.Server.Replay.Paused || m.line.value == m.conninfo:
		return nil
	case !reloads:
		return endsPause(in.Self.Name)
	case in.Self.ApplyDelay == 0:
		return pausedRefusal(in.Self.Name, fmt.Errorf("replay is paused: it would not begin to stream from %s until that is over", m.to.Name))
	}
	return nil
}
