package steps

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// heldByBackup reports whether the backup that comes next makes a temporary slot, of
// which it makes this one when the copy is there. From 12 on a slot can be made of
// another; both exist for a moment, so there must be room for two.
func (s *Slot) heldByBackup(ctx context.Context, in In, h *facts.Host) (bool, error) {
	if s.Backup == "" || in.Standby == nil || !h.Server.BackupVersion().CopySlots() {
		return false, nil
	}
	if s.Backup != "upstream" && s.Backup != in.Self.Name {
		return false, nil // the backup's session is another server's
	}
	set, err := h.Settings(ctx)
	if err != nil {
		return false, err
	}
	v, ok := set.Lookup("max_replication_slots")
	if !ok {
		return false, nil
	}
	if n, err := v.Int(); err != nil || int64(len(h.Server.Slots))+2 > n {
		return false, err
	}
	done, _, err := in.seeded(ctx)
	return !done, err
}

// holds reports whether the backup of up has a temporary slot for the standby: there is
// no other one.
func (in In) holds(up *facts.Host) bool {
	if in.Standby == nil || in.Standby.Slot == "" || in.Cluster.Upstream(in.Standby).Name != up.Name {
		return false
	}
	_, exists := up.Server.Slot(in.Standby.Slot)
	return !exists && up.Server.BackupVersion().CopySlots()
}

// keep makes the standby's slot of the one that the backup holds.
func (s *Slot) keep(in In, h *facts.Host) (Planned, error) {
	if !in.holds(h) {
		return Planned{}, &fault.Error{Class: fault.Failed, Host: in.Self.Name, Err: fmt.Errorf("slot %s, which kept the WAL for the copy, is gone", s.Name),
			State: "the copy cannot start; what was copied stays", Hint: "to make the slot anew, and copy what has changed: pgrepctl runs resume " + in.Run.ID()}
	}
	v := h.Server.BackupVersion()
	undo, err := dropSlot(in.Self.Name, v, s.Name)
	if err != nil {
		return Planned{}, err
	}
	return Planned{Effects: []effect.Effect{&effect.KeepSlot{Host: in.Self.Name, Slot: s.Name, Version: v, Claims: slotClaim(s.Name), Undo: undo}}}, nil
}
