package postgres

import (
	"strings"
	"testing"
)

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
