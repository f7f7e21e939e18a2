package slot_test

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

func TestALostSlotHasLostItsWALOnlyIfTheServerSaysSo(t *testing.T) {
	t.Parallel()
	for reason, gone := range map[string]bool{
		"":                       true, // before 17
		"wal_removed":            true,
		"rows_removed":           false,
		"wal_level_insufficient": false,
		slot.IdleTimeout:         false,
		"of_a_later_version":     false,
	} {
		got := slot.Loss(reason)
		if strings.Contains(got, "lost WAL") != gone || !strings.Contains(got, reason) {
			t.Errorf("%q: %s", reason, got)
		}
	}
}
