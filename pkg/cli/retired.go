package cli

import (
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/member"
)

// refuseRetired keeps a plan for the whole inventory from making a standby again that was
// taken out of the cluster, only because its lines are still in the file.
func refuseRetired(s *session, pre *engine.Preview) error {
	runs, err := journal.List(s.Dir)
	if err != nil {
		return err
	}
	for _, h := range s.inv.Standbys() {
		if by, ok := retiredBy(runs, h.Name); ok && starts(pre, h) {
			return fault.Refuse(h.Name, whileListed(s.inv, h),
				fmt.Errorf("it was taken out of the cluster by run %s (by %s), and the inventory still has it", by.ID, by.Operator))
		}
	}
	return nil
}

// retiredBy is the run that took a standby out, if none has brought it in since.
func retiredBy(runs []journal.Summary, name string) (journal.Summary, bool) {
	for _, r := range slices.Backward(runs) {
		if r.Status != journal.Succeeded || r.Vars["standby"] != name {
			continue
		}
		switch r.Run.Plan {
		case "retire-standby", "retire-gone-standby":
			return r, true
		case "bootstrap-standby", "reseed-standby":
			return r, false
		}
	}
	return journal.Summary{}, false
}

// whileListed is what to do about a standby that was taken out and that the inventory
// still has.
func whileListed(inv *inventory.Cluster, h *inventory.Host) string {
	return deleteHost(inv, h) + "; or, to make it a standby again: pgrepctl standby bootstrap " + h.Name
}

// retired are the standbys that the journals of this machine say were taken out, for a
// command that shows what is true.
func (s *session) retired() map[string]member.Retirement {
	out := map[string]member.Retirement{}
	runs, err := journal.List(s.Dir)
	if err != nil {
		return out // it is an explanation, and nothing that is true of a host
	}
	for _, h := range s.inv.Standbys() {
		if by, ok := retiredBy(runs, h.Name); ok {
			out[h.Name] = member.Retirement{Run: by.ID, Operator: by.Operator, At: by.Ended, Apart: by.Vars["as"] == "separate", Delete: deleteHost(s.inv, h), Hint: whileListed(s.inv, h)}
		}
	}
	return out
}

// starts reports whether a plan starts the server of a host.
func starts(pre *engine.Preview, h *inventory.Host) bool {
	return slices.ContainsFunc(pre.Lines, func(l engine.Line) bool {
		return l.Host == h.Name && l.Step == "server" && len(l.Effects) > 0 && l.Effects[0].Verb == "start"
	})
}
