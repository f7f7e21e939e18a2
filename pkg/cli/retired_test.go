package cli

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

func TestARetiredStandbyIsOneUntilItIsMadeAgain(t *testing.T) {
	t.Parallel()
	run := func(id, plan, standby string, s journal.Status) journal.Summary {
		return journal.Summary{Run: journal.Run{ID: id, Plan: plan, Vars: map[string]string{"standby": standby}}, Status: s}
	}
	made := run("1", "bootstrap-standby", "pg2", journal.Succeeded)
	retired, gone := run("2", "retire-standby", "pg2", journal.Succeeded), run("2", "retire-gone-standby", "pg2", journal.Succeeded)
	for _, c := range []struct {
		name string
		runs []journal.Summary
		want bool
	}{
		{"never", []journal.Summary{made}, false},
		{"retired", []journal.Summary{made, retired}, true},
		{"its host is gone", []journal.Summary{made, gone}, true},
		{"another one", []journal.Summary{made, run("2", "retire-standby", "pg3", journal.Succeeded)}, false},
		{"undone", []journal.Summary{made, run("2", "retire-standby", "pg2", journal.UndoneRun)}, false},
		{"interrupted", []journal.Summary{made, run("2", "retire-standby", "pg2", journal.Interrupted)}, false},
		{"made again", []journal.Summary{retired, run("3", "bootstrap-standby", "pg2", journal.Succeeded)}, false},
		{"seeded again", []journal.Summary{retired, run("3", "reseed-standby", "pg2", journal.Succeeded)}, false},
		{"made again in vain", []journal.Summary{retired, run("3", "bootstrap-standby", "pg2", journal.FailedRun)}, true},
		{"drained since", []journal.Summary{retired, run("3", "drain-traffic", "pg2", journal.Succeeded)}, true},
	} {
		if by, got := retiredBy(c.runs, "pg2"); got != c.want || got && by.ID != "2" {
			t.Errorf("%s: %t, by run %q", c.name, got, by.ID)
		}
	}
}
