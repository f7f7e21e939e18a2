package cli

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/slot"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

func TestRowOfASlotIsWhatAReaderHasToKnow(t *testing.T) {
	t.Parallel()
	n, f := func(n int64) *int64 { return &n }, func(f float64) *float64 { return &f }
	for _, c := range []struct {
		row  status.SlotRow
		want string
	}{
		{status.SlotRow{Slot: "pg2", Type: "physical", Owner: slot.Owner{Use: slot.Needed, Host: "pg2"}, Active: true, WALStatus: "reserved", SafeWALSize: n(1 << 30), RetainedBytes: n(0), Growth: f(0)},
			"pg1|pg2|physical|pg2|yes|reserved|1.00 GB|0 B|0 B/s|"},
		{status.SlotRow{Slot: "old", Type: "physical", Owner: slot.Owner{Use: slot.Orphan}, RetainedBytes: n(3 << 30), Growth: f(5 << 20), FullSeconds: f(3 * 3600)},
			"pg1|old|physical|orphan|no|||3.00 GB|5.00 MB/s|3h00m"},
		{status.SlotRow{Slot: "old", Type: "physical", Owner: slot.Owner{Use: slot.Guest, Host: "pg3"}, Active: true, LostSeconds: f(60)},
			"pg1|old|physical|pg3 (guest)|yes|||||lost 1m00s"},
		{status.SlotRow{Slot: "old", Type: "physical", Owner: slot.Owner{Use: slot.Orphan}, LostSeconds: f(60), FullSeconds: f(30)},
			"pg1|old|physical|orphan|no|||||30s"},
		{status.SlotRow{Slot: "pg4", Type: "physical", Owner: slot.Owner{Use: slot.Orphan}, Retired: "pg4"},
			"pg1|pg4|physical|orphan of pg4|no|||||"},
		{status.SlotRow{Slot: "sub", Type: "logical", Owner: slot.Owner{Use: slot.Logical}, FullSeconds: f(1e15)},
			"pg1|sub|logical|logical|no|||||> 10 years"},
	} {
		var got []string
		for _, cell := range slotRow(&status.SlotSender{Host: "pg1"}, &c.row) {
			got = append(got, cell.Text)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("got %s, want %s", s, c.want)
		}
	}
}

func TestRowOfAServerTellsALimitFromNone(t *testing.T) {
	t.Parallel()
	n := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		host status.SlotSender
		want string
	}{
		{status.SlotSender{Host: "pg1", Role: "primary", LimitSetting: "max_slot_wal_keep_size", LimitBytes: n(10 << 30), KeepSetting: "wal_keep_size", KeepBytes: n(1 << 30), ArchiveMode: "on"}, "10.0 GB|wal_keep_size 1.00 GB|on"},
		{status.SlotSender{Host: "pg1", Role: "primary", LimitSetting: "max_slot_wal_keep_size", KeepSetting: "wal_keep_size", KeepBytes: n(0), ArchiveMode: "off"}, "none|wal_keep_size 0 B|off"},
		{status.SlotSender{Host: "pg1", Role: "primary", KeepSetting: "wal_keep_segments", KeepBytes: n(0), ArchiveMode: "off"}, "|wal_keep_segments 0 B|off"},
	} {
		cells := senderRow(&c.host)
		var got []string
		for _, cell := range cells[len(cells)-3:] {
			got = append(got, cell.Text)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("got %s, want %s", s, c.want)
		}
	}
}
