package live

import (
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func rows(query string) string {
	return "(select coalesce(json_agg(row_to_json(q)), '[]'::json) from (" + query + ") q)"
}

func firstRow(query string) string {
	return "(select row_to_json(q) from (" + query + " limit 1) q)"
}

// stateQuery selects one row in the form of state, of all that Gather tells of a
// server. Times are made ISO 8601 by JSON, LSNs are text.
func stateQuery(v postgres.Version) string {
	recovery := "pg_is_in_recovery()"
	here := "case when " + recovery + " then " + v.LastReplay() + " else " + v.CurrentWAL() + " end"
	columns := []string{
		recovery + " as in_recovery",
		systemID(v) + " as system",
		v.Timeline() + " as tli",
		"coalesce((" + here + ")::text, '0/0') as lsn",
		"current_setting('data_directory') as data_directory",
		"current_setting('config_file') as config_file",
		"current_setting('hba_file') as hba_file",
		"current_setting('ssl')::bool as ssl",
		"pg_postmaster_start_time() as started_at",
		rows(slots(v, upTo(v, v.CurrentWAL()))) + " as slots",
		rows(senders(v)) + " as senders",
		"current_setting('synchronous_standby_names') as sync_standbys",
		firstRow(replay(v)) + " as replay",
		rows(tablespaces) + " as tablespaces",
		pendingRestart(v) + " as pending_restart",
		firstRow(archiver) + " as archiver",
		exclusiveBackup(v) + " as exclusive_backup",
		firstRow(postgres.ClusterLockHolder) + " as lock",
		limits(v) + " as limits",
	}
	return "select " + strings.Join(columns, ",\n\t")
}

// limits are the settings that a standby must not have lower than its primary, as
// the server runs with them.
func limits(v postgres.Version) string {
	var pairs []string
	for _, n := range v.StandbyParameters() {
		pairs = append(pairs, "'"+n+"', current_setting('"+n+"')::int")
	}
	return "json_build_object(" + strings.Join(pairs, ", ") + ")"
}

func systemID(v postgres.Version) string {
	if v.ControlFunctions() {
		return "(select system_identifier::text from pg_control_system())"
	}
	return "''::text"
}

// upTo is where the WAL ends that a server has: primary there, on a standby the last
// that it received. One that reads an archive replays more than it has received, and
// one that delays replay has received more: its own slots may be further than replay.
func upTo(v postgres.Version, primary string) string {
	return "case when pg_is_in_recovery() then greatest(" + v.LastReceive() + ", " + v.LastReplay() + ") else " + primary + " end"
}

// slots joins the application that uses a slot: only walsenders do, and those of
// every version are in pg_stat_replication. 9.4 does not say which. synced (17+) means
// something on a standby only: on the primary it is left over from a promotion. A slot
// that was invalidated for another reason than wal_removed still has a restart_lsn, and
// keeps nothing all the same.
func slots(v postgres.Version, here string) string {
	return "select s.slot_name as name, s.slot_type as type, s.active, coalesce(s.active_pid, 0) as active_pid," +
		" s.temporary, s.synced and pg_is_in_recovery() as synced, s.restart_lsn, s.confirmed_flush_lsn," +
		" coalesce(s.wal_status, '') as wal_status, coalesce(s.invalidation_reason, '') as invalidation_reason, s.safe_wal_size," +
		" case when s.wal_status = 'lost' then null else ((" + here + ") - s.restart_lsn::pg_lsn)::int8 end as retained_bytes," +
		" coalesce(r.application_name, '') as client" +
		" from (" + v.Slots() + ") s left join pg_stat_replication r on r.pid = s.active_pid order by s.slot_name"
}

func senders(v postgres.Version) string {
	return "select pid, coalesce(usename, '') as \"user\", coalesce(application_name, '') as application," +
		" coalesce(client_addr, '') as client, coalesce(state, '') as state, coalesce(sync_state, '') as sync_state," +
		" sent_lsn as sent, flush_lsn as flush, replay_lsn as replay, replay_lag," +
		" extract(epoch from clock_timestamp() - reply_time::timestamptz)::float8 as reply_age" +
		" from (" + v.WALSenders() + ") s"
}

func replay(v postgres.Version) string {
	configured := "''"
	if v.UsesSignalFiles() {
		configured = "current_setting('primary_slot_name')"
	}
	return "select coalesce(w.status, '') as receiver_status, coalesce(w.sender_host, '') as sender_host," +
		" coalesce(w.sender_port, 0) as sender_port, coalesce(w.slot_name, '') as slot_name," +
		" " + configured + " as configured_slot," +
		" " + v.LastReceive() + "::text as receive, " + v.LastReplay() + "::text as replay," +
		" case when pg_is_in_recovery() then " + v.IsReplayPaused() + " else false end as paused," +
		" case when pg_is_in_recovery() then " + v.ReplayPauseState() + " else 'not paused' end as pause_state, " + v.RecoveryTarget() + " as target, pg_last_xact_replay_timestamp() as last_replay_at," +
		" extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 as last_replay_age" +
		" from (select 1) one left join (" + v.WALReceiver() + ") w on true"
}

// A location that is not absolute is an in-place tablespace (15, and by minor
// releases since 10): a plain directory below pg_tblspc.
const tablespaces = `select oid::int8, spcname as name, pg_tablespace_location(oid) as location
	from pg_tablespace where pg_tablespace_location(oid) like '/%' order by spcname`

func pendingRestart(v postgres.Version) string {
	if !v.FileSettings() {
		return "'[]'::json"
	}
	return "(select coalesce(json_agg(name order by name), '[]'::json) from pg_settings where pending_restart)"
}

const archiver = `select current_setting('archive_mode') as mode, last_archived_time as last_archived,
	last_failed_time as last_failed, coalesce(last_failed_wal, '') as failed_file from pg_stat_archiver`

func exclusiveBackup(v postgres.Version) string {
	if v.AtLeast(15) {
		return "false"
	}
	return "case when pg_is_in_recovery() then false else pg_is_in_backup() end"
}
