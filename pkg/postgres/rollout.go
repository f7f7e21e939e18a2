package postgres

import (
	"fmt"
	"strings"
)

// FlushedWAL is how far the WAL of a primary is flushed, which is at or behind the end
// of what was committed with synchronous_commit on; before 9.6 how far it is written.
func (v Version) FlushedWAL() string {
	switch {
	case v.AtLeast(10):
		return "pg_current_wal_flush_lsn()"
	case v.AtLeast(9, 6):
		return "pg_current_xlog_flush_location()"
	default:
		return v.CurrentWAL()
	}
}

// Flush is a statement after which all WAL is on the server's disk that was written before
// it. A commit is flushed only if its transaction has written WAL, and to have an id
// (txid_current) is none: so it writes a message of no bytes, which is nobody's. It waits
// for no standby. Empty before 9.6, which has no such messages.
func (v Version) Flush() string {
	if !v.AtLeast(9, 6) {
		return ""
	}
	return "select set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'pgrepctl', '')"
}

// ProbeCommit is a query of one row, commit, its transaction's id. It is committed as a
// client's is: flushed, and waited for by synchronous standbys; but not before 9.6 (see
// Flush), where it takes what a transaction without WAL does.
func (v Version) ProbeCommit() string {
	if !v.AtLeast(9, 6) {
		return "select txid_current() as commit"
	}
	return "select txid_current() as commit, pg_logical_emit_message(true, 'pgrepctl', '')::text as written"
}

// TellsXactStatus reports whether a server knows later what became of a transaction.
func (v Version) TellsXactStatus() bool { return v.AtLeast(10) }

// XactStatus is a query of one row, status, for a transaction id as txid_current gave
// it ($1, text): committed, aborted, in progress, or NULL when it is too long ago.
func (v Version) XactStatus() string { return "select txid_status($1::text::bigint) as status" }

// TellsRewrites reports whether an event trigger can refuse a table rewrite.
func (v Version) TellsRewrites() bool { return v.AtLeast(9, 5) }

// RewriteRefused is the SQLSTATE of a rewrite that RefuseRewrites stopped.
const RewriteRefused = "PGC01"

// RefuseRewrites are the statements that make a rewrite of a table fail before it
// begins, in the transaction that runs them, and AllowRewrites those that end that. An
// event trigger needs a superuser. It does not fire for VACUUM FULL and CLUSTER.
func RefuseRewrites() []string {
	return []string{
		"create function pg_temp.pgrepctl_refuse_rewrite() returns event_trigger language plpgsql as $pgrepctl$ begin" +
			" raise exception using errcode = '" + RewriteRefused + "', message = 'it would write ' || pg_event_trigger_table_rewrite_oid()::regclass || ' anew'; end $pgrepctl$",
		"create event trigger pgrepctl_refuse_rewrite on table_rewrite execute procedure pg_temp.pgrepctl_refuse_rewrite()",
	}
}

// AllowRewrites ends what RefuseRewrites began.
func AllowRewrites() []string {
	return []string{"drop event trigger pgrepctl_refuse_rewrite", "drop function pg_temp.pgrepctl_refuse_rewrite()"}
}

// held is true while a client of the server holds or awaits a lock on one of the
// relations of a database.
func (v Version) held(database string, relations []int64) (string, error) {
	name, err := QuoteLiteral(database)
	if err != nil {
		return "", err
	}
	client := "l.pid in (select pid from pg_stat_activity where backend_type = 'client backend')"
	if !v.AtLeast(10) {
		client = "l.pid in (select pid from pg_stat_activity)"
	}
	oids := strings.Trim(strings.ReplaceAll(fmt.Sprint(relations), " ", ","), "[]")
	if oids == "" {
		return "false", nil
	}
	return "exists (select from pg_locks l where l.locktype = 'relation' and l.database = (select oid from pg_database where datname = " + name + ")" +
		" and l.relation in (" + oids + ") and l.pid <> pg_backend_pid() and " + client + ")", nil
}

// Locking is what a statement locks: relations, by names as SQL, with all that inherits from
// them or is a part of them.
type Locking struct {
	Names []string
	// Lone: it locks no more than that. Else it may lock the other end of their foreign keys
	// (RemoveTriggerById), and what a partition is a part of, with the default partition there
	// (heap_drop_with_catalog).
	Lone bool
}

// MayLock selects, for each of a list, its number n from 0 and the oids of what it may lock,
// with the tables of what is an index. Empty: there is no name in any.
func (v Version) MayLock(list []Locking) (string, error) {
	var all []string
	lone := true
	for n, l := range list {
		for _, name := range l.Names {
			text, err := QuoteLiteral(name)
			if err != nil {
				return "", err
			}
			lone = lone && l.Lone
			all = append(all, fmt.Sprintf("select %d as n, to_regclass(%s)::oid as oid, %t as lone", n, strings.TrimSpace(text), l.Lone))
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	q := "with recursive below as (select n, oid, lone from (" + strings.Join(all, " union all ") + ") named where oid is not null" +
		" union select b.n, i.inhrelid, b.lone from pg_inherits i join below b on i.inhparent = b.oid)" +
		" select n, oid::bigint from below union select b.n, i.indrelid::bigint from pg_index i join below b on i.indexrelid = b.oid"
	if !lone {
		q += v.lockedBeside()
	}
	return q + " order by 1, 2", nil
}

// lockedBeside is the rest of MayLock: what is locked beside the relations below.
func (v Version) lockedBeside() string {
	parents := " from pg_inherits i join below b on i.inhrelid = b.oid and not b.lone"
	q := " union select b.n, e.oid::bigint from pg_constraint c cross join lateral unnest(array[c.conrelid, c.confrelid, c.conindid]) has(oid)" +
		" join below b on b.oid = has.oid and not b.lone cross join lateral unnest(array[c.conrelid, c.confrelid]) e(oid) where c.contype = 'f'" +
		" union select b.n, i.inhparent::bigint" + parents
	if v.AtLeast(11) { // the first that has default partitions
		q += " union select b.n, p.partdefid::bigint" + parents + " join pg_partitioned_table p on p.partrelid = i.inhparent where p.partdefid <> 0"
	}
	return q
}

// Held is a query of one row, held: whether a client of the server holds a lock on one of
// the relations (oids) of a database.
func (v Version) Held(database string, relations []int64) (string, error) {
	h, err := v.held(database, relations)
	return "select " + h + " as held", err
}

// ResumeReplayUnlessHeld resumes replay if in that instant no client holds a lock on one of
// the relations, so that replay gets its own without waiting, and nobody queues behind it.
// One row: held.
func (v Version) ResumeReplayUnlessHeld(database string, relations []int64) (string, error) {
	h, err := v.held(database, relations)
	return "select h.held, case when not h.held then " + v.ResumeReplay() + "::text end as resumed from (select " + h + " as held offset 0) h", err
}

// ColumnsOf selects lines that say what relations (oids) are: name, kind and columns, in
// an order. Their oids are the same on a standby.
func ColumnsOf(relations []int64) string {
	oids := strings.Trim(strings.ReplaceAll(fmt.Sprint(relations), " ", ","), "[]")
	return "select concat_ws(' ', c.oid, c.relnamespace, c.relname, c.relkind, c.relowner, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, a.attisdropped) as line" +
		" from pg_class c left join pg_attribute a on a.attrelid = c.oid where c.oid in (" + oids + ") order by c.oid, a.attnum"
}
