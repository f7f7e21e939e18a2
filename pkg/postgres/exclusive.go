package postgres

import "fmt"

// An exclusive backup (the only kind of 9.4 and 9.5, and gone in 15) belongs to the
// server and not to a session. Two files in the data directory are all that tells of
// it: backup_label, whose line LABEL says whose it is, and tablespace_map (9.5 and
// later, where there are tablespaces). Anybody may end it, from any session; so what
// ends it here looks at that line first, in the same statement.

// WritesTablespaceMap reports whether a backup comes with a tablespace_map. In 9.4
// nothing but the links in pg_tblspc says where tablespaces are.
func (v Version) WritesTablespaceMap() bool { return v.AtLeast(9, 5) }

// ExclusiveBackupFiles selects the files of the exclusive backup in progress: label,
// and map, NULL where there is none. No row: there is no such backup.
func ExclusiveBackupFiles() string {
	return "select pg_read_file(l) as label, (select pg_read_file(m) from pg_ls_dir('.') m where m = 'tablespace_map') as map" +
		" from pg_ls_dir('.') l where l = 'backup_label' and pg_is_in_backup()"
}

// OwnsExclusiveBackup selects one row: ours, whether the exclusive backup in progress
// was begun with this label.
func OwnsExclusiveBackup(label string) (string, error) {
	condition, err := labelled(label)
	if err != nil {
		return "", err
	}
	return "select " + condition + " as ours", nil
}

// EndExclusiveBackup ends the exclusive backup in progress if it was begun with this
// label, and no other. One row: lsn, NULL if there was nothing to end. With archive_mode
// on it waits for the archiver; to cancel it then does no harm, for backup mode has
// ended before (seen on 9.4).
func EndExclusiveBackup(label string) (string, error) {
	condition, err := labelled(label)
	if err != nil {
		return "", err
	}
	return "select case when " + condition + " then pg_stop_backup()::text end as lsn", nil
}

// labelled: the file is read only while there is one.
func labelled(label string) (string, error) {
	if err := ValidBackupLabel(label); err != nil {
		return "", err
	}
	text, err := QuoteLiteral("LABEL: " + label)
	if err != nil {
		return "", fmt.Errorf("backup label: %w", err)
	}
	return "case when pg_is_in_backup() then position(chr(10) || " + text + " || chr(10) in pg_read_file('backup_label')) > 0 else false end", nil
}

// TablespaceLocations selects where the tablespaces of a server are that lie elsewhere:
// location, absolute.
func TablespaceLocations() string {
	return "select pg_tablespace_location(oid) as location from pg_tablespace where pg_tablespace_location(oid) like '/%' order by 1"
}
