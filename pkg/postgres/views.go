package postgres

import "strings"

// column is one output column: its name now, and what to select for it.
func column(as, expr string) string {
	if as == expr {
		return as
	}
	return expr + " as " + as
}

func since(has bool, expr, null string) string {
	if has {
		return expr
	}
	return null
}

func selectFrom(view, order string, columns ...string) string {
	return "select " + strings.Join(columns, ", ") + " from " + view + " order by " + order
}

// WALSenders selects pg_stat_replication: pid, usename, application_name,
// client_addr, state, sent_lsn, write_lsn, flush_lsn, replay_lsn, write_lag,
// flush_lag, replay_lag, sync_priority, sync_state, backend_start, reply_time.
// LSNs and times are text, lags are seconds; lags are NULL before 10, reply_time
// before 12, and all but pid to roles that may not see them.
func (v Version) WALSenders() string {
	lsn := func(n string) string { return column(n+"_lsn", v.pick(n+"_lsn", n+"_location")+"::text") }
	lag := func(n string) string {
		return column(n, since(v.AtLeast(10), "extract(epoch from "+n+")::float8", "null::float8"))
	}
	return selectFrom("pg_stat_replication", "application_name, pid",
		"pid", "usename", "application_name", column("client_addr", "host(client_addr)"), "state",
		lsn("sent"), lsn("write"), lsn("flush"), lsn("replay"),
		lag("write_lag"), lag("flush_lag"), lag("replay_lag"),
		"sync_priority", "sync_state", column("backend_start", "backend_start::text"),
		column("reply_time", since(v.AtLeast(12), "reply_time::text", "null::text")))
}

// SenderProgress selects of pg_stat_replication the walsenders of application $1:
// state, mark, a text that changes whenever their positions do, how far each has sent,
// and goal, where what there is to send ends.
func (v Version) SenderProgress() string {
	sent := v.pick("sent_lsn", "sent_location")
	return "select state, concat(" + sent + ", " + v.pick("replay_lsn", "replay_location") + ") as mark, " + sent + "::text as sent, (" + v.Sendable() + ")::text as goal" +
		" from pg_stat_replication where application_name = $1"
}

// Slots selects pg_replication_slots: slot_name, plugin, slot_type, database,
// temporary, active, active_pid, xmin, catalog_xmin, restart_lsn,
// confirmed_flush_lsn, wal_status, safe_wal_size, invalidation_reason, synced,
// inactive_since. What a version does not have is NULL, except temporary and synced,
// which are then false.
func (v Version) Slots() string {
	return selectFrom("pg_replication_slots", "slot_name",
		"slot_name", "plugin", "slot_type", "database",
		column("temporary", since(v.AtLeast(10), "temporary", "false")),
		"active",
		column("active_pid", since(v.AtLeast(9, 5), "active_pid", "null::int4")),
		column("xmin", "xmin::text"), column("catalog_xmin", "catalog_xmin::text"),
		column("restart_lsn", "restart_lsn::text"),
		column("confirmed_flush_lsn", since(v.AtLeast(9, 6), "confirmed_flush_lsn::text", "null::text")),
		column("wal_status", since(v.AtLeast(13), "wal_status", "null::text")),
		column("safe_wal_size", since(v.AtLeast(13), "safe_wal_size", "null::int8")),
		column("invalidation_reason", since(v.AtLeast(17), "invalidation_reason", "null::text")),
		column("synced", since(v.AtLeast(17), "synced", "false")),
		column("inactive_since", since(v.AtLeast(17), "inactive_since::text", "null::text")))
}

// WALReceiver selects pg_stat_wal_receiver, no or one row: pid, status,
// slot_name, sender_host, sender_port, received_tli, flushed_lsn,
// latest_end_lsn, latest_end_time. The view came with 9.6, before there is no
// row. conninfo is left out: before 15.19 and its kin it could show a password.
func (v Version) WALReceiver() string {
	if !v.AtLeast(9, 6) {
		return "select null::int4 as pid, null::text as status, null::text as slot_name, " +
			"null::text as sender_host, null::int4 as sender_port, null::int4 as received_tli, " +
			"null::text as flushed_lsn, null::text as latest_end_lsn, null::text as latest_end_time where false"
	}
	return selectFrom("pg_stat_wal_receiver", "pid",
		"pid", "status", "slot_name",
		column("sender_host", since(v.AtLeast(11), "sender_host", "null::text")),
		column("sender_port", since(v.AtLeast(11), "sender_port", "null::int4")),
		"received_tli",
		// Renamed when written_lsn was added; both are what is flushed.
		column("flushed_lsn", since(v.AtLeast(13), "flushed_lsn::text", "received_lsn::text")),
		column("latest_end_lsn", "latest_end_lsn::text"),
		column("latest_end_time", "latest_end_time::text"))
}

// SettingsQuery selects pg_settings with the columns of Setting.
func (v Version) SettingsQuery() string {
	return selectFrom("pg_settings", "name",
		"name", "setting", "unit", "context", "vartype", "source", "sourcefile",
		column("pending_restart", since(v.FileSettings(), "pending_restart", "false")),
		"boot_val")
}

// FileSettingsQuery selects what the configuration files say now, with their
// errors: sourcefile, sourceline, seqno, name, setting, applied, error.
func (v Version) FileSettingsQuery() (string, error) {
	if !v.FileSettings() {
		return "", &UnsupportedError{v, "pg_file_settings", MakeVersion(9, 5)}
	}
	return selectFrom("pg_file_settings", "seqno",
		"sourcefile", "sourceline", "seqno", "name", "setting", "applied", "error"), nil
}

// ConfigErrorsQuery selects what the server would refuse in its files as they are
// on disk: file, line, name, message. There is no such query before 9.5, and before
// 10 it knows nothing of pg_hba.conf. A changed setting that needs a restart carries
// the same error text as a bad value, so those of context postmaster are left out;
// `postgres -C` tells them apart.
func (v Version) ConfigErrorsQuery() (string, bool) {
	files, err := v.FileSettingsQuery()
	if err != nil {
		return "", false
	}
	q := "select coalesce(f.sourcefile, '') as file, coalesce(f.sourceline, 0) as line, coalesce(f.name, '') as name, f.error as message" +
		" from (" + files + ") f left join pg_settings s on lower(s.name) = lower(f.name)" +
		" where f.error is not null and s.context is distinct from 'postmaster'"
	if rules, err := v.HBARulesQuery(); err == nil {
		q += " union all select coalesce(h.file_name, current_setting('hba_file')), coalesce(h.line_number, 0), '', h.error" +
			" from (" + rules + ") h where h.error is not null"
	}
	return q + " order by 1, 2, 3", true
}

// HBARulesQuery selects pg_hba.conf as the server would read it: file_name,
// line_number, type, database, user_name, address, netmask, auth_method, options,
// error. file_name is NULL before 16.
func (v Version) HBARulesQuery() (string, error) {
	if !v.HBAFileRules() {
		return "", &UnsupportedError{v, "pg_hba_file_rules", MakeVersion(10)}
	}
	order := "line_number"
	if v.HBAIncludes() {
		order = "rule_number, file_name, line_number"
	}
	return selectFrom("pg_hba_file_rules", order,
		column("file_name", since(v.HBAIncludes(), "file_name", "null::text")),
		"line_number", "type", "database", "user_name", "address", "netmask", "auth_method", "options", "error"), nil
}
