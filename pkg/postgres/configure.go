package postgres

import "fmt"

// HashKind is how a server keeps passwords, spelled as password_encryption and
// the pg_hba.conf method are.
type HashKind string

const (
	MD5         HashKind = "md5"
	SCRAMSHA256 HashKind = "scram-sha-256"
)

// PasswordHash is the strongest kind that the server understands. Below 10 a
// SCRAM verifier would be taken for a plain password and hashed, without an
// error: the role then has a password that nobody knows.
func (v Version) PasswordHash() HashKind {
	if v.AtLeast(10) {
		return SCRAMSHA256
	}
	return MD5
}

// UsesSignalFiles reports that recovery is set up by standby.signal and
// settings. Before 12 it is recovery.conf; each kind of server ignores or refuses
// the other's files, and ignoring them makes a writable twin.
func (v Version) UsesSignalFiles() bool { return v.AtLeast(12) }

// RecoveryFile is the file in the data directory that makes a server start as a
// standby. Before 12 it also holds the settings of recovery, and a promotion
// renames it to recovery.done.
func (v Version) RecoveryFile() string {
	if v.UsesSignalFiles() {
		return "standby.signal"
	}
	return "recovery.conf"
}

// StatusInPIDFile reports whether the eighth line of postmaster.pid says "starting",
// "stopping", "ready" or "standby" (hot_standby off).
func (v Version) StatusInPIDFile() bool { return v.AtLeast(10) }

// SyncsFileSystems reports whether a server that starts to recover can sync whole
// file systems (recovery_init_sync_method) and not each file, which flushes the disk for
// each, written or not.
func (v Version) SyncsFileSystems() bool { return v.AtLeast(14) }

// PassfileInConninfo reports whether primary_conninfo can name a passfile.
// Before 10 only ~/.pgpass of the server's OS user is read.
func (v Version) PassfileInConninfo() bool { return v.AtLeast(10) }

// ChannelBinding reports whether a conninfo can ask for channel binding: for SCRAM that
// is bound to the certificate of the TLS session. libpq of a standby is of its own major
// version.
func (v Version) ChannelBinding() bool { return v.AtLeast(13) }

// RequireAuth reports whether a conninfo can name the methods that may be used.
func (v Version) RequireAuth() bool { return v.AtLeast(16) }

// BindingParams make libpq refuse a server that does not log it in by SCRAM with channel
// binding. Before 13 it cannot be told to. require_auth says nothing more but which
// method was wanted, and says it before a password was asked for.
func (v Version) BindingParams() []Param {
	var out []Param
	if v.ChannelBinding() {
		out = append(out, Param{Key: "channel_binding", Value: "require"})
	}
	if v.RequireAuth() {
		out = append(out, Param{Key: "require_auth", Value: string(SCRAMSHA256)})
	}
	return out
}

// PrimaryConninfoReloads reports whether a changed primary_conninfo or
// primary_slot_name needs only a reload.
func (v Version) PrimaryConninfoReloads() bool { return v.AtLeast(13) }

// PromoteFunction reports whether pg_promote() exists; before 12 pg_ctl or a
// file promotes.
func (v Version) PromoteFunction() bool { return v.AtLeast(12) }

// StandbyWALLevel is the least wal_level that serves a hot standby.
func (v Version) StandbyWALLevel() string {
	if v.AtLeast(9, 6) {
		return "replica"
	}
	return "hot_standby"
}

// WALLevelServesStandby reports whether a value of wal_level serves a hot
// standby. From 9.6 on archive and hot_standby both mean replica.
func (v Version) WALLevelServesStandby(level string) bool {
	switch level {
	case "replica", "hot_standby", "logical":
		return true
	case "archive":
		return v.AtLeast(9, 6)
	}
	return false
}

// HotStandbyByDefault reports whether a standby accepts sessions unless hot_standby is
// set. Before 10 it does not.
func (v Version) HotStandbyByDefault() bool { return v.AtLeast(10) }

// KeepWALSetting is the setting that keeps old WAL for standbys without a slot.
func (v Version) KeepWALSetting() string {
	if v.AtLeast(13) {
		return "wal_keep_size"
	}
	return "wal_keep_segments"
}

// KeepWAL is the value of KeepWALSetting that keeps at least so many bytes, with
// WAL files of segment bytes.
func (v Version) KeepWAL(bytes, segment int64) (string, error) {
	if bytes < 0 || segment < 1<<20 {
		return "", fmt.Errorf("compute %s: %d bytes in files of %d", v.KeepWALSetting(), bytes, segment)
	}
	up := func(n, per int64) int64 { return n/per + min(n%per, 1) }
	if v.AtLeast(13) {
		return fmt.Sprintf("%dMB", up(bytes, 1<<20)), nil
	}
	return fmt.Sprint(up(bytes, segment)), nil
}

// SlotLimitSetting is the setting that bounds what slots may hold, empty before
// 13, where a forgotten slot fills the disk.
func (v Version) SlotLimitSetting() string {
	if v.AtLeast(13) {
		return "max_slot_wal_keep_size"
	}
	return ""
}

// StandbyParameters are the settings that must not be lower on a standby than on
// its primary. Raise them on standbys first, lower them on the primary first
// (manual, "Administrator's Overview" of hot standby). WAL senders stopped
// counting as connections in 12 and have been on the list since.
func (v Version) StandbyParameters() []string {
	out := []string{"max_connections", "max_locks_per_transaction", "max_prepared_transactions"}
	if v.AtLeast(12) {
		out = append(out, "max_wal_senders")
	}
	return append(out, "max_worker_processes")
}

// FileSettings reports whether pg_file_settings and pg_settings.pending_restart
// exist: what the files say, before a reload.
func (v Version) FileSettings() bool { return v.AtLeast(9, 5) }

// HBAFileRules reports whether pg_hba_file_rules exists: the errors of
// pg_hba.conf, which a reload only logs.
func (v Version) HBAFileRules() bool { return v.AtLeast(10) }

// HBAIncludes reports whether pg_hba.conf can include files; the view then has
// the columns rule_number and file_name.
func (v Version) HBAIncludes() bool { return v.AtLeast(16) }

// ControlFunctions reports whether pg_control_system() and its kin exist.
func (v Version) ControlFunctions() bool { return v.AtLeast(9, 6) }
