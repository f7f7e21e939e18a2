package postgres

import "fmt"

// Identity is of a server: system, timeline (that which is received, on a
// standby), recovery, and paused. Before 9.6 SQL tells neither system nor
// timeline. There the stream itself proves them: a walreceiver ends at once when
// the upstream's system identifier is another or its timeline behind
// (libpqwalreceiver, since 9.0).
func (v Version) Identity() string {
	system, timeline := "''", "0"
	if v.ControlFunctions() {
		system = "(select system_identifier::text from pg_control_system())"
		timeline = "case when pg_is_in_recovery() then coalesce((select received_tli from pg_stat_wal_receiver), (select timeline_id from pg_control_checkpoint())) else " + v.writtenTimeline() + " end"
	}
	return "select " + system + " as system, " + timeline + " as timeline, pg_is_in_recovery() as recovery, " +
		"case when pg_is_in_recovery() then " + v.IsReplayPaused() + " else false end as paused"
}

// FlushWAL gets all WAL that was inserted so far flushed, and so sent to the
// standbys, by a small commit of its own: what others commit may be
// asynchronous, and on a quiet server nobody else commits. It must not run inside
// a transaction. With synchronous_commit off, and before 9.6 where nothing small
// flushes, it leaves that to the WAL writer, which comes within moments.
func (v Version) FlushWAL() string {
	if v.AtLeast(9, 6) {
		return "select pg_logical_emit_message(true, 'pgrepctl', ''::text)"
	}
	return "select txid_current()"
}

// TextSettings are statements that make the text form of every row the same in
// each session that runs them, whatever ALTER ROLE or postgresql.conf say.
func (v Version) TextSettings() []string {
	out := []string{
		"SET DateStyle = 'ISO, YMD'", "SET IntervalStyle = 'postgres'", "SET TimeZone = 'UTC'", "SET bytea_output = 'hex'",
		"SET lc_monetary = 'C'", "SET quote_all_identifiers = off",
		// From 12 on any positive value is the shortest exact form, before the
		// greatest one is needed for an exact form.
		"SET extra_float_digits = 3",
		// The text form of a regclass and its kin depends on it.
		"SET search_path = pg_catalog",
	}
	if v.AtLeast(9, 5) {
		// An error is better than rows that a policy hides.
		out = append(out, "SET row_security = off")
	}
	return out
}

// RowHash is of one table alone, without those that inherit from it: rows, and
// hash, the sums of both halves of each row's MD5. Sums do not depend on the order
// of rows, which differs between servers (synchronized scans, parallel workers),
// need no memory, and count rows that stand twice in it.
func (v Version) RowHash(schema, table string) (string, error) {
	name, err := QualifiedName(schema, table)
	if err != nil {
		return "", err
	}
	half := func(from int) string {
		return fmt.Sprintf("coalesce(sum(('x' || substr(m, %d, 16))::bit(64)::bigint), 0)::text", from)
	}
	// r.* in parentheses is the row even where a column is called r.
	return "select count(*) as rows, " + half(1) + " || ':' || " + half(17) + " as hash from (select md5((r.*)::text) as m from only " + name + " r) s", nil
}

// QualifiedName quotes a name with its schema.
func QualifiedName(schema, name string) (string, error) {
	s, err := QuoteIdent(schema)
	if err != nil {
		return "", err
	}
	n, err := QuoteIdent(name)
	if err != nil {
		return "", err
	}
	return s + "." + n, nil
}

// AmcheckProgram checks relations with the functions of the extension amcheck;
// empty before 14.
func (v Version) AmcheckProgram() string {
	if v.AtLeast(14) {
		return "pg_amcheck"
	}
	return ""
}

// ChecksumProgram is the program that verifies the data checksums of a server
// that is shut down, with the arguments that make it do that and nothing else;
// none before 11.
func (v Version) ChecksumProgram() []string {
	switch {
	case v.AtLeast(12):
		return []string{"pg_checksums", "--check"}
	case v.AtLeast(11):
		return []string{"pg_verify_checksums"}
	}
	return nil
}
