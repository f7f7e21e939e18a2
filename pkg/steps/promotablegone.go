package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// PrimaryUnseen is accepted by who knows of an old primary that cannot be looked at, and whose
// machine answers, that its server is gone.
const PrimaryUnseen = "primary.unseen"

// lost says what is known of what may be lost, and refuses while the old primary
// shows signs of life or another standby has more.
func (s *Promotable) lost(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	old := in.Cluster.Primary()
	if from := h.Server.Replay.SenderHost; (in.Self.UpstreamName == old.Name || from == old.Address) && receivesFrom(in, h, old) {
		return Planned{}, lives(in, in.Self.Name)
	}
	if err := refuseAlive(ctx, in); err != nil {
		return Planned{}, err
	}
	has := position(h)
	for _, x := range s.followers(in) {
		f, err := in.Facts.Of(ctx, x.Name)
		if err != nil {
			continue // a step of its own refuses, or the user has left it out
		}
		if receivesFrom(in, f, old) {
			return Planned{}, lives(in, x.Name)
		}
		if p := position(f); f.Server.Running && p > has {
			return Planned{}, fault.Refuse(x.Name, insteadOf(in, x),
				fmt.Errorf("it has WAL up to %s, and %s up to %s only: %s would be lost for nothing", p, in.Self.Name, has, postgres.PrettyBytes(p.Sub(has))))
		}
	}
	return noop("it has received WAL up to %s: what %s wrote after that is lost, if it wrote anything", has, old.Name), nil
}

// insteadOf is the way to promote the standby that has more. One that replays late would be
// refused as it is.
func insteadOf(in In, x *inventory.Host) string {
	way := "pgrepctl standby promote " + x.Name + " --primary-gone"
	if x.ApplyDelay == 0 {
		return way
	}
	return fmt.Sprintf("to promote that one, once it has no apply_delay any more (in the inventory, and on the server: alter system set recovery_min_apply_delay = 0, and a reload): %s; to give up what only it has, after which it has to be seeded again: pgrepctl standby promote %s --primary-gone --without %s",
		way, in.Self.Name, x.Name)
}

// lives is the answer while a standby receives from the old primary.
func lives(in In, name string) error {
	old := in.Cluster.Primary().Name
	return fault.Refuse(name, "pgrepctl standby promote "+in.Self.Name+" --stop-primary; or, if "+old+" has just vanished, wait for wal_receiver_timeout (60 s by default) and type the same command again",
		fmt.Errorf("it streams from %s: that one may live, and not be reachable from here only", old))
}

// receivesFrom reports whether a standby streams, and from no other host than that one as far
// as it says.
func receivesFrom(in In, h *facts.Host, from *inventory.Host) bool {
	r := h.Server.Replay
	return r.ReceiverStatus == "streaming" && !slices.ContainsFunc(in.Cluster.Hosts, func(x *inventory.Host) bool {
		return x != from && x.Address == r.SenderHost && x.Postgres.Port == r.SenderPort
	})
}

// refuseAlive refuses to promote beside an old primary that lives, or may: one that is recovering
// from a crash takes writes in a moment. A run that has begun to promote goes on: what it has
// promoted takes writes.
func refuseAlive(ctx context.Context, in In) error {
	if in.Run.Claimed("promote " + in.Self.Name) {
		return nil
	}
	old := in.Cluster.Primary()
	p, err := in.Facts.Of(ctx, old.Name)
	switch {
	case fault.ClassOf(err) == fault.Unreachable && err != nil, err != nil && slices.Contains(in.Run.Accepted(), PrimaryUnseen):
		return nil
	case err != nil:
		return &fault.Error{Class: fault.Refused, Host: old.Name, Err: fmt.Errorf("its machine answers, and whether its server is gone cannot be told: %w", err),
			Hint: "shut that machine down; or, if it is certain that nobody can write there: --accept " + PrimaryUnseen}
	case p.Server.Running && !p.Server.InRecovery:
		return fault.Refuse(old.Name, "pgrepctl standby promote "+in.Self.Name+" --stop-primary", errors.New("it is not gone: it runs and takes writes"))
	case !p.Server.Running && (p.Data.PID != 0 || p.Server.NotReady != ""):
		why := errors.New("it is not gone: its postmaster lives, and may take writes in a moment")
		if p.Server.NotReady != "" {
			why = fmt.Errorf("%w (it says: %s)", why, p.Server.NotReady)
		}
		return fault.Refuse(old.Name, "when it takes sessions again: pgrepctl standby promote "+in.Self.Name+" --stop-primary; if it never will: stop it there, then type the same command again", why)
	}
	return nil
}

// position is the end of the WAL that a standby has.
func position(h *facts.Host) postgres.LSN {
	var at postgres.LSN
	for _, p := range []*postgres.LSN{h.Server.Replay.Receive, h.Server.Replay.Replay} {
		if p != nil {
			at = max(at, *p)
		}
	}
	return at
}
