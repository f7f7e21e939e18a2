package doctor

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

func TestASlotThatAStandbyIsSetToIsNotToBeDropped(t *testing.T) {
	t.Parallel()
	l, pg3 := three(t, "pg1")
	pg3.Server, pg3.Data.PID = facts.Server{}, 0
	pg3.Data.Standby, pg3.Data.PrimarySlotName = true, "old"
	l.pg1.Server.Slots = append(l.pg1.Server.Slots, facts.Slot{Name: "old", Type: "physical"})
	_, remedies := l.all(t, pg3)
	if got := remedies["pg1 warn slot.strange"]; got != "correct slot or upstream of pg3 in the inventory" {
		t.Errorf("remedies: %v", remedies)
	}
	pg3.Data.PrimarySlotName = "pg3"
	_, remedies = l.all(t, pg3)
	if got := remedies["pg1 warn slot.strange"]; !strings.Contains(got, "slot drop old") {
		t.Errorf("nobody is set to it: %v", remedies)
	}
}
