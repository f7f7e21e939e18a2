package status

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

func build(c census, h *inventory.Host, res Result, all map[string]Result) Row {
	if _, out := c.out[h.Name]; out {
		return c.row(h, res, all[h.UpstreamName].Facts)
	}
	cl := c.in
	row := Row{Host: h.Name, InventoryRole: h.Role, Upstream: h.UpstreamName, Slot: h.Slot}
	listed := h
	h = c.asItIs(h, all)
	if res.Facts == nil {
		row.State = Unreachable
		text := "nothing is known of it"
		hint := ""
		if res.Err != nil {
			text = res.Err.Error()
		}
		var f *fault.Error
		if errors.As(res.Err, &f) {
			hint = f.Hint
		}
		// The row names the host already.
		row.note(Problem, "unreachable", strings.TrimPrefix(text, h.Name+": "), hint)
		up := all[h.UpstreamName].Facts
		row.slot(cl, h, nil, up)
		return row
	}
	f, up := res.Facts, all[h.UpstreamName].Facts
	row.slot(cl, h, res.Facts, up)
	row.runs(cl, f)
	if !f.Server.Running {
		row.withoutServer(c, h, f, all)
		return row
	}
	row.Version, row.Timeline, row.LSN = f.Server.Version.String(), f.Server.Timeline, f.Server.LSN.String()
	row.PendingRestart = f.Server.PendingRestart
	if f.Server.InRecovery {
		row.asStandby(cl, h, res, all)
	} else {
		row.asPrimary(c, h, f, all)
	}
	if f.Server.InRecovery || h.Role == inventory.Primary {
		row.strangeSlots(c, listed, f)
	}
	if f.Data.State == facts.Cluster && f.Data.Path != f.Server.DataDirectory && f.Data.PID == 0 {
		row.note(Problem, "another-server", fmt.Sprintf("the server on port %d has data directory %s, the inventory says %s",
			h.Postgres.Port, f.Server.DataDirectory, f.Data.Path), "correct port or data_directory in the inventory")
	}
	if len(row.PendingRestart) > 0 {
		row.note(Problem, "pending-restart", "changed, and not in force before a restart: "+strings.Join(row.PendingRestart, ", "),
			"at a quiet hour, "+serviceCommand(h, "restart"))
	}
	if f.Server.Archiver.Failing() {
		row.note(Warning, "archiving-fails", "archiving of "+f.Server.Archiver.FailedFile+" fails; WAL piles up", "see the server log of "+h.Name)
	}
	return row
}

// runs names those that owe something, of whatever operator: their journals are
// copied to the primary.
func (r *Row) runs(cl *inventory.Cluster, f *facts.Host) {
	for _, run := range f.Runs {
		switch {
		case run.Cluster != cl.Name:
		case f.Server.Holds(run.ID):
			r.note(Info, "run-going-on", run.String()+" is going on", "pgrepctl runs show "+run.ID)
		default:
			r.note(Warning, "run-interrupted", run.String()+" is not finished", "pgrepctl runs resume "+run.ID+"; or: pgrepctl runs undo "+run.ID)
		}
	}
}

// unfinished finds the run that may be at work on a host, by its id or, with an
// empty one, any, and whether it is going on.
func unfinished(all map[string]Result, id string) (open, going bool) {
	for _, res := range all {
		if res.Facts == nil {
			continue
		}
		for _, run := range res.Facts.Runs {
			if id == "" || run.ID == id {
				open, going = true, going || res.Facts.Server.Holds(run.ID)
			}
		}
	}
	return open, going
}

func (r *Row) withoutServer(c census, h *inventory.Host, f *facts.Host, all map[string]Result) {
	switch {
	case f.Data.PID != 0:
		r.State = Starting
		r.note(Problem, "not-ready", fmt.Sprintf("process %d runs and accepts no session: %s", f.Data.PID, f.Server.NotReady),
			"it may only need time: pgrepctl status --watch; if not, its server log on "+h.Name+" says why")
	case f.Data.State == facts.Partial:
		r.State = Partial
		if _, going := unfinished(all, f.Data.Marker.Run); going {
			r.note(Info, "copy-going-on", fmt.Sprintf("run %s copies from %s", f.Data.Marker.Run, f.Data.Marker.Source), "")
			return
		}
		r.note(Problem, "partial-copy", fmt.Sprintf("the copy from %s by run %s did not end", f.Data.Marker.Source, f.Data.Marker.Run),
			"pgrepctl runs resume "+f.Data.Marker.Run)
	case f.Data.State == facts.Cluster && c.now != nil && h.Role == inventory.Primary:
		r.State = Down
		r.replaced(c, h, f, all[c.now.Name].Facts)
	case f.Data.State == facts.Cluster:
		r.State = Down
		r.down(h, f, all[h.UpstreamName].Facts)
	case f.Data.State == facts.Foreign:
		r.State = Foreign
		text := f.Data.Path + " is no data directory"
		if f.Data.Note != "" {
			text += ": " + f.Data.Note
		}
		hint := "correct data_directory in the inventory; or, if nobody needs what is there, move it away"
		if r.InventoryRole == inventory.Standby {
			hint += ", then: pgrepctl standby bootstrap " + r.Host
		}
		r.note(Problem, "foreign-data", text, hint)
	default:
		r.State = Empty
		hint := ""
		// While a run is open no other begins; its own note has the command.
		if open, _ := unfinished(all, ""); r.InventoryRole == inventory.Standby && !open && r.SlotState != SlotLost {
			hint = "pgrepctl standby bootstrap " + r.Host
		}
		r.note(Problem, "empty", "no data directory in "+f.Data.Path, hint)
	}
}

func (r *Row) asPrimary(c census, h *inventory.Host, f *facts.Host, all map[string]Result) {
	r.Role, r.State = inventory.Primary, Running
	if h.Role == inventory.Primary {
		r.superseded(c, h, f, all)
		r.syncWaits(f)
		return
	}
	r.State = Twin
	primary := all[c.in.Primary().Name].Facts
	switch {
	case primary != nil && !primary.Server.Running && c.now == h:
		r.note(Problem, "role-differs", fmt.Sprintf("it was promoted, and is the primary by now (timeline %d); the inventory says standby, and primary of %s, which does not run", f.Server.Timeline, primary.Name),
			c.correct(h.Name))
	case primary == nil || !primary.Server.Running:
		r.note(Problem, "role-differs", "it takes writes; the inventory says standby",
			"if it is the primary now: "+c.correct(h.Name)+"; if not, "+serviceCommand(h, "stop"))
	case primary.Server.SystemID != f.Server.SystemID:
		r.note(Problem, "other-system", fmt.Sprintf("it takes writes, and is another system (%s) than %s (%s)",
			f.Server.SystemID, primary.Name, primary.Server.SystemID), "correct its address or port in the inventory")
	case primary.Server.InRecovery:
		r.note(Problem, "role-differs", "it takes writes, and "+primary.Name+" is in recovery; the inventory says the opposite", c.correct(h.Name))
	default:
		r.twin(c, h, f, primary)
	}
	if c.now == h {
		r.syncWaits(f)
	}
}

// down is of a server that does not run. Where the note of its slot has the one thing to type,
// it has nothing.
func (r *Row) down(h *inventory.Host, f, up *facts.Host) {
	text, hint := "no server runs; its data directory was "+f.Data.Control.State.String(), serviceCommand(h, "start")
	why := ""
	if h.Role == inventory.Standby {
		why = spent(f, up)
	}
	switch {
	case r.SlotState == SlotLost:
		text, hint = text+"; started as it is it would not follow", ""
	case why != "":
		text, hint = text+"; "+why+": it cannot follow", "save what only "+h.Name+" has; then: "+anew(h)
	case r.SlotState == SlotMissing:
		text, hint = text+"; what makes the slot starts it, too", ""
	}
	r.note(Problem, "down", text, hint)
}

// strangeSlots names slots that nobody uses and no host of the inventory is to
// use: they keep WAL for ever, until the disk is full.
func (r *Row) strangeSlots(c census, h *inventory.Host, f *facts.Host) {
	for _, s := range f.Server.Slots {
		lent := c.lent(h, s)
		if !c.strange(h, s) && lent == "" {
			continue
		}
		text := "slot " + s.Name
		if of := c.leftBy(h, s); of != "" {
			text += ", an orphan of " + of + ", which was taken out of the cluster,"
		}
		text += " is used by nobody"
		switch {
		case s.WALStatus == "lost":
			text += ", and " + slot.Loss(s.InvalidationReason)
		case s.RetainedBytes != nil:
			text += " and keeps " + postgres.PrettyBytes(*s.RetainedBytes) + " of WAL"
		}
		if lent != "" {
			r.note(Warning, "other-slot", text+"; "+lent+" is set to it, and the inventory does not say so", "correct slot or upstream of "+lent+" in the inventory")
			continue
		}
		r.note(Warning, "strange-slot", text, "if nobody needs it: "+c.drop(h, s))
	}
}
