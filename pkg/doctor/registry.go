package doctor

import "slices"

// Checks is the one list of all checks, in the order in which they are shown.
func Checks() []Check {
	return slices.Concat(hostChecks(), serverChecks(), sourceChecks(), copyChecks(), targetChecks(), roleChecks(), archiveChecks())
}

func hostChecks() []Check {
	return []Check{
		{ID: "tool.bridge-missing", Severity: Block, onHost: bridgeMissing,
			Doc: "perl, python3 or socat is installed: one of them joins an SQL session to the server's unix socket."},
		{ID: "tool.missing", Severity: Block, onHost: toolMissing,
			Doc: "find and sync are installed."},
		{ID: "binaries.missing", Severity: Block, onHost: binariesMissing,
			Doc: "The server's programs are found: in bin_directory, else beside the running server, else where packages put them."},
		{ID: "binaries.other-major", Severity: Block, onHost: binariesOtherMajor,
			Doc: "They are of the inventory's major version."},
		{ID: "clock.far", Severity: Block, onHost: clockFar,
			Doc: "The clock is less than a minute off: the key of a copy expires by the host's clock."},
		{ID: "clock.skew", Severity: Warn, onHost: clockSkew,
			Doc: "The clock is less than two seconds off: replication lag in seconds compares two clocks."},
		{ID: "run.interrupted", Severity: Warn, onHost: runInterrupted,
			Doc: "No run of any operator is unfinished: as long as one is, no other begins."},
		{ID: "server.not-ready", Severity: Block, onHost: serverNotReady,
			Doc: "A server that runs accepts sessions on the inventory's port."},
		{ID: "server.another", Severity: Block, onHost: serverAnother,
			Doc: "The server that answers on the inventory's port is the one of its data directory."},
		{ID: "service.owner", Severity: Block, onHost: serviceOwner,
			Doc: "With `service: {kind: systemd}` the unit exists, and a server that runs belongs to it: systemctl could neither start, stop nor restart it otherwise."},
		{ID: "service.unit", Severity: Warn, onHost: serviceUnit,
			Doc: "With `pg_ctlcluster` or `pg_ctl` no systemd unit has the server. What those start as the database's OS user is outside of the unit: systemctl then calls it stopped, and does not stop or restart it."},
		{ID: "service.start-timeout", Severity: Warn, onHost: serviceStartTimeout,
			Doc: "With `service: {kind: systemd}` a start of the unit may take as long as it needs: systemd kills a server whose recovery takes longer than TimeoutStartSec."},
	}
}

func serverChecks() []Check {
	return []Check{
		{ID: "server.version", Severity: Block, onHost: serverVersion,
			Doc: "The server is of the inventory's major version."},
		{ID: "server.role", Severity: Block, onHost: serverRole,
			Doc: "The inventory's primary takes writes."},
		{ID: "server.writable-twin", Severity: Block, onHost: writableTwin,
			Doc: "No standby of the inventory takes writes. A second server that does, of the same system, loses what is written to it."},
		{ID: "release.known-bad", Severity: Warn, onHost: knownBad,
			Doc: "The server's release has no known fault that touches replication, backups or the trust in a copy. Findings have an id of their own, `release.…`, and the severity of the fault."},
		{ID: "release.end-of-life", Severity: Warn, onHost: endOfLife,
			Doc: "The major version still gets fixes."},
		{ID: "config.errors", Severity: Block, onHost: configErrors,
			Doc: "The server accepts its configuration files as they are on disk. A file that is already broken makes the next restart fail, and hides whether our edit was good."},
		{ID: "config.pending-restart", Severity: Warn, onHost: pendingRestart,
			Doc: "No setting waits for a restart: the next restart would change more than you expect."},
		{ID: "archive.failing", Severity: Warn, onHost: archiveFailing,
			Doc: "The last WAL file was archived. While archiving fails, WAL piles up."},
		{ID: "fsync.off", Severity: Warn, onHost: fsyncOff,
			Doc: "fsync is on: without it a crash can leave any file damaged."},
		{ID: "full-page-writes.off", Severity: Warn, onHost: fullPageWritesOff,
			Doc: "full_page_writes is on: without it a crash can leave torn pages, and a standby cannot be the source of a backup."},
		{ID: "checksums.off", Severity: Note, onHost: checksumsOff,
			Doc: "Data checksums are on: without them damage that a disk does is copied unseen."},
	}
}

func sourceChecks() []Check {
	return []Check{
		{ID: "source.down", Severity: Block, onSource: sourceDown,
			Doc: "The host to copy from, and to stream from, runs."},
		{ID: "source.wal-level", Severity: Block, onSource: sourceWALLevel,
			Doc: "wal_level serves a standby. To change it needs a restart, which no plan does unasked."},
		{ID: "source.backup-from-standby", Severity: Block, onSource: backupFromStandby,
			Doc: "A standby of 9.4 or 9.5 cannot be the source of a backup."},
		{ID: "source.exclusive-backup", Severity: Block, onSource: exclusiveBackup,
			Doc: "No exclusive backup is in progress."},
		{ID: "tool.psql-missing", Severity: Block, onSource: psqlMissing,
			Doc: "On 9.4 and 9.5, psql is installed: with it the host ends the exclusive backup when the tool cannot."},
		{ID: "source.backup-running", Severity: Note, onSource: backupRunning,
			Doc: "No other base backup runs. Two at a time are allowed, and share the disk."},
		{ID: "archive.blocks-backup", Severity: Block, onSource: archiveBlocksBackup,
			Doc: "On 9.6 and older, archiving works: the end of a backup waits for it, for ever if need be."},
		{ID: "role.expired", Severity: Block, onSource: roleExpired,
			Doc: "The replication role's password is valid."},
		{ID: "role.superuser", Severity: Warn, onSource: roleSuperuser,
			Doc: "The replication role is no superuser: it needs LOGIN and REPLICATION, nothing else."},
		{ID: "tls.off", Severity: Block, onSource: tlsOff,
			Doc: "ssl is on if replication.sslmode asks for it: a hostssl rule never matches otherwise."},
		{ID: "slot.strange", Severity: Warn, onSource: slotStrange,
			Doc: "No unused slot is there that the inventory does not know: it keeps WAL until the disk is full."},
	}
}

func copyChecks() []Check {
	return []Check{
		{ID: "rsync.missing", Severity: Block, onPair: rsyncMissing,
			Doc: "rsync is installed on both ends of the copy."},
		{ID: "rsync.too-old", Severity: Block, onPair: rsyncTooOld,
			Doc: "rsync is at least 3.1.3 on both ends."},
		{ID: "rsync.insecure", Severity: Warn, onPair: rsyncInsecure,
			Doc: "rsync is at least 3.4.0 on both ends: older ones let a hostile sender write outside the target (CVE-2024-12084 and others)."},
		{ID: "copy.authorized-keys", Severity: Block, onPair: copyAuthorizedKeys,
			Doc: "sshd of the upstream reads the login user's keys from ~/.ssh/authorized_keys, where the key of the copy is put. Nothing is said when its configuration cannot be read, or depends on more than the user."},
		{ID: "copy.sudo", Severity: Block, onPair: copySudo,
			Doc: "sudo of the upstream lets the login user run rsync as the database's OS user without a password: the key of the copy can give none."},
		{ID: "machine.architecture", Severity: Block, onPair: architectureDiffers,
			Doc: "Both hosts have one architecture: data files are not portable."},
		{ID: "machine.libc", Severity: Block, onPair: libcDiffers,
			Doc: "Both hosts have one release of glibc: another one may sort text in another order, and indexes then silently miss rows."},
		{ID: "machine.icu", Severity: Block, onPair: icuDiffers,
			Doc: "Where a database of the upstream sorts by ICU (15 and later), the servers of both hosts have one major version of it, for the same reason."},
		{ID: "release.pair", Severity: Block, onPair: releasePair,
			Doc: "The standby's release can replay the upstream's WAL. Findings have an id of their own, `release.…`, and the severity of the fault."},
		{ID: "wal-senders.full", Severity: Block, onPair: walSendersFull,
			Doc: "max_wal_senders of the upstream has room for the standby."},
		{ID: "slots.full", Severity: Block, onPair: slotsFull,
			Doc: "max_replication_slots of the upstream has room for the standby's slot."},
		{ID: "slot.taken", Severity: Block, onPair: slotTaken,
			Doc: "The standby's slot, if it exists, is physical and not used by somebody else."},
		{ID: "slot.lost", Severity: Block, onPair: slotLost,
			Doc: "The standby's slot, if it exists, still has its WAL."},
		{ID: "sync.unplanned", Severity: Warn, onPair: syncUnplanned,
			Doc: "synchronous_standby_names does not make the new standby synchronous by itself: commits would wait for it."},
	}
}

func targetChecks() []Check {
	return []Check{
		{ID: "target.is-source", Severity: Block, onPair: targetIsSource,
			Doc: "The data directory to fill is not the one to copy from, under whatever address or path."},
		{ID: "target.system-directory", Severity: Block, onPair: targetSystemDirectory,
			Doc: "The data directory is not / nor a directory of the system."},
		{ID: "target.mount-point", Severity: Block, onPair: targetMountPoint,
			Doc: "The data directory is below a mount point, not the mount point itself: if it is not mounted one day, the server must not find an empty directory in its place."},
		{ID: "target.foreign", Severity: Block, onPair: targetForeign,
			Doc: "The data directory is absent, empty, or a data directory. Files of others are not touched."},
		{ID: "target.server-running", Severity: Block, onPair: targetServerRunning,
			Doc: "No server runs in the data directory to fill, whatever postmaster.pid says."},
		{ID: "target.other-system", Severity: Block, onPair: targetOtherSystem,
			Doc: "The data directory does not hold another cluster (by its system identifier)."},
		{ID: "target.not-a-standby", Severity: Block, onPair: targetNotStandby,
			Doc: "The data directory does not hold a copy of this cluster that was a primary: it may have the only copy of some writes."},
		{ID: "target.space", Severity: Block, onPair: targetSpace,
			Doc: "Each file system has room for what comes to it, the data directory and tablespaces, and a tenth more."},
		{ID: "target.port", Severity: Block, onPair: targetPort,
			Doc: "Nothing else listens on the standby's port."},
		{ID: "target.config-directory", Severity: Block, onPair: targetConfigDirectory,
			Doc: "Where configuration lies outside the data directory, the standby has its own (on Debian: the cluster was created)."},
		{ID: "target.tablespace-directory", Severity: Block, onPair: targetTablespace,
			Doc: "Every tablespace has its directory on the standby: replay stops at the first that has none."},
		{ID: "target.library", Severity: Block, onPair: targetLibrary,
			Doc: "The libraries of the upstream's shared_preload_libraries, and of the standby's own, are installed on the standby: its server would not start."},
		{ID: "target.tmpfs", Severity: Block, onPair: targetTmpFS,
			Doc: "The OS user can write to a memory file system, where the key of the copy lies while it runs."},
		{ID: "standby.parameters", Severity: Note, onPair: standbyParameters,
			Doc: "max_connections and its kin are not lower on the standby than on its upstream: it would not start. The plan raises them."},
		{ID: "standby.hot-standby-off", Severity: Warn, onPair: hotStandbyOff,
			Doc: "hot_standby is not off on the standby (10 and later; the plan sets it on older ones): it would serve no reads, and could not be asked whether it streams."},
	}
}
