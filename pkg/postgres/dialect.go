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

// Sendable is where the WAL ends that a server has to send: written here, or received.
func (v Version) Sendable() string {
	return "case when pg_is_in_recovery() then " + v.LastReceive() + " else " + v.CurrentWAL() + " end"
}

// Timeline is the one that a primary writes and a standby has reached; 0 on a
// standby before 9.6.
func (v Version) Timeline() string {
	standby := "0"
	if v.ControlFunctions() {
		standby = "greatest((select timeline_id from pg_control_checkpoint())," +
			" (select min_recovery_end_timeline from pg_control_recovery())," +
			" (select max(received_tli) from pg_stat_wal_receiver))"
	}
	return "case when pg_is_in_recovery() then " + standby + " else " + v.writtenTimeline() + " end"
}

// writtenTimeline is that of the WAL file which a primary writes; it fails on a
// standby. The control file of a server that was just promoted still names the old
// one until its first checkpoint.
func (v Version) writtenTimeline() string {
	return "('x' || substr(" + v.pick("pg_walfile_name", "pg_xlogfile_name") + "(" + v.CurrentWAL() + "), 1, 8))::bit(32)::int"
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

// RedoColumn is where recovery would begin, in pg_control_checkpoint (9.6+).
func (v Version) RedoColumn() string { return v.pick("redo_lsn", "redo_location") }

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

// CopySlots reports whether a slot can be made of another, which keeps the same WAL.
func (v Version) CopySlots() bool { return v.AtLeast(12) }

// CopySlot makes the permanent physical slot to of the slot from: it keeps WAL from the
// same position on. Without the third argument it would be as temporary as from is.
func (v Version) CopySlot(from, to string) (string, error) {
	for _, name := range []string{from, to} {
		if err := ValidSlotName(name); err != nil {
			return "", fmt.Errorf("copy slot: %w", err)
		}
	}
	if !v.CopySlots() {
		return "", fmt.Errorf("copy slot: %w", &UnsupportedError{v, "copy of a slot", MakeVersion(12)})
	}
	return "select s.lsn::text as lsn from pg_copy_physical_replication_slot('" + from + "', '" + to + "', false) as s(slot_name, lsn)", nil
}

// DropSlot drops a slot that nobody uses.
func (v Version) DropSlot(slot string) (string, error) {
	if err := ValidSlotName(slot); err != nil {
		return "", fmt.Errorf("drop slot: %w", err)
	}
	return "select pg_drop_replication_slot('" + slot + "')", nil
}
