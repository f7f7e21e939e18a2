package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

// saySlotElsewhere is said when there was no slot to drop. To drop one twice is no error,
// but a slot on another host than was thought, or of another name, goes on keeping WAL.
func (a *app) saySlotElsewhere(ctx context.Context, s *session, on, name string) {
	others := slices.DeleteFunc(slices.Clone(s.inv.Hosts), func(h *inventory.Host) bool { return h.Name == on })
	seen := a.read(ctx, s, others, (*live.Gatherer).Glance)
	if ctx.Err() != nil {
		return
	}
	for _, line := range slotElsewhere(s.inv, on, name, seen) {
		fmt.Fprintln(a.Err, a.withInventory(line))
	}
}

// slotElsewhere says where else a slot was looked for, and what was found there.
func slotElsewhere(inv *inventory.Cluster, on, name string, seen map[string]status.Result) []string {
	looked, unread, names := []string{on}, []string{}, []string{}
	var found []string
	for _, h := range inv.Hosts {
		res, ok := seen[h.Name]
		if !ok {
			continue
		}
		if res.Err != nil || res.Facts == nil || !res.Facts.Server.Running {
			unread = append(unread, h.Name)
			continue
		}
		looked = append(looked, h.Name)
		for _, x := range res.Facts.Server.Slots {
			names = append(names, x.Name)
			if x.Name == name {
				found = append(found, fmt.Sprintf("warning: %s has no slot %s, but %s has one\n  hint: if that one is meant: %s", on, name, h.Name, slot.DropCommand(h.Name, x)))
			}
		}
	}
	if len(found) > 0 {
		return found
	}
	text := "warning: there is no slot " + name + " on " + strings.Join(looked, ", ")
	if len(unread) > 0 {
		text += "; not looked at: " + strings.Join(unread, ", ") + ", whose server could not be asked"
	}
	return []string{fault.Unknown(text, name, names) + "\n  hint: pgrepctl slot list"}
}
