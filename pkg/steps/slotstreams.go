package steps

import (
	"context"
	"path"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// streamsBy reports whether the walsender that uses a slot of the upstream is the standby's,
// whatever it is called: one that was not made here has any application_name (cluster_name from
// 12 on, or walreceiver), and what gives it the right one comes after its slot. A slot has one
// walsender, so what the standby says of itself is enough: by which slot it receives, and from
// 11 on from whom. Before that the walsender has to come from its address.
func (in In) streamsBy(ctx context.Context, up *facts.Host, have facts.Slot) (bool, error) {
	sb, err := in.Facts.Of(ctx, in.Standby.Name)
	if err != nil {
		return false, err
	}
	r, v := sb.Server.Replay, sb.Server.Version
	by := r.SlotName
	if !v.AtLeast(9, 6) { // it has no pg_stat_wal_receiver
		by = sb.Data.PrimarySlotName
	}
	if !sb.Server.Running || !sb.Server.InRecovery || by != have.Name {
		return false, nil
	}
	switch {
	case r.SenderHost == in.Self.Address && r.SenderPort == in.Self.Postgres.Port:
		return true, nil
	case r.SenderHost == "":
		return slices.ContainsFunc(up.Server.Senders, func(x facts.Sender) bool {
			return x.PID == have.ActivePID && x.Client == in.Standby.Address
		}), nil
	case path.IsAbs(r.SenderHost): // a socket, of a server on the standby's own machine
		return in.Self.Address == in.Standby.Address && r.SenderPort == in.Self.Postgres.Port, nil
	}
	// Another address of the upstream, or its name there. It must not be another host's, and
	// the walsender none that is called like another one.
	other, ok := in.Cluster.Host(have.Client)
	elsewhere := slices.ContainsFunc(in.Cluster.Hosts, func(h *inventory.Host) bool {
		return h.Name != in.Self.Name && h.Address == r.SenderHost
	})
	return !elsewhere && (!ok || other.Name == in.Standby.Name), nil
}
