package postgres

import (
	"strings"
	"testing"
)

func TestAnExclusiveBackupIsEndedOnlyByItsOwnLabel(t *testing.T) {
	t.Parallel()
	sql, err := EndExclusiveBackup("pgrepctl:run'1:a")
	if err != nil {
		t.Fatal(err)
	}
	// One statement: between a look and an act somebody else's could have begun.
	const want = `select case when case when pg_is_in_backup() then position(chr(10) || 'LABEL: pgrepctl:run''1:a' || chr(10) in pg_read_file('backup_label')) > 0 else false end then pg_stop_backup()::text end as lsn`
	if sql != want || strings.Contains(sql, ";") {
		t.Errorf("got %s", sql)
	}
	for _, bad := range []string{"", "a\nSTART", "ä"} {
		if _, err := EndExclusiveBackup(bad); err == nil {
			t.Errorf("label %q is taken", bad)
		}
		if _, err := OwnsExclusiveBackup(bad); err == nil {
			t.Errorf("label %q is taken", bad)
		}
	}
}
