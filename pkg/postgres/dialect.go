package postgres

import "fmt"

// Every function named here was read off real servers of each version; the
// golden files under testdata/dialect hold the result, and the tests compare the
// names with the catalogs under testdata/catalog.

// pick returns the WAL spelling since 10, the xlog spelling before.
func (v Version) pick(wal, xlog string) string {
	if v.AtLeast(10) {
		return wal
	}
	return xlog
}

// CurrentWAL is the write position; it fails on a standby.
func (v Version) CurrentWAL() string {
	return v.pick("pg_current_wal_lsn()", "pg_current_xlog_location()")
}

// CurrentWALInsert is the insert position, at or ahead of CurrentWAL; it fails
// on a standby.
func (v Version) CurrentWALInsert() string {
	return v.pick("pg_current_wal_insert_lsn()", "pg_current_xlog_insert_location()")
}

// LastReceive is what a standby has received and flushed by streaming; NULL when
// it never streamed.
func (v Version) LastReceive() string {
	return v.pick("pg_last_wal_receive_lsn()", "pg_last_xlog_receive_location()")
}

// LastReplay is what a standby has replayed.
func (v Version) LastReplay() string {
	return v.pick("pg_last_wal_replay_lsn()", "pg_last_xlog_replay_location()")
}

// IsReplayPaused is a boolean: pause was asked for. It fails on a primary.
func (v Version) IsReplayPaused() string {
	return v.pick("pg_is_wal_replay_paused()", "pg_is_xlog_replay_paused()")
}

// ReplayPauseState is 'not paused', 'pause requested' or 'paused'. Before 14 a
// request cannot be told from a pause, and 'paused' means either.
func (v Version) ReplayPauseState() string {
	if v.AtLeast(14) {
		return "pg_get_wal_replay_pause_state()"
	}
	return "case when " + v.IsReplayPaused() + " then 'paused' else 'not paused' end"
}

// PauseReplay asks for a pause; it takes effect between two records.
func (v Version) PauseReplay() string {
	return v.pick("pg_wal_replay_pause()", "pg_xlog_replay_pause()")
}

// ResumeReplay ends a pause.
func (v Version) ResumeReplay() string {
	return v.pick("pg_wal_replay_resume()", "pg_xlog_replay_resume()")
}

// SwitchWAL ends the current WAL file.
func (v Version) SwitchWAL() string { return v.pick("pg_switch_wal()", "pg_switch_xlog()") }

// WALDir is the WAL directory below the data directory.
func (v Version) WALDir() string { return v.pick("pg_wal", "pg_xlog") }

// XactDir is the commit log below the data directory.
func (v Version) XactDir() string { return v.pick("pg_xact", "pg_clog") }

// ExclusiveBackup reports that backup mode belongs to the server and not to a
// session (9.4, 9.5): it outlives the session, its files lie in the primary's
// data directory, and a crash of the primary can then not be recovered without
// removing backup_label.
func (v Version) ExclusiveBackup() bool { return !v.AtLeast(9, 6) }

// StandbyBackup reports whether a standby can be the source of a backup.
func (v Version) StandbyBackup() bool { return !v.ExclusiveBackup() }

// StartBackup enters backup mode: $1 label (text, see ValidBackupLabel), $2 fast
// checkpoint (boolean). One row: lsn. From 9.6 on the session must stay open until
// StopBackup.
func (v Version) StartBackup() string {
	switch {
	case v.AtLeast(15):
		return "select pg_backup_start($1, $2)::text as lsn"
	case v.AtLeast(9, 6):
		return "select pg_start_backup($1, $2, false)::text as lsn"
	default:
		return "select pg_start_backup($1, $2)::text as lsn"
	}
}

// StopBackup leaves backup mode. One row: lsn, labelfile, spcmapfile; the last
// two are NULL on 9.4 and 9.5, where they are files in the source's data
// directory. It does not wait for the archiver, except on 9.6, which cannot be
// told not to.
func (v Version) StopBackup() string {
	const columns = "select lsn::text as lsn, labelfile, spcmapfile from "
	switch {
	case v.AtLeast(15):
		return columns + "pg_backup_stop(false)"
	case v.AtLeast(10):
		return columns + "pg_stop_backup(false, false)"
	case v.AtLeast(9, 6):
		return columns + "pg_stop_backup(false)"
	default:
		return "select pg_stop_backup()::text as lsn, null::text as labelfile, null::text as spcmapfile"
	}
}

// StopBackupWaitsForArchive reports that StopBackup hangs for as long as
// archiving fails (9.6; 9.4 and 9.5 too when archive_mode is on).
func (v Version) StopBackupWaitsForArchive() bool { return !v.AtLeast(10) }

// TimeoutSettings are the settings that can end a session which is idle or runs
// one long statement. Our sessions set each of them to 0: roles and databases carry
// defaults that are meant for people.
func (v Version) TimeoutSettings() []string {
	out := []string{"statement_timeout", "lock_timeout"}
	if v.AtLeast(9, 6) {
		out = append(out, "idle_in_transaction_session_timeout")
	}
	if v.AtLeast(14) {
		out = append(out, "idle_session_timeout")
	}
	if v.AtLeast(17) {
		out = append(out, "transaction_timeout")
	}
	return out
}

// ChecksClientConnection reports whether a busy backend can notice that its
// client has gone (client_connection_check_interval).
func (v Version) ChecksClientConnection() bool { return v.AtLeast(14) }

// SlotReservesWAL reports whether a slot can hold WAL from its creation on.
// Before 9.6 restart_lsn stays NULL until a consumer reports a flush position.
func (v Version) SlotReservesWAL() bool { return v.AtLeast(9, 6) }

// TemporarySlots reports whether slots can end with their session.
func (v Version) TemporarySlots() bool { return v.AtLeast(10) }

// CopiesSlots reports whether CopySlot exists.
func (v Version) CopiesSlots() bool { return v.AtLeast(12) }

// CreateSlot makes a physical slot. One row: lsn, NULL without reserve.
func (v Version) CreateSlot(slot string, reserve, temporary bool) (string, error) {
	if err := ValidSlotName(slot); err != nil {
		return "", fmt.Errorf("create slot: %w", err)
	}
	args := "'" + slot + "'"
	switch {
	case temporary && !v.TemporarySlots():
		return "", fmt.Errorf("create slot: %w", &UnsupportedError{v, "temporary slot", MakeVersion(10)})
	case reserve && !v.SlotReservesWAL():
		return "", fmt.Errorf("create slot: %w", &UnsupportedError{v, "slot that reserves WAL at once", MakeVersion(9, 6)})
	case v.AtLeast(10):
		args += fmt.Sprintf(", %t, %t", reserve, temporary)
	case v.AtLeast(9, 6):
		args += fmt.Sprintf(", %t", reserve)
	}
	// The second column was renamed in 10 (xlog_position, lsn): name both here.
	return "select s.lsn::text as lsn from pg_create_physical_replication_slot(" + args + ") as s(slot_name, lsn)", nil
}

// CopySlot makes slot dst hold what src holds, from the same restart_lsn on. One
// row: lsn. src may be a temporary slot of the same session.
func (v Version) CopySlot(src, dst string, temporary bool) (string, error) {
	for _, s := range []string{src, dst} {
		if err := ValidSlotName(s); err != nil {
			return "", fmt.Errorf("copy slot: %w", err)
		}
	}
	if !v.CopiesSlots() {
		return "", fmt.Errorf("copy slot: %w", &UnsupportedError{v, "copy of a slot", MakeVersion(12)})
	}
	return fmt.Sprintf("select s.lsn::text as lsn from pg_copy_physical_replication_slot('%s', '%s', %t) as s(slot_name, lsn)",
		src, dst, temporary), nil
}

// DropSlot drops a slot that nobody uses.
func (v Version) DropSlot(slot string) (string, error) {
	if err := ValidSlotName(slot); err != nil {
		return "", fmt.Errorf("drop slot: %w", err)
	}
	return "select pg_drop_replication_slot('" + slot + "')", nil
}
