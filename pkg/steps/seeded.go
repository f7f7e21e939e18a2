package steps

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// seeded reports whether the standby's data directory already is a standby of
// its upstream's system: then no step that makes one has anything to do. What
// is neither that, nor empty, nor our own unfinished copy, is refused.
func (in In) seeded(ctx context.Context) (bool, string, error) {
	_, up, err := in.upstream(ctx)
	if err != nil {
		return false, "", err
	}
	sb, err := in.Facts.Of(ctx, in.Standby.Name)
	if err != nil {
		return false, "", err
	}
	d := sb.Data
	switch d.State {
	case facts.Absent, facts.Empty:
		return false, "", nil
	case facts.Partial:
		return false, "", in.refuseForeignCopy(d, up.Server.SystemID)
	case facts.Cluster:
		if id := strconv.FormatUint(d.Control.SystemID, 10); id != up.Server.SystemID {
			return false, "", fault.Refuse(in.Standby.Name, "if nobody needs those data, move "+d.Path+" away, then type the same command again",
				fmt.Errorf("%s holds another cluster: system identifier %s, that of %s is %s", d.Path, id, up.Name, up.Server.SystemID))
		}
		if !d.Standby {
			return false, "", fault.Refuse(in.Standby.Name, "if nobody needs what only it has: pgrepctl standby reseed "+in.Standby.Name,
				fmt.Errorf("%s holds a copy of this cluster that is not a standby: it has no %s", d.Path, up.Server.Version.RecoveryFile()))
		}
		return true, fmt.Sprintf("%s is a standby's, of the same system as %s", d.Path, up.Name), nil
	}
	return false, "", fault.Refuse(in.Standby.Name, "empty it, or name another data_directory in the inventory, then type the same command again",
		fmt.Errorf("%s is not empty and not a PostgreSQL data directory: it holds %v", d.Path, d.Sample))
}

// refuseForeignCopy lets a run go on with its own unfinished copy and, because
// a copy has no owner once its run is over, with any other of this system.
func (in In) refuseForeignCopy(d facts.DataDir, system string) error {
	if d.Marker.SystemID != system {
		return fault.Refuse(in.Standby.Name, "if nobody needs it, move "+d.Path+" away, then type the same command again",
			fmt.Errorf("%s holds an unfinished copy of another cluster: system identifier %s, by run %s of %s", d.Path, d.Marker.SystemID, d.Marker.Run, d.Marker.Operator))
	}
	if d.PID != 0 {
		return fault.Refuse(in.Standby.Name, "", fmt.Errorf("%s has the marker of an unfinished copy, yet a server runs in it (process %d)", d.Path, d.PID))
	}
	return nil
}

// copied reports whether this run has brought the whole copy over and ended its
// backup: from there on a resumed run goes forward without copying again.
func (in In) copied(ctx context.Context) (bool, error) {
	if lsn, _ := in.Run.Output(effect.BackupStopLSN); lsn == "" {
		return false, nil
	}
	sb, err := in.Facts.Of(ctx, in.Standby.Name)
	if err != nil {
		return false, err
	}
	kept, err := in.walKept(ctx)
	return kept && in.stillThere(sb) && sb.Data.State == facts.Partial && sb.Data.Marker.Run == in.Run.ID(), err
}

// stillThere: the copy is on the disks of the standby, or in its memory, which a boot
// forgets. What was lost looks like what was copied: files of the right size and time.
func (in In) stillThere(sb *facts.Host) bool {
	if synced, _ := in.Run.Output(effect.CopySynced); synced != "" {
		return true
	}
	boot, _ := in.Run.Output(effect.CopyBoot)
	return boot != "" && boot == sb.Machine.BootID
}

// refuseUnsynced refuses a copy of which not all could be written to disk, by whatever run,
// since the host was booted: to compare it would find nothing. See pkg/effect/copysynced.go.
func (in In) refuseUnsynced(ctx context.Context, h *facts.Host) error {
	if h.Data.State != facts.Partial {
		return nil
	}
	mark, err := h.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, effect.UnsyncedMark))
	if err != nil {
		return err
	}
	boot, failed := in.Run.Output(effect.CopyUnsynced(in.Self.Name))
	failed = failed && boot == h.Machine.BootID
	// Where no more than its name could be written, the mark does not tell the boot.
	if at := strings.TrimSpace(string(mark.Data)); !failed && (!mark.Exists || at != "" && at != h.Machine.BootID) {
		return nil
	}
	hint := effect.FreshCopy(in.Self.Name, in.Run.ID())
	if h.Data.Marker.Run != in.Run.ID() {
		hint = "boot " + in.Self.Name + ", then, to compare what its disks have, type the same command again; or copy into fresh files: pgrepctl standby reseed " + in.Self.Name + " --wipe"
	}
	return fault.Refuse(in.Self.Name, hint,
		fmt.Errorf("%s holds a copy of which not all could be written to disk (as %s or the journal says), and the kernel tells of that once: to compare it may read the page cache and not the disk, so only a fresh copy is safe", h.Data.Path, effect.UnsyncedMark))
}

// walKept reports whether the standby's slot still keeps the WAL from the start of
// this run's backup on. Without it a complete copy is worth nothing.
func (in In) walKept(ctx context.Context) (bool, error) {
	if in.Standby.Slot == "" {
		return true, nil // nothing promises it; the walreceiver will say
	}
	_, up, err := in.upstream(ctx)
	if err != nil {
		return false, err
	}
	slot, ok := up.Server.Slot(in.Standby.Slot)
	if !ok || slot.WALStatus == "lost" {
		return false, nil
	}
	start, _ := in.Run.Output(effect.BackupStartLSN)
	lsn, err := postgres.ParseLSN(start)
	if slot.RestartLSN == nil && !up.Server.BackupVersion().SlotReservesWAL() {
		return false, nil // a crash of these servers can forget what was reserved
	}
	return err != nil || slot.RestartLSN == nil || *slot.RestartLSN <= lsn, nil
}
