package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// As pg_backup_stop() of 15.20 returned it.
const label15 = `START WAL LOCATION: 0/F00028 (file 00000001000000000000000F)
CHECKPOINT LOCATION: 0/F00060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-22 04:29:57 UTC
LABEL: pgrepctl:20261122-x
START TIMELINE: 1
`

func TestBackupLabelOfAServer(t *testing.T) {
	t.Parallel()
	got, err := ParseBackupLabel([]byte(label15))
	want := BackupLabel{
		StartLSN: 0xF00028, StartFile: "00000001000000000000000F", CheckpointLSN: 0xF00060,
		Method: "streamed", BackupFrom: "primary", StartTime: "2026-11-22 04:29:57 UTC",
		Label: "pgrepctl:20261122-x", StartTimeline: 1,
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestBackupLabelOfOtherVersions(t *testing.T) {
	t.Parallel()
	// Before 11 there is no timeline line, up to 14 the primary is "master".
	old := strings.Replace(strings.Replace(label15, "START TIMELINE: 1\n", "", 1), "primary", "master", 1)
	old = strings.Replace(old, "file 00000001", "file 0000000A", 1)
	if l, err := ParseBackupLabel([]byte(old)); err != nil || l.BackupFrom != "primary" || l.StartTimeline != 10 {
		t.Errorf("%+v, %v", l, err)
	}
	standby := strings.Replace(label15, "primary", "standby", 1)
	if l, err := ParseBackupLabel([]byte(standby)); err != nil || l.BackupFrom != "standby" {
		t.Errorf("%+v, %v", l, err)
	}
	incremental := label15 + "INCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n"
	if l, err := ParseBackupLabel([]byte(incremental)); err != nil || !l.Incremental {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestBackupLabelThatRecoveryWouldRefuseIsRefused(t *testing.T) {
	t.Parallel()
	change := func(old, with string) string { return strings.Replace(label15, old, with, 1) }
	for name, text := range map[string]string{
		"empty":               "",
		"one line":            "START WAL LOCATION: 0/1 (file 000000010000000000000001)\n",
		"returns":             strings.ReplaceAll(label15, "\n", "\r\n"),
		"cut off":             strings.TrimSuffix(label15, "\n"),
		"byte order mark":     "\ufeff" + label15,
		"lsn":                 change("0/F00028", "F00028"),
		"checkpoint":          change("0/F00060", ""),
		"file name":           change("00000001000000000000000F", "00000001"),
		"lower-case file":     change("00000001000000000000000F", "00000001000000000000000f"),
		"file not closed":     change("0F)", "0F"),
		"text behind file":    change("0F)", "0F) "),
		"order of lines":      change("START WAL", "XTART WAL"),
		"source":              change("primary", "elsewhere"),
		"timeline":            change("TIMELINE: 1", "TIMELINE: x"),
		"two timelines":       change("TIMELINE: 1", "TIMELINE: 2"),
		"line without a key":  label15 + "x\n",
		"NUL":                 change("pgrepctl", "pg\x00repctl"),
		"second line missing": change("CHECKPOINT LOCATION: 0/F00060\n", ""),
	} {
		if l, err := ParseBackupLabel([]byte(text)); err == nil || l != (BackupLabel{}) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}

func TestBackupLabelStrings(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"pgrepctl", "pgrepctl:20261122-x", "it's \"one\"", strings.Repeat("x", MaxBackupLabel)} {
		if err := ValidBackupLabel(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "a\nb", "a\r", "a\tb", "é", "a\x00", "\x7f", strings.Repeat("x", MaxBackupLabel+1)} {
		if ValidBackupLabel(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParseBackupLabel(f *testing.F) {
	f.Add([]byte(label15))
	f.Add([]byte("START WAL LOCATION: 0/1 (file \nCHECKPOINT LOCATION: \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseBackupLabel(b)
		if err != nil {
			return
		}
		if l.StartTimeline == 0 && !strings.HasPrefix(l.StartFile, "00000000") || len(l.StartFile) != 24 {
			t.Errorf("%q: %+v", b, l)
		}
	})
}
