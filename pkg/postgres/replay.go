package postgres

import "strings"

// ReplayProgress selects one row of a server: in_recovery, state (as
// ReplayPauseState, NULL on a primary), receive, replay (LSNs, NULL when there are
// none), replayed_at (commit time of the last transaction replayed, NULL since a
// start until the first), now (the server's clock), waits (wait event of the startup
// process, NULL before 10 and while it works) and receiver (status of the
// walreceiver, empty when there is none).
func (v Version) ReplayProgress() string {
	waits := "null::text"
	if v.AtLeast(10) {
		waits = "(select max(wait_event) from pg_stat_activity where backend_type = 'startup')"
	}
	return "select pg_is_in_recovery() as in_recovery," +
		" case when pg_is_in_recovery() then " + v.ReplayPauseState() + " end as state," +
		" " + v.LastReceive() + "::text as receive, " + v.LastReplay() + "::text as replay," +
		" pg_last_xact_replay_timestamp() as replayed_at, clock_timestamp() as now, " + waits + " as waits," +
		" coalesce((select max(w.status) from (" + v.WALReceiver() + ") w), '') as receiver"
}

// WakesReplay gives the pid of the startup process where replay that was paused, and is
// resumed, has to be woken up: up to 13 that process sleeps for a second between two looks
// (recoveryPausesHere in xlog.c; from 14 on it waits on a condition variable). Empty where
// that is not so, and before 10, which does not tell.
func (v Version) WakesReplay() string {
	if !v.AtLeast(10) || v.AtLeast(14) {
		return ""
	}
	return "select pid from pg_stat_activity where backend_type = 'startup'"
}

// RecoveryTargets are the settings that name a point where recovery shall end, one
// of which may be set. recovery_target_lsn came with 10.
func (v Version) RecoveryTargets() []string {
	out := []string{"recovery_target", "recovery_target_name", "recovery_target_time", "recovery_target_xid"}
	if v.AtLeast(10) {
		out = append(out, "recovery_target_lsn")
	}
	return out
}

// RecoveryTargetQuery selects the recovery target that a server was started with:
// name and value, no or one row. Before 12 only recovery.conf knows it, and this is
// empty.
func (v Version) RecoveryTargetQuery() string {
	if !v.UsesSignalFiles() {
		return ""
	}
	return "select name, setting as value from pg_settings where name in ('" + strings.Join(v.RecoveryTargets(), "', '") + "') and setting <> '' order by name"
}

// RecoveryTarget is an expression for that row, as text "name = value"; empty
// without a target, and always before 12.
func (v Version) RecoveryTarget() string {
	if !v.UsesSignalFiles() {
		return "''"
	}
	s := "coalesce("
	for _, name := range v.RecoveryTargets() {
		s += "nullif('" + name + " = ' || current_setting('" + name + "'), '" + name + " = '), "
	}
	return s + "'')"
}

// WALDump is the program that prints WAL records.
func (v Version) WALDump() string { return v.pick("pg_waldump", "pg_xlogdump") }

// ResumeReplayUnlessTargeted is a statement of one line that resumes replay where that
// cannot end recovery. Before 12 the server does not tell its recovery target: there
// it must be known that it had none, and was not restarted.
func (v Version) ResumeReplayUnlessTargeted() string {
	s := "select case when pg_is_in_recovery() and " + v.IsReplayPaused() + " then " + v.ResumeReplay() + "::text end"
	if v.UsesSignalFiles() {
		s += " where not exists (select from pg_settings where name in ('" + strings.Join(v.RecoveryTargets(), "', '") + "') and setting <> '')"
	}
	return s
}

// ReplayLocks selects the relations that replay has locked against readers, or waits to lock:
// before 14 a pause that is asked for looks as if it held, and one that waits has the lock when
// its reader ends. Database, relation (oids) and name of the database. Before 10 the startup process is the one that
// pg_stat_activity does not show.
func (v Version) ReplayLocks() string {
	startup := "l.pid in (select pid from pg_stat_activity where backend_type = 'startup')"
	if !v.AtLeast(10) {
		startup = "l.pid not in (select pid from pg_stat_activity)"
	}
	return "select l.database::int8, l.relation::int8, coalesce(d.datname, '') as name from pg_locks l left join pg_database d on d.oid = l.database" +
		" where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and " + startup + " order by 1, 2"
}
