package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Member looks at what a server is, before anything is planned from what the inventory
// calls it: after a failover the file is wrong, and not the servers.
type Member struct{}

var _ Step = (*Member)(nil)

// Plan never has effects. A standby that does not run, or is not there yet, is no
// reason to refuse.
func (*Member) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if in.Cluster.Upstream(in.Self) != nil && in.leftBehind(err) {
		return noop("it cannot be reached, and the others do not wait for it"), nil
	}
	if err != nil {
		return Planned{}, err
	}
	if in.Cluster.Upstream(in.Self) == nil {
		return primaryMember(in, h)
	}
	if !h.Server.Running {
		return noop("its server does not run"), nil
	}
	primary, err := in.Facts.Of(ctx, in.Cluster.Primary().Name)
	if err != nil {
		return Planned{}, err
	}
	switch {
	case h.Server.SystemID != primary.Server.SystemID:
		return Planned{}, fault.Refuse(in.Self.Name, "check its address, port and data_directory in the inventory",
			fmt.Errorf("its server is of another cluster: system identifier %s, that of %s is %s", h.Server.SystemID, primary.Name, primary.Server.SystemID))
	case !h.Server.InRecovery:
		return Planned{}, fault.Refuse(in.Self.Name, "if it was promoted on purpose, make it the primary in the inventory; else stop it: two servers take writes",
			errors.New("it takes writes, and is a standby in the inventory"))
	}
	// Its settings are those of the halt, and it receives nothing: whatever is changed
	// there could not be proven, and a restart would be a halt again.
	target, err := in.recoveryTarget(ctx, h)
	if err != nil {
		return Planned{}, err
	}
	if target != "" {
		return Planned{}, fault.Refuse(in.Self.Name, "when it is no longer wanted: pgrepctl replay resume "+in.Self.Name+" --follow; then type the same command again",
			fmt.Errorf("it was started with a recovery target (%s), and does not follow until that is taken away", target))
	}
	return noop("a standby, of the system of %s", primary.Name), nil
}

func primaryMember(in In, h *facts.Host) (Planned, error) {
	switch {
	case !h.Server.Running && h.Server.NotReady != "":
		return Planned{}, &fault.Error{Class: fault.Unreachable, Host: in.Self.Name, Err: fmt.Errorf("the primary accepts no session: %s", h.Server.NotReady), Hint: "pgrepctl status"}
	case !h.Server.Running:
		return Planned{}, &fault.Error{Class: fault.Unreachable, Host: in.Self.Name, Err: errors.New("the server of the primary does not run"), Hint: "start it, or, if another host is the primary now, say so in the inventory"}
	case h.Server.InRecovery:
		return Planned{}, fault.Refuse(in.Self.Name, "make the host that takes writes the primary in the inventory; see which does: pgrepctl status",
			errors.New("it is in recovery, and the primary in the inventory"))
	}
	return noop("the primary, system %s", h.Server.SystemID), nil
}
